// Many containers at once, each with a port of its own: `scripts/bench scale`. Does the last start take longer than the first?

import { readdirSync, readFileSync } from 'node:fs'
import { median, output, timeOf } from './measure.ts'
import { type Figures, shown } from './report.ts'
import type { World } from './world.ts'

const FIRST_PORT = 20000
/** How many starts the first and the last are the median of. */
const SAMPLE = 20

/** Starts `count` containers, looks at them in every way, and removes them. */
export function benchScale(world: World, count: number): Figures[] {
  const traffic = world.program('traffic')
  const names = Array.from({ length: count }, (_, index) => `c${index}`)
  const rows: string[][] = []
  const add = (what: string, value: string) => rows.push([what, value])
  world.tsrunOutput('network', 'create', '--subnet', '10.77.0.0/20', 'many')
  try {
    const startsMs = names.map((name, index) =>
      timeOf(
        world.tsrun(
          ...['run', '-d', '--name', name, '--network', 'many', '-p', `${FIRST_PORT + index}:80`],
          ...['-v', `${traffic}:/traffic:ro`, 'busybox', '/traffic', 'serve', '80'],
        ),
      ),
    )
    const first = median(startsMs.slice(0, SAMPLE))
    const last = median(startsMs.slice(-SAMPLE))
    add('started one after another, s', shown(sum(startsMs) / 1000))
    add(`start, median of the first ${SAMPLE}, ms`, shown(first))
    add(`start, median of the last ${SAMPLE}, ms`, shown(last))
    add('last against first', shown(last / first, 2))
    const { pssKiB, processes } = helperMemory(world)
    add('helper processes (monitors, resolver)', String(processes))
    add('memory of helpers for each container, KiB PSS', shown(pssKiB / count))
    add('ps, ms', shown(medianOf(5, () => timeOf(world.tsrun('ps')))))
    add('ps -q, ms', shown(medianOf(5, () => timeOf(world.tsrun('ps', '-q')))))
    add('inspect one, ms', shown(medianOf(5, () => timeOf(world.tsrun('inspect', names.at(-1) ?? '')))))
    add('inspect all, ms', shown(timeOf(world.tsrun('inspect', ...names))))
    add('network inspect, ms', shown(medianOf(3, () => timeOf(world.tsrun('network', 'inspect', 'many')))))
    add('exec true in the last, ms', shown(medianOf(5, () => timeOf(world.tsrun('exec', names.at(-1) ?? '', 'true')))))
    const ports = names.map((_, index) => String(FIRST_PORT + index))
    add('answering on their port', `${output(world.inside(traffic, 'reach', '10.77.0.1', ...ports))} of ${count}`)
    add('answering by name, to the first', `${reachByName(world, count)} of ${count}`)
    add('rm -f of all, s', shown(timeOf(world.tsrun('rm', '-f', ...names)) / 1000))
    return [
      {
        title: `${count} containers, each with a port`,
        columns: ['what', 'figure'],
        rows,
        plots: [
          {
            file: 'start-by-containers',
            title: 'Start of one more container (run -d -p)',
            x: 'containers running',
            y: 'ms',
            series: [{ name: 'median of 20', points: smooth(startsMs) }],
          },
        ],
      },
    ]
  } finally {
    const left = world.tsrunOutput('ps', '-aq').split('\n').filter(Boolean)
    if (left.length > 0) world.tsrunOutput('rm', '-f', ...left)
    world.tsrunOutput('network', 'rm', 'many')
  }
}

/** From inside the first container, each by its name. */
function reachByName(world: World, count: number): string {
  const loop = `n=0; i=0; while [ $i -lt ${count} ]; do nc -w 3 c$i 80 </dev/null >/dev/null 2>&1 && n=$((n+1)); i=$((i+1)); done; echo $n`
  return world.tsrunOutput('exec', 'c0', 'sh', '-c', loop)
}

/** What the helpers of this world's containers have: monitors, and the resolver. They share most of their pages, hence PSS. */
export function helperMemory(world: World): { pssKiB: number; processes: number } {
  const monitors = new Set(
    world
      .tsrunOutput('ps', '-q')
      .split('\n')
      .map(id => `tsrun-monitor ${id}`),
  )
  const processes = readdirSync('/proc').flatMap(pid => describe(pid) ?? [])
  const keepers = processes
    .filter(({ title }) => title.startsWith(`tsrun-dns ${world.directory}`))
    .map(({ pid }) => pid)
  const ours = processes.filter(
    ({ pid, parent, title }) => monitors.has(title) || keepers.includes(pid) || keepers.includes(parent),
  )
  return { pssKiB: sum(ours.map(({ pid }) => pssOf(pid))), processes: ours.length }
}

interface Described {
  readonly pid: string
  readonly parent: string
  readonly title: string
}

/** @returns undefined for what is no process, or one that has ended meanwhile */
function describe(pid: string): Described | undefined {
  if (!/^\d+$/.test(pid)) return undefined
  try {
    const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
    return { pid, parent, title }
  } catch {
    return undefined
  }
}

function pssOf(pid: string): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
}

function medianOf(rounds: number, time: () => number): number {
  return median(Array.from({ length: rounds }, time))
}

function smooth(values: readonly number[]): (readonly [number, number])[] {
  const points: (readonly [number, number])[] = []
  for (let at = 0; at < values.length; at += SAMPLE) points.push([at, median(values.slice(at, at + SAMPLE))])
  return points
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
