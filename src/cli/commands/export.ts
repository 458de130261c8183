import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { writeOutputFile } from '../output-file.ts'
import { guardStdout } from '../print.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('export')
    .description("Write a container's file system as a tar archive, without what is mounted in it.")
    .argument('<container>')
    .option('-o, --output <file>', 'write to a file instead of standard output')
    .addHelpText('after', '\nExample:\n  tsrun export -o web.tar web')
    .action(async (name: string, flags: { output?: string }) => {
      if (flags.output === undefined && process.stdout.isTTY)
        throw new TsrunError('invalid', 'terminal', 'cannot write an archive to a terminal', {
          hint: 'use -o FILE, or redirect it',
        })
      await using engine = await Engine.open()
      const archive = engine.files.export(name)
      if (flags.output === undefined) await pipeline(archive, guardStdout(), { end: false })
      else exit(await writeOutputFile(flags.output, archive))
    })
}
