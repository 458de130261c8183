// docker's rules for what a healthcheck means: defaults, when to look again, and what a result makes of the state. Pure.

import type { HealthProbe, HealthState } from '../../model/container.ts'
import type { Healthcheck } from '../../model/image.ts'

const SECOND_NS = 1e9
const LOGGED_PROBES = 5

/** A healthcheck with docker's defaults filled in. */
export interface ProbePlan {
  readonly command: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly startPeriodMs: number
  readonly startIntervalMs: number
  readonly retries: number
}

/** @param shell what runs a command of the form CMD-SHELL */
export function planProbes(check: Healthcheck, shell: readonly string[] = ['/bin/sh', '-c']): ProbePlan {
  const [kind, ...words] = check.Test ?? []
  const ms = (value: number | undefined, seconds: number) => Math.max(1, (value || seconds * SECOND_NS) / 1e6)
  return {
    command: kind === 'CMD-SHELL' ? [...shell, ...words] : words,
    intervalMs: ms(check.Interval, 30),
    timeoutMs: ms(check.Timeout, 30),
    startPeriodMs: (check.StartPeriod ?? 0) / 1e6,
    startIntervalMs: ms(check.StartInterval, 5),
    retries: check.Retries || 3,
  }
}

/** How long to wait before the next probe. @param livedMs since the start of the container */
export function nextProbeMs(plan: ProbePlan, status: HealthState['status'], livedMs: number): number {
  return status === 'starting' && livedMs < plan.startPeriodMs ? plan.startIntervalMs : plan.intervalMs
}

/** The state after one more probe. @param startedAt of the container, RFC 3339 */
export function addProbe(state: HealthState, probe: HealthProbe, plan: ProbePlan, startedAt: string): HealthState {
  const log = [...state.log, probe].slice(-LOGGED_PROBES)
  if (probe.exitCode === 0) return { status: 'healthy', failingStreak: 0, log }
  // Nobody counts failures while it is still starting.
  const livedMs = Date.parse(probe.start) - Date.parse(startedAt)
  if (state.status === 'starting' && livedMs < plan.startPeriodMs) return { ...state, log }
  const failingStreak = state.failingStreak + 1
  return { status: failingStreak >= plan.retries ? 'unhealthy' : state.status, failingStreak, log }
}
