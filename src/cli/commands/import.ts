import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  return program
    .command('import')
    .description('Make an image of the archive of a root file system.')
    .argument('<file>', 'tar, plain or compressed; - for standard input')
    .argument('[name]')
    .option('-c, --change <instruction>', 'a Dockerfile instruction', (v: string, all: string[] | undefined) => [
      ...(all ?? []),
      v,
    ])
    .option('-m, --message <text>', 'comment for the history')
    .addHelpText('after', '\nExample:\n  tsrun import rootfs.tar.gz debian:mine -c \'CMD ["bash"]\'')
    .action(async (file: string, name: string | undefined, flags: { change?: string[]; message?: string }) => {
      await using engine = await Engine.open()
      const source = file === '-' ? (process.stdin as AsyncIterable<Buffer>) : bytesOf(file)
      const { id } = await engine.images.import(source, {
        ...(name === undefined ? {} : { reference: name }),
        ...(flags.message === undefined ? {} : { message: flags.message }),
        changes: flags.change ?? [],
      })
      print(`${id}\n`)
    })
}

/** Opened when it is read: a stream that nobody reads would say on its own that there is no such file. */
async function* bytesOf(path: string): AsyncGenerator<Buffer> {
  yield* createReadStream(path)
}
