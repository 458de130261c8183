import type { Command } from 'commander'
import type { UsageLine } from '../../engine/disk-usage.ts'
import { Engine } from '../../engine/engine.ts'
import type { Pruned } from '../../engine/prune.ts'
import { TsrunError } from '../../model/errors.ts'
import { collect } from '../collect.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { parsePruneFilter } from '../filters.ts'
import { renderListing } from '../format.ts'
import { print, printError } from '../print.ts'
import { renderError } from '../render-error.ts'
import { formatBytes } from '../table.ts'
import { addEvents } from './events.ts'
import { addInfo } from './info.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const system = program.command('system').description('Clean up, and start again after a reboot.')
  system
    .command('prune')
    .description('Remove stopped containers, unused networks, dangling images and the build cache that no image has.')
    .option('-a, --all', 'all images that no container uses, and all of the build cache')
    .option(...forceFlag)
    .option('--volumes', 'anonymous volumes as well')
    .option('--filter <key=value>', 'only those that match: until=TIME, label=KEY[=VALUE], label!=..', collect)
    .addHelpText('after', '\nExample:\n  tsrun system prune --filter until=24h')
    .action(async (flags: { force?: boolean; all?: boolean; volumes?: boolean; filter?: string[] }) => {
      const filter = parsePruneFilter(flags.filter)
      if (flags.volumes === true && filter.until !== undefined)
        throw new TsrunError('invalid', 'filter', 'cannot use the until filter together with --volumes', {
          hint: 'a volume has no end of use: prune volumes apart, `tsrun volume prune`',
        })
      if (!(await isAgreed(flags, systemWarning(flags)))) return
      await using engine = await Engine.open()
      const options = { ...filter, allImages: flags.all === true, volumes: flags.volumes === true }
      print(toPruneText(await engine.prune(options)))
    })
  system
    .command('up')
    .description('After a reboot: put networks back and start the containers whose restart policy says so.')
    .addHelpText(
      'after',
      '\nExample:\n  tsrun system up\n\nscripts/systemd/tsrun.service calls it when the machine starts.',
    )
    .action(async () => {
      await using engine = await Engine.open()
      for await (const { kind, name, error } of engine.up()) {
        if (error === undefined) print(`Started ${kind}: ${name}\n`)
        else {
          printError(renderError(error))
          exit(1)
        }
      }
    })
  addInfo(system)
  addEvents(system)
  system
    .command('df')
    .description('Show what images, containers and volumes take up on disk.')
    .option('-v, --verbose', 'docker compatibility; tsrun shows the sums')
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun system df')
    .action(async (flags: { format?: string }) => {
      await using engine = await Engine.open()
      const rows = (await engine.diskUsage()).map(toUsageRow)
      print(renderListing({ columns: usageColumns, rows }, flags.format))
    })
  return system
}

const usageColumns = [
  ['TYPE', 'Type'],
  ['TOTAL', 'TotalCount'],
  ['ACTIVE', 'Active'],
  ['SIZE', 'Size'],
  ['RECLAIMABLE', 'Reclaimable'],
] as const

function toUsageRow(line: UsageLine): Record<string, string> {
  const share = line.sizeBytes === 0 ? 0 : Math.floor((line.reclaimableBytes * 100) / line.sizeBytes)
  return {
    Active: String(line.active),
    Reclaimable: `${formatBytes(line.reclaimableBytes)}${line.type === 'Build Cache' ? '' : ` (${share}%)`}`,
    Size: formatBytes(line.sizeBytes),
    TotalCount: String(line.total),
    Type: line.type,
  }
}

/** docker's list of what is lost. */
function systemWarning({ all, volumes }: { all?: boolean; volumes?: boolean }): string {
  const images = all === true ? 'all images without at least one container associated to them' : 'all dangling images'
  const what = ['all stopped containers', 'all networks not used by at least one container', images]
  if (volumes === true) what.splice(2, 0, 'all anonymous volumes not used by at least one container')
  const cache = all === true ? 'all build cache' : 'unused build cache'
  return `This will remove:\n${[...what, cache].map(each => `  - ${each}\n`).join('')}`
}

/** docker's paragraphs. */
function toPruneText({ containers, networks, volumes, images, reclaimedBytes }: Pruned): string {
  const deleted = [
    ...(images?.untagged ?? []).map(name => `untagged: ${name}`),
    ...(images?.deleted ?? []).map(id => `deleted: ${id}`),
  ]
  const paragraphs: (readonly [string, readonly string[]])[] = [
    ['Containers', containers],
    ['Networks', networks],
    ['Volumes', volumes],
    ['Images', deleted],
  ]
  return [
    ...paragraphs.flatMap(([kind, names]) => (names.length === 0 ? [] : [`Deleted ${kind}:\n${names.join('\n')}\n`])),
    `Total reclaimed space: ${formatBytes(reclaimedBytes)}\n`,
  ].join('\n')
}
