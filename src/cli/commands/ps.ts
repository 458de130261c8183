import type { Command } from 'commander'
import type { ContainerView } from '../../engine/container/container-service.ts'
import { Engine } from '../../engine/engine.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { toPsRow } from '../container-view.ts'
import { matchesLabel, parseFilters } from '../filters.ts'
import { renderListing } from '../format.ts'

interface PsFlags {
  readonly all?: boolean
  readonly quiet?: boolean
  readonly latest?: boolean
  readonly last?: string
  readonly trunc: boolean
  readonly format?: string
  readonly filter?: string[]
}

export function register(program: Command): Command {
  return program
    .command('ps')
    .description('List running containers.')
    .option('-a, --all', 'all containers')
    .option('-q, --quiet', 'only ids')
    .option('-l, --latest', 'only the newest')
    .option('-n, --last <number>', 'only the newest few')
    .option('--no-trunc', 'do not cut anything short')
    .option('--format <format>', 'json, or a Go template')
    .option('-f, --filter <key=value>', 'only those that match', (v: string, all: string[] | undefined) => [
      ...(all ?? []),
      v,
    ])
    .addHelpText('after', "\nExample:\n  tsrun ps -a --format '{{.Names}} {{.Status}}'")
    .action(async (flags: PsFlags) => {
      await using engine = await Engine.open()
      const filters = parseFilters(flags.filter ?? [], [
        'id',
        'name',
        'label',
        'status',
        'exited',
        'ancestor',
        'network',
        'publish',
        'volume',
      ])
      const last =
        flags.latest === true
          ? 1
          : flags.last === undefined
            ? undefined
            : parseWholeNumber('--last', flags.last, { min: 0, max: 1e9 })
      const all = flags.all === true || last !== undefined || filters.has('status') || filters.has('exited')
      const views = (await engine.containers.list({ all })).filter(view => matches(view, filters)).slice(0, last)
      if (flags.quiet === true) {
        process.stdout.write(
          views.map(({ container }) => `${flags.trunc ? container.id.slice(0, 12) : container.id}\n`).join(''),
        )
        return
      }
      const rows = views.map(view => toPsRow(view, !flags.trunc))
      process.stdout.write(renderListing({ columns, rows }, flags.format))
    })
}

const columns = [
  ['CONTAINER ID', 'ID'],
  ['IMAGE', 'Image'],
  ['COMMAND', 'Command'],
  ['CREATED', 'RunningFor'],
  ['STATUS', 'Status'],
  ['PORTS', 'Ports'],
  ['NAMES', 'Names'],
] as const

function matches({ container, state }: ContainerView, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const { spec } = container
  const tests: Readonly<Record<string, (value: string) => boolean>> = {
    id: value => container.id.startsWith(value),
    name: value => container.name.includes(value.replace(/^\//, '')),
    label: value => matchesLabel(spec.labels ?? {}, value),
    status: value => state.status === value,
    exited: value => state.status === 'exited' && String(state.exit?.exitCode) === value,
    ancestor: value =>
      container.image.reference === value ||
      container.image.id.replace('sha256:', '').startsWith(value.replace('sha256:', '')),
    network: value => (spec.networks ?? []).some(n => n.network === value),
    publish: value => container.ports.some(p => `${p.hostPort}` === value.split('/')[0]),
    volume: value => (spec.mounts ?? []).some(m => m.source === value || m.target === value),
  }
  return [...filters].every(([key, values]) => values.some(value => tests[key]?.(value) === true))
}
