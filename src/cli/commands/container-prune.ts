import type { Command } from 'commander'
import type { ContainerView } from '../../engine/container/container-service.ts'
import { Engine } from '../../engine/engine.ts'
import { matchesLabel, parseFilters } from '../filters.ts'
import { parseTime } from '../parse-time.ts'
import { formatBytes } from '../table.ts'

export function register(program: Command): Command {
  return program
    .command('container-prune')
    .configureHelp({ commandUsage: () => 'tsrun container prune [options]' })
    .description('Remove all containers that do not run (`tsrun container prune`).')
    .option('-f, --force', 'do not ask (tsrun never asks)')
    .option(
      '--filter <key=value>',
      'only those that match: until=TIME, label=KEY[=VALUE]',
      (v: string, all?: string[]) => [...(all ?? []), v],
    )
    .addHelpText('after', '\nExample:\n  tsrun container prune --filter until=24h')
    .action(async (flags: { filter?: string[] }) => {
      const filters = parseFilters(flags.filter ?? [], ['until', 'label', 'label!'])
      await using engine = await Engine.open()
      const removed: string[] = []
      let bytes = 0
      for (const view of await engine.containers.list({ all: true })) {
        if (isUp(view) || !matches(view, filters)) continue
        bytes += await engine.files.size(view.container.id)
        await engine.containers.remove(view.container.id)
        removed.push(view.container.id)
      }
      if (removed.length > 0) process.stdout.write(`Deleted Containers:\n${removed.join('\n')}\n\n`)
      process.stdout.write(`Total reclaimed space: ${formatBytes(bytes)}\n`)
    })
}

function isUp({ state: { status } }: ContainerView): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting'
}

function matches({ container }: ContainerView, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const labels = container.spec.labels ?? {}
  const before = (filters.get('until') ?? []).map(text => parseTime('--filter until', text))
  return (
    before.every(time => Date.parse(container.createdAt) < Date.parse(time)) &&
    (filters.get('label') ?? []).every(label => matchesLabel(labels, label)) &&
    !(filters.get('label!') ?? []).some(label => matchesLabel(labels, label))
  )
}
