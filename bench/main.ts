// The benchmark: what `scripts/bench` runs. Prints a table, and saves JSON and Markdown under bench/results/.

import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { benchImages } from './images.ts'
import { type Candidate, type Measurement, measure, median, ratio, run } from './measure.ts'
import { benchNames } from './names.ts'
import { createWorld, type World } from './world.ts'

interface Result {
  readonly title: string
  readonly reference: string
  readonly measurements: readonly Measurement[]
}

const { rounds, cases } = parseArguments(process.argv.slice(2))
const world = createWorld()
const results: Result[] = []
try {
  const all: Readonly<Record<string, (world: World) => Result[]>> = {
    run: benchRun,
    exec: benchExec,
    lifecycle: benchLifecycle,
    network: benchNetwork,
    images: world => benchImages(world, Math.min(rounds, 7), 50),
    'images-large': world => benchImages(world, Math.min(rounds, 3), 500),
  }
  run(world.tsrun('run', '--rm', 'busybox', 'true'))
  if (cases.includes('names')) benchNames(world)
  for (const [name, bench] of Object.entries(all))
    if (cases.length === 0 ? !name.startsWith('images') : cases.includes(name)) results.push(...bench(world))
  report(results)
} finally {
  run(world.tsrun('network', 'rm', 'bridge'))
  world.dispose()
}

function benchRun(world: World): Result[] {
  let number = 0
  const runtimes = (['crun', 'runc'] as const).flatMap(name => {
    const start = world.runtime(name)
    if (start === undefined) return []
    // A fresh id each time, as an engine would give.
    return [
      {
        name: `${name} run, bare bundle, no network`,
        get command() {
          number += 1
          return start(`bench${process.pid}-${number}`)
        },
      },
    ]
  })
  const peers = world.peers().flatMap(peer => [
    { name: `${peer} run --rm`, command: [peer, 'run', '--rm', 'busybox', 'true'] },
    { name: `${peer} run --rm -p`, command: [peer, 'run', '--rm', '-p', '18080:80', 'busybox', 'true'] },
  ])
  const candidates: Candidate[] = [
    { name: 'true (harness zero)', command: world.inside('/bin/true') },
    ...runtimes,
    { name: 'tsrun run --rm, bridge', command: world.tsrun('run', '--rm', 'busybox', 'true') },
    {
      name: 'tsrun run --rm -p 8080:80, bridge',
      command: world.tsrun('run', '--rm', '-p', '8080:80', 'busybox', 'true'),
    },
    {
      name: 'tsrun run --rm --network none',
      command: world.tsrun('run', '--rm', '--network', 'none', 'busybox', 'true'),
    },
    { name: 'tsrun --version', command: world.tsrun('--version') },
    ...peers,
  ]
  return [
    {
      title: 'run --rm busybox true',
      reference: 'runc run, bare bundle, no network',
      measurements: measure(candidates, rounds),
    },
  ]
}

function benchExec(world: World): Result[] {
  run(world.tsrun('run', '-d', '--name', 'bench', 'busybox', 'sleep', '10000'))
  const measurements = measure([{ name: 'tsrun exec true', command: world.tsrun('exec', 'bench', 'true') }], rounds)
  run(world.tsrun('rm', '-f', 'bench'))
  return [{ title: 'exec', reference: 'tsrun exec true', measurements }]
}

function benchLifecycle(world: World): Result[] {
  const start = world.tsrun('run', '-d', '--name', 'bench', '-p', '8080:80', 'busybox', 'sleep', '10000')
  const remove = world.tsrun('rm', '-f', 'bench')
  const measurements = measure(
    [
      { name: 'tsrun run -d -p', command: start, after: remove },
      { name: 'tsrun rm -f, running', before: start, command: remove },
    ],
    rounds,
  )
  return [{ title: 'detached', reference: 'tsrun run -d -p', measurements }]
}

function benchNetwork(world: World): Result[] {
  const create = world.tsrun('network', 'create', 'bench')
  const remove = world.tsrun('network', 'rm', 'bench')
  const measurements = measure(
    [
      { name: 'tsrun network create', command: create, after: remove },
      { name: 'tsrun network rm', before: create, command: remove },
    ],
    rounds,
  )
  return [{ title: 'networks', reference: 'tsrun network create', measurements }]
}

function report(results: readonly Result[]): void {
  const lines = [
    '# Benchmark',
    '',
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}; ${rounds} rounds, interleaved; docker and podman ${world.peers().join(', ') || 'not installed or not answering'}.`,
  ]
  for (const { title, reference, measurements } of results) {
    const hasMemory = measurements.some(({ peakKiB }) => peakKiB !== undefined)
    const base = measurements.find(m => m.name === reference) ?? measurements[0]
    lines.push(
      '',
      `## ${title}`,
      '',
      `| what | median ms | min | p90 | x ${base?.name ?? ''} | failures |${hasMemory ? ' peak MB |' : ''}`,
      `|---|---|---|---|---|---|${hasMemory ? '---|' : ''}`,
    )
    for (const each of measurements) {
      const sorted = [...each.samplesMs].sort((a, b) => a - b)
      const format = (value: number | undefined) =>
        value === undefined || Number.isNaN(value) ? '-' : value.toFixed(1)
      const p90 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.9))]
      const times = base === undefined ? Number.NaN : ratio(each, base)
      lines.push(
        `| ${each.name} | ${format(median(sorted))} | ${format(sorted[0])} | ${format(p90)} | ${times.toFixed(2)} | ${each.failures} |${hasMemory ? ` ${format(each.peakKiB === undefined ? undefined : each.peakKiB / 1024)} |` : ''}`,
      )
    }
  }
  const text = `${lines.join('\n')}\n`
  mkdirSync('bench/results', { recursive: true })
  writeFileSync('bench/results/latest.md', text)
  writeFileSync('bench/results/latest.json', `${JSON.stringify({ rounds, results }, null, 2)}\n`)
  process.stdout.write(text)
}

function parseArguments(words: readonly string[]): { rounds: number; cases: readonly string[] } {
  const at = words.indexOf('-n')
  const rounds = at < 0 ? 20 : Number(words[at + 1])
  const cases = at < 0 ? words : [...words.slice(0, at), ...words.slice(at + 2)]
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('-n takes a number of rounds')
  return { rounds, cases }
}
