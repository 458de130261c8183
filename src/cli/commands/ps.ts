import type { Command } from 'commander'
import type { ContainerView } from '../../engine/container/container-service.ts'
import { Engine } from '../../engine/engine.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { toPsRow } from '../container-view.ts'
import { matchesLabel, parseFilters } from '../filters.ts'
import { renderListing } from '../format.ts'
import { formatBytes } from '../table.ts'

interface PsFlags {
  readonly all?: boolean
  readonly quiet?: boolean
  readonly latest?: boolean
  readonly last?: string
  readonly trunc: boolean
  readonly size?: boolean
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
    .option('-s, --size', 'how much each has written')
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
        'health',
        'before',
        'since',
        'expose',
        'is-task',
      ])
      const last =
        flags.latest === true
          ? 1
          : flags.last === undefined
            ? undefined
            : parseWholeNumber('--last', flags.last, { min: 0, max: 1e9 })
      const all = flags.all === true || last !== undefined || filters.has('status') || filters.has('exited')
      const created = (name: string) => engine.containers.find(name).createdAt
      const views = (await engine.containers.list({ all }))
        .filter(view => matches(view, filters, created))
        .slice(0, last)
      if (flags.quiet === true) {
        process.stdout.write(
          views.map(({ container }) => `${flags.trunc ? container.id.slice(0, 12) : container.id}\n`).join(''),
        )
        return
      }
      const withSize = flags.size === true || /\.Size\b/.test(flags.format ?? '')
      const rows = []
      for (const view of views) {
        const row = toPsRow(view, !flags.trunc)
        rows.push(withSize ? { ...row, Size: formatBytes(await engine.files.size(view.container.id)) } : row)
      }
      const shown = flags.size === true ? [...columns, ['SIZE', 'Size'] as const] : columns
      process.stdout.write(renderListing({ columns: shown, rows }, flags.format))
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

function matches(
  { container, state }: ContainerView,
  filters: ReadonlyMap<string, readonly string[]>,
  created: (name: string) => string,
): boolean {
  const { spec } = container
  const tests: Readonly<Record<string, (value: string) => boolean>> = {
    id: value => container.id.startsWith(value),
    name: value => namePattern(value).test(container.name) || namePattern(value).test(`/${container.name}`),
    label: value => matchesLabel(spec.labels ?? {}, value),
    status: value => state.status === value,
    exited: value => state.status === 'exited' && String(state.exit?.exitCode) === value,
    ancestor: value =>
      container.image.reference === value ||
      container.image.reference.replace(/:[^:/]*$/, '') === value ||
      container.image.id.replace('sha256:', '').startsWith(value.replace('sha256:', '')),
    network: value => (spec.networks ?? []).some(n => n.network === value),
    publish: value => container.ports.some(p => `${p.hostPort}` === value.split('/')[0]),
    health: value => (state.health?.status ?? 'none') === value,
    before: value => container.createdAt < created(value),
    since: value => container.createdAt > created(value),
    expose: value => (spec.expose ?? []).some(port => port.split('/')[0] === value.split('/')[0]),
    'is-task': value => value !== 'true',
    volume: value => (spec.mounts ?? []).some(m => m.source === value || m.target === value),
  }
  return [...filters].every(([key, values]) => values.some(value => tests[key]?.(value) === true))
}

/** As docker, a name is a regular expression; one that is none is taken by its letters. */
function namePattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch {
    return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  }
}
