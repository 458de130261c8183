// DNS for the tests: raw queries from inside a container's network namespace, and servers that the host asks.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execute, type Result, succeed } from './command.ts'
import type { Namespace } from './namespace.ts'
import { plainEnvironment } from './namespace.ts'
import type { World } from './world.ts'

const peers = fileURLToPath(new URL('dns-peers.mjs', import.meta.url))

export interface Query {
  readonly name?: string
  /** A name of dns-peers.mjs or a number; default A. */
  readonly type?: string | number
  /** Default 1, IN. */
  readonly klass?: number
  readonly id?: number
  readonly flags?: number
  /** The payload of an OPT record. */
  readonly edns?: number
  readonly version?: number
  /** These bytes instead, as hexadecimal digits. */
  readonly raw?: string
  readonly tcp?: boolean
  /** Further queries on the same TCP connection. */
  readonly more?: readonly Query[]
  readonly timeoutMs?: number
}

export interface Answer {
  readonly id: number
  readonly code: number
  readonly flags: string
  readonly question?: { readonly name: string; readonly type: number }
  readonly answers: readonly { readonly type: string; readonly ttl: number; readonly data: string }[]
  /** The data of the answers. */
  readonly values: readonly string[]
  readonly edns?: number
  readonly length: number
  /** Bytes behind the message. */
  readonly rest: number
  readonly all?: readonly Answer[]
  readonly timeout?: boolean
  readonly error?: string
  readonly from?: string
}

export const codes = { ok: 0, formerr: 1, servfail: 2, nxdomain: 3, notimp: 4, refused: 5, badvers: 16 } as const

/** The container's first process. */
export async function pidOf(world: World, container: string): Promise<number> {
  const [{ State }] = await world.json(['inspect', container])
  return State.Pid
}

/** Sends all queries at once from the container's namespace and returns the answers in their order. */
export async function askFrom(
  world: World,
  container: string,
  queries: readonly Query[],
  server = '127.0.0.11',
): Promise<Answer[]> {
  return askIn(`/proc/${await pidOf(world, container)}/ns/net`, queries, server)
}

/** Sends all queries at once from a network namespace, given by a file of it. */
export async function askIn(netns: string, queries: readonly Query[], server = '127.0.0.11'): Promise<Answer[]> {
  const input = queries.map(query => `${JSON.stringify(query)}\n`).join('')
  const stdout = await succeed(['nsenter', `--net=${netns}`, process.execPath, peers, 'ask', server], {
    env: plainEnvironment,
    input,
    timeoutMs: 60_000,
  })
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Answer)
}

/** One query. */
export async function askOne(world: World, container: string, query: Query): Promise<Answer> {
  const [answer] = await askFrom(world, container, [query])
  if (answer === undefined) throw new Error('no answer')
  return answer
}

/** A server that runs until the world ends. */
export interface DnsServer {
  /** The names it was asked for so far. */
  names(): string[]
  queries(): { readonly name: string; readonly type: number; readonly protocol: string; readonly from: number }[]
  stop(): Promise<void>
}

/** @param last of the addresses that it answers with */
export async function serveDns(place: Namespace, last: number, addresses: readonly string[]): Promise<DnsServer> {
  const server = place.start(process.execPath, [peers, 'serve', String(last), ...addresses])
  await server.waitFor(/"ready"/)
  const queries = () =>
    server
      .stdout()
      .split('\n')
      .filter(line => line.includes('"name"'))
      .map(line => JSON.parse(line))
  return {
    queries,
    names: () => queries().map(({ name }) => name),
    stop: async () => {
      server.kill('SIGKILL')
      await server.result
    },
  }
}

/** tsrun on a host with an /etc/resolv.conf of its own. */
export interface HostWithResolvConf {
  tsrun(args: readonly string[]): Promise<Result>
  ok(args: readonly string[]): Promise<string>
  /** Replaces the text of the file. */
  write(text: string): void
}

export function withResolvConf(world: World, text: string): HostWithResolvConf {
  mkdirSync(join(world.dir, 'etc'), { recursive: true })
  const file = join(world.dir, 'etc', 'resolv.conf')
  const write = (content: string) => writeFileSync(file, content)
  write(text)
  const tsrun = (args: readonly string[]) => {
    const script = 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'
    const command = ['unshare', '--mount', 'sh', '-ec', script, 'sh', file, ...world.tsrunCommand(args)]
    return execute(command, { env: world.env, cwd: join(world.dir, 'work') })
  }
  return {
    tsrun,
    write,
    ok: async args => {
      const result = await tsrun(args)
      if (result.code !== 0) throw new Error(`tsrun ${args.join(' ')}: exit ${result.code}\n${result.stderr}`)
      return result.stdout.trimEnd()
    },
  }
}

/**
 * A program for `node -e` that sends 10,000 datagrams and 200 connections: half of the datagrams random, half of them queries
 * with some bytes changed. The seed is in it, and so in the output of a test that fails.
 */
export function floodScript(): string {
  return `
  const { createHash } = require('node:crypto')
  let state = Buffer.from('${randomBytes(16).toString('hex')}', 'hex')
  const random = length => {
    let bytes = Buffer.alloc(0)
    while (bytes.length < length) bytes = Buffer.concat([bytes, (state = createHash('sha512').update(state).digest())])
    return bytes.subarray(0, length)
  }
  const query = Buffer.from('1234010000010000000000010377656200000100010000290400000000000000', 'hex')
  const udp = require('node:dgram').createSocket('udp4')
  udp.on('error', () => {})
  udp.connect(53, '127.0.0.11', async () => {
    for (let i = 0; i < 10000; i++) {
      const bytes = i % 2 ? Buffer.from(query) : Buffer.from(random(random(1)[0] * 5))
      if (i % 2) for (const at of random(1 + random(1)[0] % 4)) bytes[at % bytes.length] = random(1)[0]
      udp.send(bytes)
      if (i % 50 === 0) await new Promise(resolve => setTimeout(resolve, 1))
    }
    const open = Array.from({ length: 200 }, (_, i) => {
      const socket = require('node:net').connect(53, '127.0.0.11', () => socket.write(i % 3 ? random(i) : Buffer.from('0004', 'hex')))
      return socket.on('error', () => {})
    })
    setTimeout(() => { for (const socket of open) socket.destroy(); process.exit(0) }, 500)
  })`
}

/** One of the two processes of tsrun-dns. */
export interface ResolverProcess {
  readonly pid: number
  readonly title: string
}

/** The processes of the world's resolver: the keeper first, then the answerer. */
export function resolverProcesses(world: Pick<World, 'state'>): ResolverProcess[] {
  const all = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => ({ pid: Number(name), title: readOrEmpty(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim() }))
    .filter(({ title }) => title.startsWith('tsrun-dns'))
  const keeper = all.find(({ title }) => title.includes(world.state))
  if (keeper === undefined) return []
  const parentOf = (pid: number) => Number(/^PPid:\s*(\d+)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1])
  return [keeper, ...all.filter(({ pid }) => parentOf(pid) === keeper.pid)]
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
