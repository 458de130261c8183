import type { Command } from 'commander'
import type { UsageLine } from '../../engine/disk-usage.ts'
import { Engine } from '../../engine/engine.ts'
import { renderListing } from '../format.ts'
import { renderError } from '../render-error.ts'
import { formatBytes } from '../table.ts'
import { addInfo } from './info.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const system = program.command('system').description('Clean up, and start again after a reboot.')
  system
    .command('prune')
    .description('Remove stopped containers, unused networks and dangling images, and what a crash has left behind.')
    .option('-f, --force', 'do not ask (tsrun never asks)')
    .option('--volumes', 'anonymous volumes as well')
    .addHelpText('after', '\nExample:\n  tsrun system prune')
    .action(async (flags: { volumes?: boolean }) => {
      await using engine = await Engine.open()
      await engine.reconcile()
      for (const { container, state } of await engine.containers.list({ all: true })) {
        if (state.status === 'running' || state.status === 'paused') continue
        await engine.containers.remove(container.id)
        process.stdout.write(`Deleted container: ${container.name}\n`)
      }
      for (const name of await engine.networks.prune()) process.stdout.write(`Deleted network: ${name}\n`)
      if (flags.volumes === true)
        for (const name of engine.volumes.prune()) process.stdout.write(`Deleted volume: ${name}\n`)
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
        if (error === undefined) process.stdout.write(`Started ${kind}: ${name}\n`)
        else {
          process.stderr.write(renderError(error))
          exit(1)
        }
      }
    })
  addInfo(system)
  system
    .command('df')
    .description('Show what images, containers and volumes take up on disk.')
    .option('-v, --verbose', 'docker compatibility; tsrun shows the sums')
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun system df')
    .action(async (flags: { format?: string }) => {
      await using engine = await Engine.open()
      const rows = (await engine.diskUsage()).map(toUsageRow)
      process.stdout.write(renderListing({ columns: usageColumns, rows }, flags.format))
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
