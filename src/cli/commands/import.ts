import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { parsePlatform } from '../../engine/image/manifest.ts'
import { TsrunError } from '../../model/errors.ts'
import { print } from '../print.ts'

interface ImportFlags {
  readonly change?: string[]
  readonly message?: string
  readonly platform?: string
}

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
    .option('--platform <os/arch>', "what its programs are for; default: this machine's")
    .addHelpText('after', '\nExample:\n  tsrun import rootfs.tar.gz debian:mine -c \'CMD ["bash"]\'')
    .action(async (file: string, name: string | undefined, flags: ImportFlags) => {
      if (/^https?:\/\//i.test(file))
        throw new TsrunError('unsupported', 'import-url', `cannot import "${file}": tsrun downloads no archives`, {
          hint: `curl -fL ${file} | tsrun import -`,
        })
      await using engine = await Engine.open()
      const source = file === '-' ? (process.stdin as AsyncIterable<Buffer>) : bytesOf(file)
      const { id } = await engine.images.import(source, {
        ...(name === undefined ? {} : { reference: name }),
        ...(flags.message === undefined ? {} : { message: flags.message }),
        ...(flags.platform === undefined ? {} : { platform: parsePlatform(flags.platform) }),
        changes: flags.change ?? [],
      })
      print(`${id}\n`)
    })
}

/** Opened when it is read: a stream that nobody reads would say on its own that there is no such file. */
async function* bytesOf(path: string): AsyncGenerator<Buffer> {
  yield* createReadStream(path)
}
