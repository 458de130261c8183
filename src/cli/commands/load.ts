import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  return program
    .command('load')
    .description('Read images from an archive of docker, podman or skopeo, an OCI archive, or an OCI layout folder.')
    .option('-i, --input <file>', 'file or folder; default: standard input')
    .option('-q, --quiet', 'as docker has it; there is no progress to leave out')
    .addHelpText('after', '\nExample:\n  tsrun load -i alpine.tar')
    .action(async (flags: { input?: string }) => {
      if (flags.input === undefined && process.stdin.isTTY)
        throw new TsrunError('invalid', 'no-input', 'cannot load an image from a terminal', {
          hint: 'name a file with -i, or pipe one in: docker save alpine | tsrun load',
        })
      await using engine = await Engine.open()
      const loaded = await engine.images.load(flags.input ?? (process.stdin as AsyncIterable<Buffer>))
      for (const { id, names } of loaded) {
        if (names.length === 0) print(`Loaded image ID: ${id}\n`)
        else print(names.map(name => `Loaded image: ${name}\n`).join(''))
      }
    })
}
