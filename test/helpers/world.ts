// The simulated world of the end-to-end tests. tsrun never sees the machine's own network: each world has
//
//     outside (router, server 203.0.113.10, client 203.0.113.20)
//        | 198.51.100.1
//     switch --- neighbour 198.51.100.20 (same LAN as the host)
//        | 198.51.100.10
//      host: tsrun runs here, with --root and --state of its own
//
// and IPv6 alike. Everything is in one folder and dies with dispose(), which fails when something was left behind.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type CommandOptions, eventually, execute, type Result, type Running, sleep } from './command.ts'
import { Namespace, plainEnvironment } from './namespace.ts'
import {
  cgroups,
  compareSnapshots,
  findProcesses,
  mountPoints,
  type Place,
  type Snapshot,
  takeSnapshot,
} from './snapshot.ts'
import { openTerminal, type Terminal, type TerminalOptions } from './terminal.ts'

/** Who has which address. */
export const addresses = {
  host: '198.51.100.10',
  neighbour: '198.51.100.20',
  router: '198.51.100.1',
  /** Both live in the outside namespace, one hop away. */
  server: '203.0.113.10',
  client: '203.0.113.20',
  host6: '2001:db8:51::10',
  neighbour6: '2001:db8:51::20',
  router6: '2001:db8:51::1',
  server6: '2001:db8:203::10',
} as const

const repository = fileURLToPath(new URL('../../', import.meta.url))
export const dist = join(repository, 'dist')

/** How the command line is run: the compiled executable, or the same source under Node. */
export type Face = 'executable' | 'node'

export const defaultFace: Face = process.env.TSRUN_TEST_FACE === 'node' ? 'node' : 'executable'

/** Run every container with mapped users, e.g. `TSRUN_TEST_USERNS=165536:65536`; for trials by hand. */
const usernsRemap = process.env.TSRUN_TEST_USERNS

export function faceCommand(face: Face = defaultFace): string[] {
  return face === 'node' ? [process.execPath, join(dist, 'cli.js')] : [join(dist, 'tsrun')]
}

export interface WorldOptions {
  readonly face?: Face
}

export const worldPrefix = 'tsrun-world-'

export class World {
  /** Unique, and in the environment of everything that the world starts. */
  readonly id: string
  readonly dir: string
  /** tsrun's --root and --state. */
  readonly root: string
  readonly state: string
  readonly env: NodeJS.ProcessEnv
  readonly host: Namespace
  readonly outside: Namespace
  readonly neighbour: Namespace
  readonly #switch: Namespace
  readonly #face: Face
  readonly #containerIds = new Set<string>()
  readonly #terminals: Terminal[] = []
  #atStart: Snapshot = new Map()
  #disposed = false

  private constructor(dir: string, face: Face, env: NodeJS.ProcessEnv, namespaces: readonly Namespace[]) {
    const [host, outside, neighbour, lanSwitch] = namespaces
    if (host === undefined || outside === undefined || neighbour === undefined || lanSwitch === undefined) {
      throw new Error('a world has four namespaces')
    }
    this.id = basename(dir)
    this.dir = dir
    this.root = join(dir, 'root')
    this.state = join(dir, 'state')
    this.env = env
    this.#face = face
    this.host = host
    this.outside = outside
    this.neighbour = neighbour
    this.#switch = lanSwitch
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    if (process.getuid?.() !== 0) throw new Error('a simulated world needs root: run scripts/test as root')
    const dir = mkdtempSync(join(tmpdir(), worldPrefix))
    for (const folder of ['tmp', 'home', 'work']) mkdirSync(join(dir, folder))
    writeFileSync(join(dir, 'owner'), `${process.pid}\n`)
    const env = {
      ...plainEnvironment,
      HOME: join(dir, 'home'),
      TMPDIR: join(dir, 'tmp'),
      TSRUN_ROOT: join(dir, 'root'),
      TSRUN_STATE: join(dir, 'state'),
      TSRUN_TEST_WORLD: basename(dir),
      ...(usernsRemap === undefined ? {} : { TSRUN_USERNS_REMAP: usernsRemap }),
    }
    const names = ['host', 'outside', 'neighbour', 'switch']
    const namespaces = await Promise.all(names.map(name => Namespace.create(name, join(dir, 'netns', name), env)))
    const world = new World(dir, options.face ?? defaultFace, env, namespaces)
    await world.#wire()
    world.#atStart = await world.snapshot()
    return world
  }

