// `run` and `create`: the image is pulled where it is not there, or always, as `--pull` says. Nothing of pulling is loaded before
// it is needed.

import type { Engine } from '../engine/engine.ts'
import type { PullPolicy } from '../engine/image/image-service.ts'
import { TsrunError } from '../model/errors.ts'

/**
 * Makes a container by `create`, and pulls its image before (`always`) or when it is not there (`missing`).
 * @param create is given the name of the image
 */
export async function createWithPull<T>(
  engine: Engine,
  image: string,
  flags: Readonly<Record<string, unknown>>,
  create: (image: string) => Promise<T>,
): Promise<T> {
  const policy = parsePolicy(flags.pull)
  if (policy === 'always') return create(await pull(engine, image, flags))
  try {
    return await create(image)
  } catch (error) {
    const isMissing = error instanceof TsrunError && error.code === 'no-such-image'
    // What looks like an id is in no registry.
    if (!isMissing || policy === 'never' || /^(sha256:)?[0-9a-f]{12,64}$/.test(image)) throw error
  }
  if (flags.quiet !== true) process.stderr.write(`Unable to find image '${image}' locally\n`)
  return create(await pull(engine, image, flags))
}

async function pull(engine: Engine, image: string, flags: Readonly<Record<string, unknown>>): Promise<string> {
  const { pullForContainer } = await import('./pull-image.ts')
  return pullForContainer(engine, image, flags)
}

/** @throws TsrunError invalid */
export function parsePolicy(value: unknown): PullPolicy {
  if (value === undefined || value === '') return 'missing'
  if (value === 'always' || value === 'missing' || value === 'never') return value
  throw new TsrunError('invalid', 'pull-policy', `invalid value "${value}" for --pull`, {
    hint: 'always, missing or never',
  })
}
