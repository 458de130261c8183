import type { Command } from 'commander'
import { isCompiled } from '../../ffi/koffi.ts'
import { version } from '../version.ts'

export function register(program: Command): Command {
  return program
    .command('version')
    .description('Show the version.')
    .addHelpText('after', '\nExample:\n  tsrun version')
    .action(() => {
      const runtime = isCompiled ? 'compiled executable' : `Node.js ${process.versions.node}`
      process.stdout.write(`tsrun version ${version} (${process.platform}/${process.arch}, ${runtime})\n`)
    })
}
