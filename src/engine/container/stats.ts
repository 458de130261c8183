// What containers use of the machine, again and again: from their cgroups and from the counters of their network namespace.

import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../../ffi/errno.ts'
import { readCgroupStats } from '../../kernel/cgroup/cgroup.ts'
import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'

/** One look at one container. Everything is 0 for one that does not run. */
export interface ContainerStats {
  readonly id: string
  readonly name: string
  readonly running: boolean
  /** 100 is one processor. Since the look before. */
  readonly cpuPercent: number
  /** Without page cache that could be dropped at once. */
  readonly memoryBytes: number
  /** The machine's memory where there is no limit. */
  readonly memoryLimitBytes: number
  readonly memoryPercent: number
  /** Of all its interfaces since its start; 0 where it shares the host's network. */
  readonly networkReceivedBytes: number
  readonly networkSentBytes: number
  readonly blockReadBytes: number
  readonly blockWrittenBytes: number
  readonly pids: number
}

/** How stats are taken. */
export interface StatsOptions {
  /** Default 1000. */
  readonly intervalMs?: number
  /** Also containers that do not run, where none are named. */
  readonly all?: boolean
  readonly signal?: AbortSignal
}

interface CpuSample {
  readonly usageNs: number
  readonly atNs: bigint
}

/** Looks after each interval; the first look comes after half of one, or 500 ms at most. Ends with the signal. */
export async function* watchStats(
  context: EngineContext,
  select: () => readonly Container[],
  options: StatsOptions = {},
): AsyncGenerator<ContainerStats[]> {
  const intervalMs = options.intervalMs ?? 1000
  let before = new Map<string, CpuSample>()
  for (const container of select()) unlessDamaged(() => look(context, container, undefined, before))
  for (let waitMs = Math.min(500, intervalMs / 2); options.signal?.aborted !== true; waitMs = intervalMs) {
    try {
      await sleep(waitMs, undefined, options.signal === undefined ? {} : { signal: options.signal })
    } catch (error) {
      if (hasCode(error, 'ABORT_ERR')) return
      throw error
    }
    const now = new Map<string, CpuSample>()
    const seen = before
    yield select().flatMap(each => unlessDamaged(() => look(context, each, seen.get(each.id), now)) ?? [])
    before = now
  }
}

function look(
  context: EngineContext,
  container: Container,
  before: CpuSample | undefined,
  samples: Map<string, CpuSample>,
): ContainerStats {
  // All of its state, so that whoever watches hears of a damaged file.
  const { status, run } = context.store.state(container.id)
  const { id, name } = container
  if (run === undefined || (status !== 'running' && status !== 'paused')) return { ...nothing, id, name }
  const { cpu, memory, pids, blkio } = readCgroupStats(run.cgroup)
  const sample: CpuSample = { usageNs: cpu?.usageNs ?? 0, atNs: process.hrtime.bigint() }
  samples.set(id, sample)
  const limit = Math.min(memory?.limitBytes ?? Number.POSITIVE_INFINITY, totalmem())
  const network = run.endpoints.length === 0 ? undefined : readCounters(run.pid)
  return {
    id,
    name,
    running: true,
    cpuPercent: cpuPercent(before, sample),
    memoryBytes: memory?.usageBytes ?? 0,
    memoryLimitBytes: limit,
    memoryPercent: ((memory?.usageBytes ?? 0) * 100) / limit,
    networkReceivedBytes: network?.received ?? 0,
    networkSentBytes: network?.sent ?? 0,
    blockReadBytes: blkio?.readBytes ?? 0,
    blockWrittenBytes: blkio?.writeBytes ?? 0,
    pids: pids?.current ?? 0,
  }
}

const nothing = {
  running: false,
  cpuPercent: 0,
  memoryBytes: 0,
  memoryLimitBytes: 0,
  memoryPercent: 0,
  networkReceivedBytes: 0,
  networkSentBytes: 0,
  blockReadBytes: 0,
  blockWrittenBytes: 0,
  pids: 0,
} as const

function cpuPercent(before: CpuSample | undefined, now: CpuSample): number {
  if (before === undefined) return 0
  const wallNs = Number(now.atNs - before.atNs)
  return wallNs <= 0 ? 0 : Math.max(0, ((now.usageNs - before.usageNs) * 100) / wallNs)
}

function readCounters(pid: number): { received: number; sent: number } | undefined {
  try {
    return sumCounters(readFileSync(`/proc/${pid}/net/dev`, 'utf8'))
  } catch (error) {
    // It has ended since.
    if (hasCode(error, 'ENOENT', 'ESRCH', 'EINVAL')) return undefined
    throw error
  }
}

/** The bytes of all interfaces but lo in the text of /proc/net/dev: see proc(5). */
export function sumCounters(text: string): { received: number; sent: number } {
  let received = 0
  let sent = 0
  for (const line of text.split('\n').slice(2)) {
    const colon = line.indexOf(':')
    if (colon < 0 || line.slice(0, colon).trim() === 'lo') continue
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number)
    received += fields[0] ?? 0
    sent += fields[8] ?? 0
  }
  return { received, sent }
}
