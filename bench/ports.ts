// Published ports: does a start, or a new connection, cost more where there are many? `scripts/bench ports`.

import { median, output, run, timeOf } from './measure.ts'
import { type Figures, shown } from './report.ts'
import type { World } from './world.ts'

const FIRST_PORT = 20000

/** One container with 1 to 5000 ports, up and down; connections a second through the last of them. */
export function benchPorts(world: World, { rounds, seconds }: { rounds: number; seconds: number }): Figures[] {
  const counts = [1, 10, 100, 499, 1000, 2000, 5000]
  const times = counts.map(count => ({ count, ...upAndDown(world, count, rounds) }))
  const rates = connectionRates(world, [1, 500, 5000], seconds)
  const one = rates[0]?.perSecond ?? Number.NaN
  return [
    {
      title: 'Published ports',
      note: 'One container, all ports in one -p range; medians.',
      columns: ['ports', 'run -d, ms', 'rm -f, ms'],
      rows: times.map(({ count, upMs, downMs }) => [String(count), shown(upMs), shown(downMs)]),
      plots: [
        {
          file: 'start-by-ports',
          title: 'Start and removal by published ports',
          x: 'ports',
          y: 'ms',
          series: [
            { name: 'run -d -p', points: times.map(({ count, upMs }) => [count, upMs] as const) },
            { name: 'rm -f', points: times.map(({ count, downMs }) => [count, downMs] as const) },
          ],
        },
      ],
    },
    {
      title: 'New connections a second through a published port',
      note: 'From a neighbouring host, one after another, through the last port published; ratio to one port.',
      columns: ['ports published', 'connections/s', 'x one port'],
      rows: rates.map(({ count, perSecond }) => [String(count), shown(perSecond, 0), shown(perSecond / one, 2)]),
    },
  ]
}

function upAndDown(world: World, count: number, rounds: number): { upMs: number; downMs: number } {
  const up: number[] = []
  const down: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    up.push(timeOf(world.tsrun('run', '-d', '--name', 'ports', '-p', range(count), 'busybox', 'sleep', '10000')))
    down.push(timeOf(world.tsrun('rm', '-f', 'ports')))
  }
  return { upMs: median(up), downMs: median(down) }
}

/** The counts in turn, three times over: the median of each. */
function connectionRates(world: World, counts: readonly number[], seconds: number) {
  const traffic = world.program('traffic')
  const outside = world.neighbour('10.88.1')
  const rates = new Map(counts.map(count => [count, [] as number[]]))
  for (let round = 0; round < 3; round += 1)
    for (const count of counts) {
      const serve = ['-v', `${traffic}:/traffic:ro`, 'busybox', '/traffic', 'serve', '80']
      const last = String(FIRST_PORT + count)
      const others = count > 1 ? ['-p', range(count - 1)] : []
      run(world.tsrun('run', '-d', '--name', 'ports', ...others, '-p', `${last}:80`, ...serve))
      try {
        rates.get(count)?.push(Number(output([...outside, traffic, 'connect', '10.88.1.1', last, String(seconds)])))
      } finally {
        run(world.tsrun('rm', '-f', 'ports'))
      }
    }
  return [...rates].map(([count, samples]) => ({ count, perSecond: median(samples) }))
}

const range = (count: number) => {
  const ports = `${FIRST_PORT}-${FIRST_PORT + count - 1}`
  return count === 1 ? `${FIRST_PORT}:${FIRST_PORT}` : `${ports}:${ports}`
}
