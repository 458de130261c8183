// Pulling as the command line shows it, for `pull`, and for `run` and `create` (create-with-pull.ts) where the image is not there.

import type { Engine } from '../engine/engine.ts'
import { parsePlatform } from '../engine/image/manifest.ts'
import type { PulledImage } from '../engine/image/pull-image.ts'
import { nameToUse } from '../engine/image/with-image.ts'
import { TsrunError } from '../model/errors.ts'
import { interruptible } from './interrupt.ts'
import { type LineOutput, TransferLines } from './transfer-lines.ts'

export interface ShownPull {
  readonly platform?: string
  /** Undefined shows nothing. */
  readonly out: LineOutput | undefined
}

/** @throws TsrunError; @returns the exit code when it was interrupted */
export async function showPull(
  engine: Engine,
  reference: string,
  { platform, out }: ShownPull,
): Promise<PulledImage | { exitCode: number }> {
  const lines = out === undefined ? undefined : new TransferLines(out, 'pull')
  try {
    return await interruptible(signal =>
      engine.images.pull(reference, {
        signal,
        ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
        onProgress: event => {
          if (event.kind === 'layer') lines?.layer(event)
          else out?.write(`${event.name}: Pulling from ${event.repository.replace(/^[^/]*\//, '')}\n`)
        },
      }),
    )
  } finally {
    lines?.end()
  }
}

/** docker's last lines. */
export function pullResult({ digest, isNew, name }: PulledImage): string {
  const status = isNew ? 'Downloaded newer image for' : 'Image is up to date for'
  return `Digest: ${digest}\nStatus: ${status} ${name}\n`
}

/** Pulls what a container is to be made of, and tells on stderr. @returns the name to make it of */
export async function pullForContainer(
  engine: Engine,
  image: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<string> {
  const platform = flags.platform as string | undefined
  const out = flags.quiet === true ? undefined : process.stderr
  const pulled = await showPull(engine, image, { out, ...(platform === undefined ? {} : { platform }) })
  if ('exitCode' in pulled)
    throw new TsrunError('unavailable', 'interrupted', `cannot pull "${image}": it was interrupted`, {
      hint: 'the next try goes on from there',
    })
  out?.write(pullResult(pulled))
  return nameToUse(image, pulled)
}