  /** Runs tsrun on the host, whatever its exit code. */
  async tsrun(args: readonly string[], options: CommandOptions = {}): Promise<Result> {
    const result = await execute(this.tsrunCommand(args), { ...this.#defaults(), ...options })
    this.#noteContainers(result.stdout)
    return result
  }

  /** Runs a tsrun command that must succeed; returns its stdout without the last line feed. */
  async ok(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { stdout, stderr, code, signal } = await this.tsrun(args, options)
    if (code !== 0) throw new Error(`exit ${code ?? signal}: tsrun ${args.join(' ')}\n${stdout}${stderr}`)
    return stdout.replace(/\n$/, '')
  }

  /** As ok(), for words without spaces in them. */
  line(command: string): Promise<string> {
    return this.ok(command.split(' '))
  }

  /** Ends all containers and removes them, with the volumes that only they have. */
  async removeContainers(): Promise<void> {
    const ids = (await this.ok(['ps', '-aq'])).split('\n').filter(Boolean)
    if (ids.length > 0) await this.ok(['rm', '-fv', ...ids])
  }

  /** Starts tsrun on the host with pipes. */
  start(args: readonly string[], options: CommandOptions = {}): Running {
    const [program = '', ...rest] = [...faceCommand(this.#face), ...args]
    return this.host.start(program, rest, { ...this.#defaults(), ...options })
  }

  /** Starts tsrun on the host in a terminal of its own. */
  async terminal(args: readonly string[], options: TerminalOptions = {}): Promise<Terminal> {
    const terminal = await openTerminal(this.tsrunCommand(args), { dir: this.dir, ...this.#defaults(), ...options })
    this.#terminals.push(terminal)
    return terminal
  }

  /** The whole command, from nsenter on, for those who start it themselves. */
  tsrunCommand(args: readonly string[], face: Face = this.#face): string[] {
    const [program = '', ...rest] = [...faceCommand(face), ...args]
    return this.host.command(program, rest)
  }

  /** Parsed output of a tsrun command that prints JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: looked into by each test
  async json(args: readonly string[]): Promise<any> {
    return JSON.parse(await this.ok(args))
  }

  /** The address of a container on its first network, or on `network`. */
  async addressOf(container: string, network?: string): Promise<string> {
    const [{ NetworkSettings }] = await this.json(['inspect', container])
    const networks = NetworkSettings.Networks
    const endpoint = networks[network ?? Object.keys(networks)[0] ?? '']
    return endpoint.IPAddress
  }

  /** Starts a container that serves pages on port 80 and waits until it listens; see pageOf(). */
  async serve(name: string, flags: readonly string[] = []): Promise<string> {
    const id = await this.ok(['run', '-d', '--name', name, ...flags, 'busybox', 'sh', '-c', pageServer(name)])
    const [{ State }] = await this.json(['inspect', name])
    await eventually(`${name} listens`, () => isListening(State.Pid, 80))
    return id
  }

  async snapshot(): Promise<Snapshot> {
    for (const folder of [this.root, this.state]) {
      for (const id of listOrEmpty(join(folder, 'containers'))) this.#containerIds.add(id)
    }
    return takeSnapshot(this.#place())
  }

  /** A snapshot of a host at rest: links die a moment after their container, and nobody waits for that. */
  async settled(): Promise<Snapshot> {
    let last = await this.snapshot()
    for (let tries = 0; tries < 50; tries++) {
      await sleep(100)
      const next = await this.snapshot()
      if (compareSnapshots(last, next).length === 0) break
      last = next
    }
    return last
  }

  /** The cgroups that hold those of the containers: `tsrun-<hash of the root folder>` in each hierarchy. */
  engineCgroups(): string[] {
    let hash = 0x811c9dc5
    for (const byte of Buffer.from(this.root)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
    const name = `tsrun-${hash.toString(16).padStart(8, '0')}`
    const hierarchies = ['', ...listOrEmpty('/sys/fs/cgroup')]
    return hierarchies.map(folder => join('/sys/fs/cgroup', folder, name)).filter(path => existsSync(path))
  }

  /** Processes of the world, containers' ones included. */
  processes(): { pid: number; command: string }[] {
    return findProcesses(this.#place())
  }

  /** What stands now counts as having been there from the start, for leakCheck() and dispose(). */
  async rebase(): Promise<void> {
    this.#atStart = await this.snapshot()
  }

  /** What came or went since `before`; empty when nothing. Gives the kernel `timeoutMs` to finish what is dying. */
  async changesSince(before: Snapshot, options: ChangeOptions = {}): Promise<string[]> {
    const { timeoutMs = 3_000 } = options
    const ignore = [...skeleton, ...(options.ignore ?? [])]
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const changes = compareSnapshots(before, await this.snapshot()).filter(
        change => !ignore.some(pattern => pattern.test(change)),
      )
      if (changes.length === 0 || Date.now() > deadline) return changes
      await sleep(50)
    }
  }

  /** Removes all containers and networks with tsrun, and returns what is there that was not at the start. */
  async leakCheck(options: { timeoutMs?: number } = {}): Promise<string[]> {
    await this.#stopPrograms()
    const problems = existsSync(this.root) ? await this.#removeAll() : []
    return [...problems, ...(await this.changesSince(this.#atStart, { ...options, ignore: remaining }))]
  }

  /** Takes the world away; a second call does nothing. @throws Error listing what tsrun left behind */
  async dispose(options: { leakCheck?: boolean; timeoutMs?: number } = {}): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await this.#stopPrograms()
    const { leakCheck = true, ...patience } = options
    const leaks = leakCheck ? await this.leakCheck(patience) : []
    await this.#destroy()
    if (leaks.length > 0) throw new Error(`left behind:\n  ${leaks.join('\n  ')}`)
  }

  /** Ends what the harness itself started. */
  async #stopPrograms(): Promise<void> {
    for (const terminal of this.#terminals.splice(0)) await terminal.close()
    for (const namespace of this.#namespaces()) await namespace.stopBackground()
  }

  async #removeAll(): Promise<string[]> {
    const containers = words((await this.tsrun(['ps', '-aq', '--no-trunc'])).stdout)
    return [
      ...(containers.length > 0 ? await this.#expectSuccess(['rm', '-f', ...containers]) : []),
      ...(await this.#removeNetworks()),
    ]
  }

  async #removeNetworks(): Promise<string[]> {
    const networks = words((await this.tsrun(['network', 'ls', '-q', '--no-trunc'])).stdout)
    const problems: string[] = []
    for (const network of networks) {
      const { code, stderr } = await this.tsrun(['network', 'rm', network])
      // `host` and `none` are always there.
      if (code !== 0 && !/predefined|cannot be removed|built[- ]in/i.test(stderr)) {
        problems.push(`network rm ${network}: exit ${code}: ${stderr.trim()}`)
      }
    }
    return problems
  }

  async #expectSuccess(args: readonly string[]): Promise<string[]> {
    const { code, stderr } = await this.tsrun(args, { timeoutMs: 60_000 })
    return code === 0 ? [] : [`tsrun ${args.join(' ')}: exit ${code}: ${stderr.trim()}`]
  }

  /** Kills and unmounts what is still there, then removes the namespaces and the folder. */
  async #destroy(): Promise<void> {
    for (const { pid } of findProcesses(this.#place())) killQuietly(pid)
    await eventually('the processes of the world are gone', () => findProcesses(this.#place()).length === 0).catch(
      () => {},
    )
    for (const target of mountPoints(this.#place()).reverse()) await execute(['umount', '-l', target])
    const groups = [...cgroups(this.#place()).reverse(), ...this.engineCgroups()]
    if (groups.length > 0) await execute(['rmdir', ...groups])
    for (const namespace of this.#namespaces()) await namespace.remove()
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #wire(): Promise<void> {
    const lan = this.#switch
    const [host, outside, neighbour] = [this.host, this.outside, this.neighbour].map(({ path }) => path)
    await lan.sh(`
      echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
      ip link add lan type bridge
      ip link add host master lan type veth peer name eth0 netns ${host}
      ip link add outside master lan type veth peer name eth0 netns ${outside}
      ip link add neighbour master lan type veth peer name eth0 netns ${neighbour}
      for link in lan host outside neighbour; do ip link set "$link" up; done`)
    // No duplicate address detection and no link-local address: they would come at a moment of their own.
    const join4and6 = (address: string, address6: string) => `
      echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
      ip link set dev eth0 addrgenmode none
      ip address add ${address}/24 dev eth0
      ip -6 address add ${address6}/64 dev eth0 nodad
      ip link set eth0 up`
    const defaultRoutes = `
      ip route add default via ${addresses.router}
      ip -6 route add default via ${addresses.router6}`
    await Promise.all([
      this.host.sh(join4and6(addresses.host, addresses.host6) + defaultRoutes),
      this.neighbour.sh(join4and6(addresses.neighbour, addresses.neighbour6) + defaultRoutes),
      this.outside.sh(`${join4and6(addresses.router, addresses.router6)}
        ip address add ${addresses.server}/32 dev lo
        ip address add ${addresses.client}/32 dev lo
        ip -6 address add ${addresses.server6}/128 dev lo nodad`),
    ])
    // Links come up a moment after they were told to, and routes with them.
    await eventually('the links are up', async () => {
      const shown = await this.host.sh('ip link show eth0; ip -6 route show table local')
      return !shown.includes('NO-CARRIER') && shown.includes(`local ${addresses.host6} `)
    })
  }

  #namespaces(): Namespace[] {
    return [this.host, this.outside, this.neighbour, this.#switch]
  }

  #place(): Place {
    return {
      host: this.host,
      dir: this.dir,
      watched: [this.root, this.state, join(this.dir, 'tmp'), join(this.dir, 'home'), join(this.dir, 'work')],
      worldId: this.id,
      containerIds: this.#containerIds,
      ownMounts: new Set(this.#namespaces().map(({ path }) => path)),
    }
  }

  #defaults(): CommandOptions {
    return { env: this.env, cwd: join(this.dir, 'work') }
  }

  #noteContainers(stdout: string): void {
    for (const [id] of stdout.matchAll(/^[0-9a-f]{64}$/gm)) this.#containerIds.add(id)
  }
}

export interface ChangeOptions {
  /** Changes that are meant. */
  readonly ignore?: readonly RegExp[]
  readonly timeoutMs?: number
}

/** What stays of the first command in an empty folder: top folders, locks, and what is known of the host. */
const skeleton = [
  /^file appeared: \/(root|state)\/([a-z-]+\/)?$/,
  /^file appeared: \/(root|state)\/([a-z-]+\/)?lock[\w.-]*$/,
  /^file appeared: \/state\/(locks\/[\w.-]+|boot-id|host\.json|events\.jsonl(\.1)?)$/,
]

/** What may remain when all containers and networks are gone: images and caches too, and what is the host's for ever. */
const remaining = [
  /^file appeared: \/root\/(images|layers|staging|seccomp|build)\b/,
  /^file appeared: \/root\/ipam\/local-range6$/,
]

/** A world that lasts for one test: `test('...', inWorld(async world => { ... }))`. */
export function inWorld(test: (world: World) => Promise<void>, options: WorldOptions = {}): () => Promise<void> {
  return async () => {
    const world = await World.create(options)
    let passed = false
    try {
      await test(world)
      passed = true
    } finally {
      // The test's own failure is the one to show: what it could not clean up follows from it.
      await world.dispose({ leakCheck: passed })
    }
  }
}

/** The page that serve(name) answers with: the server's name and the client address that it sees. */
export function pageOf(name: string, clientAddress: string): string {
  return `${name} sees ${clientAddress}\n`
}

/** A shell script for busybox that serves on port 80 a page naming the server and the client, and logs each request. */
export function pageServer(name: string, port = 80): string {
  return `mkdir -p /tmp/www/cgi-bin
    printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n"; echo "${name} sees $REMOTE_ADDR" | sed "s/\\[::ffff://; s/\\]//"\\n' > /tmp/www/cgi-bin/index.cgi
    chmod +x /tmp/www/cgi-bin/index.cgi
    exec httpd -f -vv -p ${port} -h /tmp/www`
}

/** Whether something listens on the TCP port in the network namespace of `pid`. */
function isListening(pid: number, port: number): boolean {
  const socket = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F]+:0000 0A `)
  return ['tcp', 'tcp6'].some(table => socket.test(readFileSync(`/proc/${pid}/net/${table}`, 'utf8')))
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(word => word !== '')
}

function listOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
