import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { Volume } from '../../engine/volume/volume-service.ts'
import { TsrunError } from '../../model/errors.ts'
import { collect } from '../collect.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { forEach } from '../each.ts'
import { matchesLabel, parseFilters, parsePruneFilter, parseTruth, passesFilters } from '../filters.ts'
import { renderInspection, renderListing } from '../format.ts'
import { labelList, labelMethod } from '../labels.ts'
import { parsePairs } from '../parse-pairs.ts'
import { print, printError } from '../print.ts'
import { renderError } from '../render-error.ts'
import { formatBytes } from '../table.ts'
import { inspectVolume } from '../volume-view.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const volume = program.command('volume').description('Create, list, inspect and remove volumes.')
  addCreate(volume)
  addList(volume)
  addInspect(volume, exit)
  addRemove(volume, exit)
  addPrune(volume)
  return volume
}

function addCreate(volume: Command): void {
  volume
    .command('create')
    .description('Create a volume; prints its name.')
    .argument('[name]')
    .option('-d, --driver <driver>', 'local, the only one there is')
    .option('--label <key=value>', 'set a label', collect)
    .option('-o, --opt <key=value>', 'type=tmpfs with o=size=64m; or o=bind with device=/path', collect)
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun volume create data\n  tsrun volume create -o type=none -o o=bind,ro -o device=/srv/site site',
    )
    .action(async (name: string | undefined, flags: { driver?: string; label?: string[]; opt?: string[] }) => {
      if (flags.driver !== undefined && flags.driver !== 'local')
        throw new TsrunError('unsupported', 'volume-driver', `there is no volume driver "${flags.driver}"`, {
          hint: 'volumes are folders on this machine: `local`; mount anything else yourself and bind it',
        })
      await using engine = await Engine.open()
      const labels = parsePairs('--label', flags.label ?? [])
      const options = parsePairs('--opt', flags.opt ?? [])
      const made = engine.volumes.create({ labels, options, ...(name === undefined ? {} : { name }) })
      print(`${made.name}\n`)
    })
}

interface ListFlags {
  readonly quiet?: boolean
  readonly format?: string
  readonly filter?: string[]
}

function addList(volume: Command): void {
  volume
    .command('list')
    .alias('ls')
    .description('List volumes.')
    .option('-q, --quiet', 'only names')
    .option('--format <format>', 'json, or a Go template')
    .option('-f, --filter <key=value>', 'only those that match: name, label, driver, dangling', collect)
    .addHelpText('after', '\nExample:\n  tsrun volume ls -q --filter dangling=true')
    .action(async (flags: ListFlags) => {
      await using engine = await Engine.open()
      const filters = parseFilters(flags.filter ?? [], ['name', 'label', 'driver', 'dangling'])
      const rows = engine.volumes
        .list()
        .filter(each => passesFilters(filters, testsOf(engine, each)))
        .map(toRow)
      if (flags.quiet === true) print(rows.map(row => `${row.Name}\n`).join(''))
      else print(renderListing({ columns, rows }, flags.format))
    })
}

const columns = [
  ['DRIVER', 'Driver'],
  ['VOLUME NAME', 'Name'],
] as const

function toRow({ name, mountpoint, labels }: Volume) {
  return {
    Availability: 'N/A',
    Driver: 'local',
    Group: 'N/A',
    Labels: labelList(labels),
    Label: labelMethod(labels),
    Links: 'N/A',
    Mountpoint: mountpoint,
    Name: name,
    Scope: 'local',
    Size: 'N/A',
    Status: 'N/A',
  }
}

/** What each filter says of one volume. */
function testsOf(engine: Engine, { name, labels }: Volume): Readonly<Record<string, (value: string) => boolean>> {
  return {
    name: value => name.includes(value),
    label: value => matchesLabel(labels, value),
    driver: value => value === 'local',
    dangling: value => (engine.volumes.usersOf(name).length === 0) === parseTruth('dangling', value),
  }
}

function addInspect(volume: Command, exit: (code: number) => void): void {
  volume
    .command('inspect')
    .description('Show everything about volumes, as JSON.')
    .argument('<name...>')
    .option('-f, --format <format>', 'json, or a Go template')
    .addHelpText('after', "\nExample:\n  tsrun volume inspect -f '{{.Mountpoint}}' data")
    .action(async (names: string[], flags: { format?: string }) => {
      await using engine = await Engine.open()
      const found = names.flatMap(name => {
        try {
          return [inspectVolume(engine.volumes.find(name))]
        } catch (error) {
          printError(renderError(error))
          exit(1)
          return []
        }
      })
      print(renderInspection(found, flags.format))
    })
}

function addRemove(volume: Command, exit: (code: number) => void): void {
  volume
    .command('remove')
    .alias('rm')
    .description('Remove volumes that no container mounts.')
    .argument('<name...>')
    .option('-f, --force', 'a missing volume is no error')
    .addHelpText('after', '\nExample:\n  tsrun volume rm data')
    .action(async (names: string[], flags: { force?: boolean }) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          try {
            engine.volumes.remove(name)
          } catch (error) {
            if (flags.force !== true || !(error instanceof TsrunError) || error.code !== 'no-such-volume') throw error
          }
          return name
        }),
      )
    })
}

function addPrune(volume: Command): void {
  volume
    .command('prune')
    .description('Remove anonymous volumes that no container mounts; with --all, named ones as well.')
    .option('-a, --all', 'named volumes too')
    .option(...forceFlag)
    .option('--filter <key=value>', 'only those that match: label=KEY[=VALUE], label!=..', collect)
    .addHelpText('after', '\nExample:\n  tsrun volume prune -a --filter label!=keep')
    .action(async (flags: { force?: boolean; all?: boolean; filter?: string[] }) => {
      const filter = parsePruneFilter(flags.filter, ['label', 'label!'])
      if (
        !(await isAgreed(
          flags,
          `This will remove ${flags.all === true ? 'all' : 'anonymous'} local volumes not used by at least one container.`,
        ))
      )
        return
      await using engine = await Engine.open()
      const { names, reclaimedBytes } = engine.volumes.prune({ ...filter, all: flags.all === true })
      if (names.length > 0) print(`Deleted Volumes:\n${names.join('\n')}\n\n`)
      print(`Total reclaimed space: ${formatBytes(reclaimedBytes)}\n`)
    })
}
