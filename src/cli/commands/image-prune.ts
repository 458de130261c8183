import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { collect } from '../collect.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { parsePruneFilter } from '../filters.ts'
import { print } from '../print.ts'
import { formatBytes } from '../table.ts'

export function register(program: Command): Command {
  return program
    .command('image-prune')
    .configureHelp({ commandUsage: () => 'tsrun image prune [options]' })
    .description('Remove images without a name; with --all, all that no container uses.')
    .option('-a, --all', 'also named ones that no container uses')
    .option(...forceFlag)
    .option(
      '--filter <key=value>',
      'only those that match: until=TIME (came here before), label=KEY[=VALUE], label!=..',
      collect,
    )
    .addHelpText('after', '\nExample:\n  tsrun image prune -a --filter until=168h')
    .action(async (flags: { force?: boolean; all?: boolean; filter?: string[] }) => {
      const filter = parsePruneFilter(flags.filter)
      if (
        !(await isAgreed(
          flags,
          flags.all === true
            ? 'This will remove all images without at least one container associated to them.'
            : 'This will remove all dangling images.',
        ))
      )
        return
      await using engine = await Engine.open()
      const { untagged, deleted, reclaimedBytes } = await engine.images.prune({
        all: flags.all === true,
        ...filter,
      })
      const lines = [...untagged.map(name => `untagged: ${name}`), ...deleted.map(id => `deleted: ${id}`)]
      if (lines.length > 0) print(`Deleted Images:\n${lines.join('\n')}\n\n`)
      print(`Total reclaimed space: ${formatBytes(reclaimedBytes)}\n`)
    })
}
