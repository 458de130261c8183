import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { writeOutputFile } from '../output-file.ts'
import { guardStdout } from '../print.ts'

const formats = ['docker-archive', 'oci-archive'] as const

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('save')
    .description('Write images to an archive that docker, podman and skopeo read.')
    .argument('<image...>')
    .option('-o, --output <file>', 'file to write; default: standard output')
    .option('--format <format>', 'docker-archive (default) or oci-archive')
    .addHelpText('after', '\nExample:\n  tsrun save -o busybox.tar busybox')
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
      await using engine = await Engine.open()
      const archive = engine.images.save(names, format)
      if (flags.output === undefined) await pipeline(Readable.from(archive), guardStdout())
      else exit(await writeOutputFile(flags.output, archive))
    })
}
