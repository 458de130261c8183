// The pure rules of a container's life: restarts, probes, what is read from /proc.

import { describe, expect, test } from 'vitest'
import { splitPlace } from '../../src/cli/commands/cp.ts'
import { expandGroup } from '../../src/cli/groups.ts'
import { mergeHealthcheck } from '../../src/engine/container/merge-healthcheck.ts'
import { planRestart } from '../../src/engine/container/restart.ts'
import { sumCounters } from '../../src/engine/container/stats.ts'
import { filterPs } from '../../src/engine/container/top.ts'
import { addProbe, nextProbeMs, planProbes } from '../../src/engine/health/probe-plan.ts'
import { parseProcess } from '../../src/kernel/process-list.ts'
import type { HealthProbe, HealthState, RestartPolicy } from '../../src/model/container.ts'

describe('planRestart()', () => {
  const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000).toISOString()
  const plan = (
    policy: RestartPolicy,
    exitCode: number,
    more: { stoppedByUser?: boolean; restartCount?: number; restartDelayMs?: number; lived?: number } = {},
  ) => {
    const { lived = 1, ...rest } = more
    const exit = { exitCode, startedAt: at(0), finishedAt: at(lived) }
    return planRestart({ spec: { image: 'i', restart: policy }, ...rest }, exit)
  }
  const always: RestartPolicy = { name: 'always', maximumRetryCount: 0 }
  const twice: RestartPolicy = { name: 'on-failure', maximumRetryCount: 2 }

  test.each([
    ['no never', plan({ name: 'no', maximumRetryCount: 0 }, 1), undefined],
    ['always after a success', plan(always, 0), 100],
    ['unless-stopped after a failure', plan({ name: 'unless-stopped', maximumRetryCount: 0 }, 1), 100],
    ['nothing after a stop', plan(always, 0, { stoppedByUser: true }), undefined],
    ['on-failure not after a success', plan(twice, 0), undefined],
    ['on-failure after a failure', plan(twice, 1, { restartCount: 1 }), 100],
    ['on-failure not more often than asked for', plan(twice, 1, { restartCount: 2 }), undefined],
    ['twice as long the next time', plan(always, 0, { restartDelayMs: 100 }), 200],
    ['a minute at most', plan(always, 0, { restartDelayMs: 51_200 }), 60_000],
    ['from the start after ten seconds', plan(always, 0, { restartDelayMs: 51_200, lived: 10 }), 100],
  ])('%s', (_, delay, expected) => {
    expect(delay).toBe(expected)
  })
})

describe('healthchecks', () => {
  const started = '2026-01-01T00:00:00.000Z'
  const probe = (exitCode: number, second: number): HealthProbe => {
    const time = new Date(Date.parse(started) + second * 1000).toISOString()
    return { start: time, end: time, exitCode, output: '' }
  }
  const fresh: HealthState = { status: 'starting', failingStreak: 0, log: [] }
  const plan = planProbes({ Test: ['CMD', 'true'], StartPeriod: 10e9, Retries: 2 })

  test('planProbes() fills in the defaults of docker and runs CMD-SHELL in a shell', () => {
    expect(planProbes({ Test: ['CMD-SHELL', 'a b'] })).toEqual({
      command: ['/bin/sh', '-c', 'a b'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
      retries: 3,
    })
  })

  test('addProbe() does not count failures in the start period, unless it was healthy', () => {
    const early = addProbe(fresh, probe(1, 5), plan, started)
    expect(early).toMatchObject({ status: 'starting', failingStreak: 0 })

    const healthy = addProbe(early, probe(0, 6), plan, started)
    expect(addProbe(healthy, probe(1, 7), plan, started)).toMatchObject({ status: 'healthy', failingStreak: 1 })
  })

  test('addProbe() turns unhealthy after the retries and keeps five results', () => {
    let state = fresh
    for (let second = 11; second < 18; second += 1) state = addProbe(state, probe(1, second), plan, started)

    expect(state).toMatchObject({ status: 'unhealthy', failingStreak: 7 })
    expect(state.log).toHaveLength(5)
    expect(addProbe(state, probe(0, 20), plan, started)).toMatchObject({ status: 'healthy', failingStreak: 0 })
  })

  test('nextProbeMs() looks more often while it starts', () => {
    expect([
      nextProbeMs(plan, 'starting', 0),
      nextProbeMs(plan, 'healthy', 0),
      nextProbeMs(plan, 'starting', 10_000),
    ]).toEqual([5_000, 30_000, 30_000])
  })

  test.each([
    [undefined, undefined, undefined],
    [undefined, { Test: ['CMD', 'a'], Retries: 2 }, { Test: ['CMD', 'a'], Retries: 2 }],
    [
      { Retries: 5, Interval: 0 },
      { Test: ['CMD', 'a'], Interval: 7 },
      { Test: ['CMD', 'a'], Retries: 5, Interval: 7 },
    ],
    [{ Test: ['NONE'] }, { Test: ['CMD', 'a'] }, undefined],
    [{ Retries: 5 }, undefined, undefined],
  ])('mergeHealthcheck(%j, %j) is %j', (own, image, merged) => {
    expect(mergeHealthcheck(own, image)).toEqual(merged)
  })
})

describe('what is read from /proc', () => {
  test('parseProcess() takes a name that looks like fields', () => {
    const stat = `77 (a) R 1 (x) S 5 77 77 34817 0 0 0 0 0 0 250 50 0 0 20 0 1 0 1000 0`
    const facts = parseProcess({ pid: 77, stat, status: 'Uid:\t1\t33\t1\t1\n', args: 'a\0b c\0', bootTime: 500 })

    expect(facts).toEqual({
      pid: 77,
      parentPid: 5,
      uid: 33,
      cpuSeconds: 3,
      startedAt: 510,
      tty: 'pts/1',
      command: 'a b c',
    })
  })

  test('sumCounters() leaves lo out', () => {
    const text = `Inter-|   Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0\n  eth0: 100 1 0 0 0 0 0 0 20 1 0\n eth1:5 1 0 0 0 0 0 0 6 1 0\n`

    expect(sumCounters(text)).toEqual({ received: 105, sent: 26 })
  })

  test('filterPs() keeps the processes asked for, and needs their pids', () => {
    expect(filterPs('  PID COMMAND\n    1 init\n   22 sleep 10 20\n', [22])).toEqual({
      titles: ['PID', 'COMMAND'],
      processes: [['22', 'sleep 10 20']],
    })
    expect(() => filterPs('COMMAND\ninit\n', [1])).toThrow(/no column PID/)
  })
})

test.each([
  ['container ls -a', 'ps -a'],
  ['container prune -f', 'container-prune -f'],
  ['image rm x', 'rmi x'],
  ['image inspect x', 'inspect --type image x'],
  ['container', 'container'],
  ['container nonsense', 'container nonsense'],
  ['constructor name', 'constructor name'],
  ['ps -a', 'ps -a'],
])('expandGroup(%s) is %s', (words, expanded) => {
  expect(expandGroup(words.split(' ')).join(' ')).toBe(expanded)
})

test.each([
  ['web:/etc', { container: 'web', path: '/etc' }],
  ['./a:b', { path: './a:b' }],
  ['/a:b', { path: '/a:b' }],
  ['file', { path: 'file' }],
  ['-', { path: '-' }],
])('splitPlace(%s)', (text, place) => {
  expect(splitPlace(text)).toEqual(place)
})
