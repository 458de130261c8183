import type { Command } from 'commander'
import { runtimeName } from '../../engine/library-directory.ts'
import { version } from '../version.ts'

export function register(program: Command): Command {
  return program
    .command('version')
    .description('Show the version.')
    .addHelpText('after', '\nExample:\n  tsrun version')
    .action(() => {
      process.stdout.write(`tsrun version ${version} (${process.platform}/${process.arch}, ${runtimeName})\n`)
    })
}
