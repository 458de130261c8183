import { release } from 'node:os'
import type { Command } from 'commander'
import { runtimeName } from '../../engine/library-directory.ts'
import { renderRow } from '../format.ts'
import { print } from '../print.ts'
import { version } from '../version.ts'

export function register(program: Command): Command {
  return program
    .command('version')
    .description('Show the version.')
    .option('-f, --format <format>', "json, or a Go template over docker's fields")
    .addHelpText('after', "\nExample:\n  tsrun version --format '{{.Client.Version}}'")
    .action((flags: { format?: string }) => {
      if (flags.format) print(`${renderRow(flags.format)(toDocker())}\n`)
      else print(`tsrun version ${version} (${process.platform}/${process.arch}, ${runtimeName})\n`)
    })
}

/** Client and server are one program. */
function toDocker(): Record<string, unknown> {
  const arch = ({ x64: 'amd64' } as Record<string, string>)[process.arch] ?? process.arch
  const both = { Version: version, ApiVersion: '', Os: 'linux', Arch: arch, KernelVersion: release() }
  return { Client: { ...both, Runtime: runtimeName }, Server: { ...both, Platform: { Name: 'tsrun' } } }
}
