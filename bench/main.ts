// The benchmark: what `scripts/bench` runs. Prints tables, and saves JSON, Markdown and plots under bench/results/.

import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { benchImages } from './images.ts'
import { benchLibrary } from './library.ts'
import { type Candidate, measure, run } from './measure.ts'
import { benchNames } from './names.ts'
import { benchParallel } from './parallel.ts'
import { startPeers } from './peers.ts'
import { benchPorts } from './ports.ts'
import { type Comparison, type Result, writeReport } from './report.ts'
import { benchScale } from './scale.ts'
import { benchThroughput } from './throughput.ts'
import { createWorld, type World } from './world.ts'

const usualCases = ['run', 'exec', 'lifecycle', 'network', 'library', 'parallel', 'ports', 'throughput', 'scale']
const caseNames = [...usualCases, 'images', 'images-large', 'names']

const { rounds, cases, isQuick, containers } = parseArguments(process.argv.slice(2))
const world = createWorld()
const results: Result[] = []
const { peers, missing } = startPeers(world)
const began = { date: new Date(), load: loadavg()[0] ?? Number.NaN }
try {
  const seconds = isQuick ? 1 : 3
  const all: Readonly<Record<string, (world: World) => Result[]>> = {
    run: benchRun,
    exec: benchExec,
    lifecycle: benchLifecycle,
    network: benchNetwork,
    library: world => benchLibrary(world, rounds),
    parallel: world => benchParallel(world, peers, isQuick ? 24 : 50),
    ports: world => benchPorts(world, { rounds: isQuick ? 3 : 7, seconds }),
    throughput: world => benchThroughput(world, seconds),
    scale: world => benchScale(world, containers),
    images: world => benchImages(world, Math.min(rounds, 7), 50),
    'images-large': world => benchImages(world, Math.min(rounds, 3), 500),
  }
  run(world.tsrun('run', '--rm', 'busybox', 'true'))
  if (cases.includes('names')) benchNames(world)
  for (const [name, bench] of Object.entries(all)) {
    const isWanted = cases.length === 0 ? usualCases.includes(name) : cases.includes(name)
    if (!isWanted) continue
    process.stderr.write(`${name} ...\n`)
    results.push(...bench(world))
  }
  process.stdout.write(writeReport(heading(), results))
} finally {
  for (const peer of peers) peer.stop()
  run(world.tsrun('network', 'rm', 'bridge'))
  world.dispose()
}

/** When, where, beside whom. */
function heading(): string {
  const absent = [...missing, ...(['crun', 'runc'] as const).filter(name => world.runtime(name) === undefined)]
  const beside = absent.length === 0 ? 'all peers there' : `not installed or not answering: ${absent.join(', ')}`
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`
  return `${began.date.toISOString().slice(0, 10)}, ${machine}; load ${began.load.toFixed(1)} at the start; ${rounds} rounds, interleaved; ${beside}.`
}

function benchRun(world: World): Comparison[] {
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
  const others = peers.flatMap(({ name, command }) => [
    { name: `${name} run --rm, bridge`, command: command('run', '--rm', 'busybox', 'true') },
    { name: `${name} run --rm -p, bridge`, command: command('run', '--rm', '-p', '18080:80', 'busybox', 'true') },
    {
      name: `${name} run --rm --network none`,
      command: command('run', '--rm', '--network', 'none', 'busybox', 'true'),
    },
  ])
  const floor = prepareFloor(world)
  const candidates: Candidate[] = [
    { name: 'true (harness zero)', command: world.inside('/bin/true') },
    { name: 'floor, no network (bench/floor.c)', command: floor('none') },
    { name: 'floor, bridge', command: floor() },
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
    ...others,
  ]
  return [
    {
      title: 'run --rm busybox true',
      reference: 'runc run, bare bundle, no network',
      measurements: measure(candidates, rounds),
    },
  ]
}

/** The engines, each as one would type it. */
function engines(): readonly { name: string; command(...words: string[]): string[] }[] {
  return [{ name: 'tsrun', command: world.tsrun }, ...peers]
}

function benchExec(): Comparison[] {
  for (const { command } of engines()) run(command('run', '-d', '--name', 'bench', 'busybox', 'sleep', '10000'))
  const candidates = engines().map(({ name, command }) => ({
    name: `${name} exec true`,
    command: command('exec', 'bench', 'true'),
  }))
  const measurements = measure(candidates, rounds)
  for (const { command } of engines()) run(command('rm', '-f', 'bench'))
  return [{ title: 'exec', reference: 'tsrun exec true', measurements }]
}

function benchLifecycle(): Comparison[] {
  const candidates = engines().flatMap(({ name, command }, index) => {
    const port = `${18080 + index}:80`
    const start = command('run', '-d', '--name', 'bench', '-p', port, 'busybox', 'sleep', '10000')
    const remove = command('rm', '-f', 'bench')
    return [
      { name: `${name} run -d -p`, command: start, after: remove },
      { name: `${name} rm -f, running`, before: start, command: remove },
    ]
  })
  return [{ title: 'detached', reference: 'tsrun run -d -p', measurements: measure(candidates, rounds) }]
}

function benchNetwork(): Comparison[] {
  const candidates = engines().flatMap(({ name, command }) => {
    const create = command('network', 'create', 'bench')
    const remove = command('network', 'rm', 'bench')
    return [
      { name: `${name} network create`, command: create, after: remove },
      { name: `${name} network rm`, before: create, command: remove },
    ]
  })
  return [{ title: 'networks', reference: 'tsrun network create', measurements: measure(candidates, rounds) }]
}

/** The least that could do the same job, on a bridge of its own and the layer that tsrun has unpacked. */
function prepareFloor(world: World): (...more: string[]) => string[] {
  const program = world.program('floor')
  const [layer = ''] = execFileSync('sh', ['-c', `ls -d ${join(world.directory, 'root/layers')}/*/fs`], {
    encoding: 'utf8',
  }).split('\n')
  const work = join(world.directory, 'floor-work')
  execFileSync('mkdir', ['-p', work])
  for (const command of [
    ['ip', 'link', 'add', 'floor', 'type', 'bridge'],
    ['ip', 'link', 'set', 'floor', 'up'],
  ])
    run(world.inside(...command))
  return (...more) => world.inside(program, layer, work, 'floor', ...more)
}

function parseArguments(words: readonly string[]) {
  const rest = [...words]
  const take = (flag: string, value: number) => {
    const at = rest.indexOf(flag)
    const number = at < 0 ? value : Number(rest.splice(at, 2)[1])
    if (!Number.isInteger(number) || number < 1) throw new Error(`${flag} takes a number`)
    return number
  }
  const isQuick = rest.includes('--quick')
  if (isQuick) rest.splice(rest.indexOf('--quick'), 1)
  const rounds = take('-n', isQuick ? 10 : 20)
  const containers = take('-c', isQuick ? 100 : 1000)
  const unknown = rest.find(word => !caseNames.includes(word))
  if (unknown !== undefined) throw new Error(`there is no case "${unknown}": ${caseNames.join(', ')}`)
  return { rounds, containers, isQuick, cases: rest }
}
