// DNS for the tests: raw queries from inside a container's network namespace, and servers that the host asks.

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
  const netns = `--net=/proc/${await pidOf(world, container)}/ns/net`
  const input = queries.map(query => `${JSON.stringify(query)}\n`).join('')
  const stdout = await succeed(['nsenter', netns, process.execPath, peers, 'ask', server], {
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

/** One of the two processes of tsrun-dns. */
export interface ResolverProcess {
  readonly pid: number
  readonly title: string
}

/** The processes of the world's resolver: the keeper first, then the answerer. */
export function resolverProcesses(world: World): ResolverProcess[] {
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
