// Who probes a container without a daemon: a shell that sleeps, calls `tsrun health-check ID`, and sleeps for as long as that
// says. It takes a few hundred kilobytes where a tsrun that waits would take forty megabytes, and it ends with the container.

import { readFileSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { processStartTime } from '../../kernel/pidfd.ts'
import { readJson, writeJson } from '../../lib/state-file.ts'
import type { Container, HealthState } from '../../model/container.ts'
import { startInBackground } from '../background.ts'
import type { EngineContext } from '../context.ts'
import { nextProbeMs, planProbes } from './probe-plan.ts'

interface LoopRecord {
  /** Leader of a process group of its own. */
  readonly pid: number
  readonly pidStartTime: string
}

const script = 'sleep "$1"; shift; while seconds=$("$@"); do sleep "$seconds"; done'

/** Starts the loop of a container that has just been started and has a healthcheck. */
export async function startHealthLoop(context: EngineContext, container: Container): Promise<void> {
  const { id, healthcheck } = container
  if (healthcheck === undefined) return
  const plan = planProbes(healthcheck)
  const state: HealthState = { status: 'starting', failingStreak: 0, log: [] }
  writeJson(context.paths.runFile(id, 'health.json'), state)
  const first = toSeconds(nextProbeMs(plan, 'starting', 0))
  const pid = await startInBackground(['/bin/sh', '-c', script, 'tsrun-health', first, ...context.healthCommand(id)])
  if (pid === undefined) return
  const record: LoopRecord = { pid, pidStartTime: processStartTime(pid) ?? '' }
  writeJson(context.paths.runFile(id, 'health-loop.json'), record)
}

/** Whether a container that runs was given its loop: its start may have been cut off before. */
export function hasHealthLoop(context: EngineContext, id: string): boolean {
  return readLoop(context, id) !== undefined
}

/** Ends the loop at once, but not the probe that may be the caller. Idempotent. */
export function stopHealthLoop(context: EngineContext, id: string): void {
  const record = readLoop(context, id)
  if (record === undefined || processStartTime(record.pid) !== record.pidStartTime) return
  if (ownProcessGroup() === record.pid) return
  try {
    process.kill(-record.pid, 'SIGKILL')
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

function readLoop({ paths }: EngineContext, id: string): LoopRecord | undefined {
  return readJson<LoopRecord>(paths.runFile(id, 'health-loop.json'))
}

/** What sleep(1) takes. */
function toSeconds(ms: number): string {
  return String(ms / 1000)
}

function ownProcessGroup(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2])
}
