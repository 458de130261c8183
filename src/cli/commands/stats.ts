import type { Command } from 'commander'
import type { ContainerStats } from '../../engine/container/stats.ts'
import { Engine } from '../../engine/engine.ts'
import { shortId } from '../../engine/ids.ts'
import { renderListing } from '../format.ts'
import { print } from '../print.ts'
import { formatBinaryBytes, formatBytes } from '../table.ts'

interface StatsFlags {
  readonly all?: boolean
  readonly stream: boolean
  readonly trunc: boolean
  readonly format?: string
}

export function register(program: Command): Command {
  return program
    .command('stats')
    .description('Show what containers use, every second; all running ones when none is named.')
    .argument('[container...]')
    .option('-a, --all', 'also those that do not run')
    .option('--no-stream', 'look once')
    .option('--no-trunc', 'do not cut ids short')
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', "\nExample:\n  tsrun stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}'")
    .action(async (names: string[], flags: StatsFlags) => {
      await using engine = await Engine.open()
      const live = flags.stream && process.stdout.isTTY === true
      const stop = new AbortController()
      if (flags.stream) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
      const looks = engine.containers.stats(names, { all: flags.all === true, signal: stop.signal })
      for await (const look of looks) {
        const rows = look.map(stats => toRow(stats, !flags.trunc))
        const text = renderListing({ columns, rows }, flags.format)
        // From the top, each line cleared behind its text, then all below: without the flicker of clearing first.
        print(live ? `\x1b[H${text.replaceAll('\n', '\x1b[K\n')}\x1b[J` : text)
        if (!flags.stream) return
      }
    })
}

const columns = [
  ['CONTAINER ID', 'ID'],
  ['NAME', 'Name'],
  ['CPU %', 'CPUPerc'],
  ['MEM USAGE / LIMIT', 'MemUsage'],
  ['MEM %', 'MemPerc'],
  ['NET I/O', 'NetIO'],
  ['BLOCK I/O', 'BlockIO'],
  ['PIDS', 'PIDs'],
] as const

function toRow(stats: ContainerStats, full: boolean): Record<string, string> {
  const id = full ? stats.id : shortId(stats.id)
  return {
    BlockIO: `${formatBytes(stats.blockReadBytes)} / ${formatBytes(stats.blockWrittenBytes)}`,
    CPUPerc: `${stats.cpuPercent.toFixed(2)}%`,
    Container: id,
    ID: id,
    MemPerc: `${stats.memoryPercent.toFixed(2)}%`,
    MemUsage: `${formatBinaryBytes(stats.memoryBytes)} / ${formatBinaryBytes(stats.memoryLimitBytes)}`,
    Name: stats.name,
    NetIO: `${formatBytes(stats.networkReceivedBytes)} / ${formatBytes(stats.networkSentBytes)}`,
    PIDs: String(stats.pids),
  }
}
