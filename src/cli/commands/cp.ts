import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { guardStdout, printError } from '../print.ts'
import { formatBytes } from '../table.ts'

interface CopyFlags {
  readonly archive?: boolean
  readonly followLink?: boolean
  readonly quiet?: boolean
}

export function register(program: Command): Command {
  return program
    .command('cp')
    .description('Copy files between a container and the host. "-" is a tar archive on standard input or output.')
    .usage('[options] CONTAINER:SOURCE DESTINATION | SOURCE CONTAINER:DESTINATION')
    .argument('<source>')
    .argument('<destination>')
    .option('-a, --archive', 'keep owner and group')
    .option('-L, --follow-link', 'copy what a link at the end of the source means')
    .option('-q, --quiet', 'say nothing')
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun cp web:/etc/httpd.conf .\n  tsrun cp site/. web:/www\n  tsrun cp web:/www - | tar t',
    )
    .action(async (source: string, destination: string, flags: CopyFlags) => {
      await using engine = await Engine.open()
      const size = await copy(engine, splitPlace(source), splitPlace(destination), flags)
      if (size !== undefined && flags.quiet !== true && process.stderr.isTTY)
        printError(`Successfully copied ${formatBytes(size)} to ${destination}\n`)
    })
}

interface Place {
  readonly container?: string
  readonly path: string
}

/** `web:/etc`; a path that starts with a slash or a dot is the host's, whatever colons there are in it. */
export function splitPlace(text: string): Place {
  const colon = text.indexOf(':')
  if (text.startsWith('/') || text.startsWith('.') || colon <= 0) return { path: text }
  return { container: text.slice(0, colon), path: text.slice(colon + 1) }
}

async function copy(engine: Engine, from: Place, to: Place, flags: CopyFlags): Promise<number | undefined> {
  if (from.container !== undefined && to.container !== undefined)
    throw new TsrunError('unsupported', 'between-containers', 'cannot copy from one container to another', {
      hint: 'pipe it: tsrun cp a:/data - | tsrun cp - b:/',
    })
  if (from.container !== undefined && to.path === '-') {
    await pipeline(engine.files.archive(from.container, from.path, flags), guardStdout(), { end: false })
    return undefined
  }
  if (from.container !== undefined) return engine.files.copyOut(from.container, from.path, to.path, flags)
  if (to.container === undefined)
    throw new TsrunError('invalid', 'no-container', 'cannot copy: neither place is in a container', {
      hint: 'CONTAINER:PATH is one, e.g. web:/etc',
    })
  if (from.path !== '-') return engine.files.copyIn(to.container, from.path, to.path, flags)
  await engine.files.extract(to.container, to.path, process.stdin)
  return undefined
}
