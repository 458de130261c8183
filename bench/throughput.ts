// One TCP stream along each path, beside the same path made by hand: `scripts/bench throughput`.

import { execFileSync, spawn } from 'node:child_process'
import { median, output, run } from './measure.ts'
import { type Figures, shown } from './report.ts'
import type { World } from './world.ts'

const ROUNDS = 5
const PORT = '5001'

interface Path {
  readonly name: string
  readonly from: readonly string[]
  readonly to: string
  readonly port?: string
  readonly isReference?: boolean
}

/** Gigabits a second; interleaved, medians. */
export function benchThroughput(world: World, seconds: number): Figures[] {
  const traffic = world.program('traffic')
  const outside = world.neighbour('10.88.2')
  const bare = bareBridge(world)
  const serve = (name: string, ...more: string[]) =>
    world.tsrunOutput(
      ...['run', '-d', '--name', name, '-v', `${traffic}:/traffic:ro`, ...more],
      ...['busybox', '/traffic', 'sink', PORT],
    )
  serve('sink', '-p', `15001:${PORT}`)
  serve('source')
  const inspect = (name: string, format: string) => world.tsrunOutput('inspect', '-f', format, name)
  const address = inspect('sink', '{{.NetworkSettings.IPAddress}}')
  const inSource = ['nsenter', `--net=/proc/${inspect('source', '{{.State.Pid}}')}/ns/net`]
  const servers = [bare.second, outside, world.inside()].map(([program = '', ...args]) =>
    spawn(program, [...args, traffic, 'sink', PORT], { stdio: 'ignore' }),
  )
  const paths: Path[] = [
    { name: 'bare veth and bridge', from: bare.first, to: bare.address, isReference: true },
    { name: 'container to container', from: inSource, to: address },
    { name: 'host to container', from: world.inside(), to: address },
    { name: 'container to host', from: inSource, to: '10.88.2.1' },
    { name: 'container to outside, masqueraded', from: inSource, to: '10.88.2.2' },
    { name: 'outside to a published port', from: outside, to: '10.88.2.1', port: '15001' },
    { name: 'outside to host, no container', from: outside, to: '10.88.2.1' },
  ]
  try {
    execFileSync('sleep', ['0.5'])
    const samples = new Map(paths.map(path => [path, [] as number[]]))
    for (let round = 0; round < ROUNDS; round += 1)
      for (const path of paths) {
        const send = [...path.from, traffic, 'send', path.to, path.port ?? PORT, String(seconds)]
        samples.get(path)?.push(Number(output(send)))
      }
    const reference = samples.get(paths[0] as Path) ?? []
    const rows = paths.map(path => {
      const own = samples.get(path) ?? []
      const ratios = own.map((rate, round) => rate / (reference[round] ?? Number.NaN))
      return [path.name, shown(median(own), 2), shown(median(ratios), 2)]
    })
    return [
      {
        title: 'Throughput, one TCP stream',
        note: `${ROUNDS} rounds of ${seconds} s, interleaved; medians. Sender and receiver share the machine's processors.`,
        columns: ['path', 'Gbit/s', 'x bare veth and bridge'],
        rows,
      },
    ]
  } finally {
    for (const server of servers) server.kill('SIGKILL')
    run(world.tsrun('rm', '-f', 'sink', 'source'))
  }
}

/** Two namespaces on a bridge in a third, and nothing else. */
function bareBridge(world: World): { first: string[]; second: string[]; address: string } {
  const name = (end: string) => `tsbare${process.pid}${end}`
  const ip = (...args: string[]) => execFileSync('ip', args)
  const ends = ['end0', 'end1']
  for (const end of ['', ...ends]) {
    ip('netns', 'add', name(end))
    world.onDispose(() => ip('netns', 'del', name(end)))
  }
  ip('-n', name(''), 'link', 'add', 'name', 'bare', 'type', 'bridge')
  ip('-n', name(''), 'link', 'set', 'dev', 'bare', 'up')
  ends.forEach((end, index) => {
    ip(
      '-n',
      name(''),
      'link',
      'add',
      'name',
      end,
      'master',
      'bare',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      name(end),
    )
    ip('-n', name(''), 'link', 'set', 'dev', end, 'up')
    ip('-n', name(end), 'address', 'add', `10.89.0.${index + 1}/24`, 'dev', 'eth0')
    for (const link of ['lo', 'eth0']) ip('-n', name(end), 'link', 'set', 'dev', link, 'up')
  })
  const inside = (end: string) => ['nsenter', `--net=/run/netns/${name(end)}`]
  return {
    first: inside('end0'),
    second: inside('end1'),
    address: '10.89.0.2',
  }
}
