import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { collect } from '../collect.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { parsePruneFilter } from '../filters.ts'
import { print } from '../print.ts'
import { formatBytes } from '../table.ts'

export function register(program: Command): Command {
  return program
    .command('container-prune')
    .configureHelp({ commandUsage: () => 'tsrun container prune [options]' })
    .description('Remove all containers that do not run.')
    .option(...forceFlag)
    .option('--filter <key=value>', 'only those that match: until=TIME, label=KEY[=VALUE], label!=..', collect)
    .addHelpText('after', '\nExample:\n  tsrun container prune --filter until=24h')
    .action(async (flags: { force?: boolean; filter?: string[] }) => {
      const filter = parsePruneFilter(flags.filter)
      if (!(await isAgreed(flags, 'This will remove all stopped containers.'))) return
      await using engine = await Engine.open()
      const { removed, reclaimedBytes } = await engine.containers.prune(filter)
      const ids = removed.map(({ id }) => id)
      if (ids.length > 0) print(`Deleted Containers:\n${ids.join('\n')}\n\n`)
      print(`Total reclaimed space: ${formatBytes(reclaimedBytes)}\n`)
    })
}
