// Where `build --output` and `--push` bring what was built.

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BuildOptions, BuiltImage } from '../engine/build/build-types.ts'
import type { Engine } from '../engine/engine.ts'
import { TsrunError } from '../model/errors.ts'
import type { BuildOutput } from './build-flags.ts'
import { interruptible } from './interrupt.ts'
import { writeOutputFile } from './output-file.ts'
import { guardStdout, printError } from './print.ts'

/** What is to be done while the image is made, and after. */
export interface OutputTarget {
  readonly options: Pick<BuildOptions, 'onFiles'>
  /** Standard output is the archive's. */
  readonly usesStdout: boolean
  /** @returns the exit code */
  finish(engine: Engine, built: BuiltImage): Promise<number>
}

/** @throws TsrunError invalid: an archive to a terminal */
export function outputTarget(output: BuildOutput, isPushed: boolean): OutputTarget {
  const path = 'path' in output ? output.path : undefined
  const usesStdout = output.kind !== 'folder' && path === '-'
  if (usesStdout && process.stdout.isTTY)
    throw new TsrunError('invalid', 'no-output', 'cannot write an archive to a terminal', {
      hint: 'name a file: --output type=tar,dest=FILE',
    })
  const write = async (archive: AsyncIterable<Buffer>): Promise<number> => {
    if (path !== undefined && !usesStdout) return writeOutputFile(path, archive)
    await pipeline(Readable.from(archive), guardStdout(), { end: false })
    return 0
  }
  const onFiles = async (archive: AsyncIterable<Buffer>): Promise<void> => {
    const { writeFolder } = await import('../engine/build/write-folder.ts')
    if (output.kind === 'folder') await writeFolder(archive, output.path)
    else await write(archive)
  }
  return {
    options: output.kind === 'folder' || output.kind === 'tar' ? { onFiles } : {},
    usesStdout,
    finish: async (engine, built) => {
      const names = built.names.length === 0 ? [built.id] : built.names
      if (output.kind === 'docker' || output.kind === 'oci') {
        const code = await write(engine.images.save(names, `${output.kind}-archive`))
        if (code !== 0) return code
      }
      return isPushed ? pushAll(engine, built.names) : 0
    },
  }
}

async function pushAll(engine: Engine, names: readonly string[]): Promise<number> {
  for (const name of names) {
    const pushed = await interruptible(signal => engine.images.push(name, { signal }))
    if ('exitCode' in pushed) return pushed.exitCode
    printError(`pushed ${pushed.name} ${pushed.digest}\n`)
  }
  return 0
}
