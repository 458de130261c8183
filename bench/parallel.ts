// Fifty containers, one after another and eight at a time: `scripts/bench parallel`.

import { spawnSync } from 'node:child_process'
import { run, timeOf } from './measure.ts'
import type { Peer } from './peers.ts'
import { type Figures, shown } from './report.ts'
import type { World } from './world.ts'

const AT_A_TIME = 8

/** Seconds to start `count` containers with the default network, and to remove them all. */
export function benchParallel(world: World, peers: readonly Peer[], count: number): Figures[] {
  const names = Array.from({ length: count }, (_, index) => `p${index}`)
  const engines = [
    {
      engine: 'tsrun',
      start: (name: string) => world.tsrun('run', '-d', '--name', name, 'busybox', 'sleep', '10000'),
      remove: world.tsrun('rm', '-f', ...names),
    },
    ...peers.map(({ name: engine, command }) => ({
      engine: engine as string,
      start: (name: string) => command('run', '-d', '--name', name, 'busybox', 'sleep', '10000'),
      remove: command('rm', '-f', ...names),
    })),
  ]
  const rows = engines.map(({ engine, start, remove }) => {
    try {
      const sequence = names.reduce((total, name) => total + timeOf(start(name)), 0)
      const removal = timeOf(remove)
      const together = startTogether(names, start('{}'))
      return [engine, ...[sequence, together, removal].map(ms => shown(ms / 1000, 2))]
    } finally {
      run(remove)
    }
  })
  return [
    {
      title: `${count} containers`,
      columns: ['engine', 'one after another, s', `${AT_A_TIME} at a time, s`, 'rm -f of all, s'],
      rows,
    },
  ]
}

function startTogether(names: readonly string[], command: readonly string[]): number {
  const begin = performance.now()
  const { status } = spawnSync('xargs', ['-P', String(AT_A_TIME), '-I{}', ...command], {
    input: names.join('\n'),
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`starting ${AT_A_TIME} at a time failed: ${command.join(' ')}`)
  return performance.now() - begin
}
