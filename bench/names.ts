// How long an answer of the resolver takes, beside an echo from the same namespace: `scripts/bench names`.

import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { World } from './world.ts'

const QUERIES = 5000
const ROUNDS = 5

/** Prints median and 99th percentile, in microseconds, of each round. */
export function benchNames(world: World): void {
  const build = (name: string, source: string) => {
    const program = join(world.directory, name)
    execFileSync('musl-gcc', ['-static', '-O2', '-o', program, source])
    return program
  }
  const client = build('dns-latency', 'bench/dns-latency.c')
  const echo = build('udp-echo', 'test/helpers/udp-echo.c')
  const tsrun = (...args: string[]) => {
    const [program = '', ...rest] = world.tsrun(...args)
    return execFileSync(program, rest, { encoding: 'utf8' }).trim()
  }
  tsrun('network', 'create', 'names')
  tsrun('run', '-d', '--name', 'named', '--network', 'names', 'busybox', 'sleep', '600')
  const inside = `--net=/proc/${tsrun('inspect', '-f', '{{.State.Pid}}', 'named')}/ns/net`
  const server = spawn('nsenter', [inside, echo, '5353'], { stdio: 'ignore' })
  try {
    execFileSync('sleep', ['0.5'])
    const ask = (address: string, port: string) =>
      execFileSync('nsenter', [inside, client, address, port, 'named', String(QUERIES)], { encoding: 'utf8' }).trim()
    for (let round = 0; round < ROUNDS; round++) {
      console.log(`echo ${ask('127.0.0.1', '5353')}   resolver ${ask('127.0.0.11', '53')}   (median, 99 % in us)`)
    }
  } finally {
    server.kill('SIGKILL')
    tsrun('rm', '-f', 'named')
    tsrun('network', 'rm', 'names')
  }
}
