import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { Container } from '../../model/container.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { collect } from '../collect.ts'
import { toPsRow } from '../container-view.ts'
import { renderListing } from '../format.ts'
import { print } from '../print.ts'
import { parsePsFilters, psTest } from '../ps-filters.ts'
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
    .option('-f, --filter <key=value>', 'only those that match, e.g. status=exited, name=web, label=a=b', collect)
    .addHelpText('after', "\nExample:\n  tsrun ps -a --format '{{.Names}} {{.Status}}'")
    .action(async (flags: PsFlags) => {
      await using engine = await Engine.open()
      const filters = parsePsFilters(flags.filter)
      const last =
        flags.latest === true
          ? 1
          : flags.last === undefined
            ? undefined
            : parseWholeNumber('--last', flags.last, { min: 0, max: 1e9 })
      const all = flags.all === true || last !== undefined || filters.has('status') || filters.has('exited')
      const passes = await psTest(engine, filters)
      const views = (await engine.containers.list({ all })).filter(passes).slice(0, last)
      if (flags.quiet === true) {
        print(views.map(({ container }) => `${flags.trunc ? container.id.slice(0, 12) : container.id}\n`).join(''))
        return
      }
      const withSize = flags.size === true || /\.Size\b/.test(flags.format ?? '')
      const rows = []
      for (const view of views) {
        const row = toPsRow(view, !flags.trunc)
        rows.push(withSize ? { ...row, Size: await sizeOf(engine, view.container) } : row)
      }
      const shown = flags.size === true ? [...columns, ['SIZE', 'Size'] as const] : columns
      print(renderListing({ columns: shown, rows }, flags.format))
    })
}

/** docker's `5B (virtual 4.1MB)`: what it has written, and that with its image. */
async function sizeOf(engine: Engine, { id, image }: Container): Promise<string> {
  const own = await engine.files.size(id)
  return `${formatBytes(own)} (virtual ${formatBytes(own + (await engine.images.sizeOf(image.layerDirs)))})`
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
