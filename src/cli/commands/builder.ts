import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { parseFilters } from '../filters.ts'
import { parseTime } from '../parse-time.ts'
import { print } from '../print.ts'
import { formatBytes } from '../table.ts'

export function register(program: Command): Command {
  const builder = program.command('builder').description('Clean up what builds keep for the next ones.')
  builder
    .command('prune')
    .description('Forget the steps of earlier builds, with the layers that only they need, and empty cache mounts.')
    .option('-a, --all', 'docker compatibility: all of it goes in any case')
    .option(...forceFlag)
    .option(
      '--filter <filter>',
      'until=TIME: only steps not used since then; cache mounts stay',
      (v: string, all?: string[]) => [...(all ?? []), v],
    )
    .addHelpText('after', '\nExamples:\n  tsrun builder prune\n  tsrun builder prune --filter until=48h')
    .action(async (flags: { force?: boolean; filter?: string[] }) => {
      const until = parseFilters(flags.filter ?? [], ['until']).get('until')?.[0]
      if (!(await isAgreed(flags, 'This will remove all build cache.'))) return
      await using engine = await Engine.open()
      const pruned = await engine.pruneBuilds(
        until === undefined ? {} : { until: new Date(parseTime('--filter until', until)) },
      )
      print(`Deleted steps: ${pruned.steps}\nDeleted cache mounts: ${pruned.cacheMounts}\n`)
      print(`Total reclaimed space: ${formatBytes(pruned.reclaimedBytes)}\n`)
    })
  return builder
}
