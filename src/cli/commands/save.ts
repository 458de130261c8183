import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { interruptible } from '../interrupt.ts'
import { writeOutputFile } from '../output-file.ts'
import { guardStdout } from '../print.ts'

const formats = ['docker-archive', 'oci-archive', 'oci-dir'] as const

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('save')
    .description('Write images to an archive that docker, podman and skopeo read.')
    .argument('<image...>')
    .option('-o, --output <file>', 'file, or folder, to write; default: standard output')
    .option('--format <format>', 'docker-archive (default), oci-archive or oci-dir (a folder)')
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun save -o busybox.tar busybox\n  tsrun save --format oci-dir -o layout app:1 app:2',
    )
    .action(async (names: string[], flags: { output?: string; format?: string }) => {
      const format = formats.find(each => each === (flags.format ?? 'docker-archive'))
      if (format === undefined)
        throw new TsrunError('invalid', 'format', `invalid value "${flags.format}" for --format`, {
          hint: formats.join(', '),
        })
      if (flags.output === undefined && process.stdout.isTTY)
        throw new TsrunError('invalid', 'no-output', 'cannot write an archive to a terminal', {
          hint: 'name a file with -o',
        })
      if (format === 'oci-dir') return exit(await saveLayout(names, flags.output))
      await using engine = await Engine.open()
      const archive = engine.images.save(names, format)
      if (flags.output === undefined) await pipeline(Readable.from(archive), guardStdout())
      else exit(await writeOutputFile(flags.output, archive))
    })
}

/** @returns the exit code */
async function saveLayout(names: readonly string[], directory: string | undefined): Promise<number> {
  if (directory === undefined)
    throw new TsrunError('invalid', 'no-output', 'cannot write a folder to standard output', {
      hint: 'name it with -o',
    })
  await using engine = await Engine.open()
  const interruption = await interruptible(signal => engine.images.saveLayout(names, directory, { signal }))
  return interruption?.exitCode ?? 0
}
