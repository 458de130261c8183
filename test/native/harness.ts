/** Drives the real tsrun-init: builds it, gives it a busybox rootfs and a control socket, and speaks its protocol. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'
import {
  encodeBootstrap,
  encodeFrame,
  FRAME,
  FrameDecoder,
  GO,
  type InitConfig,
  type InitMessage,
  InitMessageDecoder,
  type InitMonitor,
  type InitProcess,
  parseExit,
} from '../../src/kernel/init-protocol.ts'

export const repository = fileURLToPath(new URL('../..', import.meta.url))
export const ALL_CAPABILITIES = (1n << 41n) - 1n

const ID = 'feedfacecafe0123'

const MS_NOSUID = 2
const MS_NODEV = 4
const MS_NOEXEC = 8

/** One temporary directory with the binary and a rootfs; `dispose` removes it. */
export class Workbench {
  readonly dir = mkdtempSync(join(tmpdir(), 'tsrun-native-'))
  readonly init = join(this.dir, 'bin', 'tsrun-init')
  readonly lower = join(this.dir, 'lower')
  readonly #sessions: Session[] = []
  // Leaks cannot be looked for in a process that nobody may trace.
  readonly #sanitizers = {
    ASAN_OPTIONS: `detect_leaks=0:log_path=${this.dir}/sanitizer`,
    UBSAN_OPTIONS: `print_stacktrace=1:log_path=${this.dir}/sanitizer`,
  }
  #count = 0

  /** @param options.compiler instead of musl-gcc */
  constructor(options: { readonly sanitize?: boolean; readonly compiler?: string } = {}) {
    const flags = options.sanitize === true ? ['--sanitize'] : []
    execFileSync(join(repository, 'scripts/build-native'), [...flags, join(this.dir, 'bin')], {
      stdio: 'inherit',
      ...(options.compiler === undefined ? {} : { env: { ...process.env, CC: options.compiler } }),
    })
    for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'data'])
      mkdirSync(join(this.lower, name), { recursive: true })
    chmodSync(join(this.lower, 'tmp'), 0o1777)
    copyFileSync('/bin/busybox', join(this.lower, 'bin/busybox'))
    for (const name of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
      if (name !== 'busybox') symlinkSync('busybox', join(this.lower, 'bin', name))
  }

  /** What the host has mounted of ours, or where a test mounts: other tests mount things at the same time. */
  hostMounts(): string[] {
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter(line => line.includes(this.dir) || line.includes(' /tmp '))
  }

  /** What the sanitizers have found so far. */
  findings(): string[] {
    return readdirSync(this.dir)
      .filter(name => name.startsWith('sanitizer'))
      .map(name => readFileSync(join(this.dir, name), 'utf8'))
  }

  /** Also ends the containers that a failed test has left behind. */
  dispose(): void {
    const monitors: number[] = []
    for (const { control, messages } of this.#sessions) {
      control.destroy()
      for (const message of messages)
        if (message.kind === 'ready' && isOurs(message.pid)) {
          try {
            monitors.push(parentOf(message.pid))
            process.kill(message.pid, 'SIGKILL')
          } catch {
            // It has ended just now.
          }
        }
    }
    // They write to the directory until they have ended.
    for (let tries = 0; tries < 200 && monitors.some(isAlive); tries++) pauseMs(10)
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }

  /** A fresh directory for one container: upper, work, rootfs, exit record, log, socket. */
  box(): string {
    const dir = join(this.dir, `c${++this.#count}`)
    for (const name of ['upper', 'work', 'rootfs']) mkdirSync(join(dir, name), { recursive: true })
    return dir
  }

  config(dir: string, args: readonly string[], change: Change = {}): InitConfig {
    const { process, monitor, ...rest } = change
    return {
      mode: 'run',
      id: ID,
      process: {
        args,
        env: ['PATH=/bin', 'HOME=/root'],
        cwd: '/',
        uid: 0,
        gid: 0,
        additionalGids: [],
        tty: false,
        stdin: false,
        stdinOnce: true,
        init: false,
        noNewPrivileges: false,
        capabilities: {
          bounding: ALL_CAPABILITIES,
          effective: ALL_CAPABILITIES,
          permitted: ALL_CAPABILITIES,
          inheritable: 0n,
          ambient: 0n,
        },
        rlimits: [],
        ...process,
      },
      namespaces: { create: ['pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net'], join: [] },
      netnsFd: false,
      cgroup: { procsFiles: [] },
      uidMappings: [],
      gidMappings: [],
      hostname: 'box',
      sysctls: [],
      rootfs: {
        target: join(dir, 'rootfs'),
        readonly: false,
        propagation: 'rprivate',
        source: {
          kind: 'overlay',
          lowerDirs: [this.lower],
          upperDir: join(dir, 'upper'),
          workDir: join(dir, 'work'),
          options: '',
        },
      },
      mounts: defaultMounts,
      devices: defaultDevices,
      symlinks: defaultSymlinks,
      maskedPaths: [],
      readonlyPaths: [],
      monitor: {
        attachSocket: join(dir, 'attach.sock'),
        exitFile: join(dir, 'exit.json'),
        exitCommand: [],
        exitEnv: [],
        oomFiles: [],
        reservedPorts: [],
        ...monitor,
      },
      ...rest,
    }
  }

  /** Runs to the end as the owner and returns everything there is to know. */
  async run(args: readonly string[], change: Change & { readonly input?: Uint8Array } = {}): Promise<RunResult> {
    const { input, ...rest } = change
    const dir = this.box()
    return this.finish(dir, await this.start(this.config(dir, args, rest)), change)
  }

  /** The same, inside the running container of `pid`. */
  async exec(
    pid: number,
    args: readonly string[],
    change: Change & { readonly input?: Uint8Array } = {},
  ): Promise<RunResult> {
    const { input, ...rest } = change
    const dir = this.box()
    const pidfd = openPidfd(pid)
    const { rootfs, hostname, ...config } = this.execConfig(dir, args, rest)
    const session = await this.start(config, { fd5: pidfd })
    closeSync(pidfd)
    return this.finish(dir, session, change)
  }

  /** From READY to the end, as the owner. */
  async finish(dir: string, session: Session, change: Change & { readonly input?: Uint8Array }): Promise<RunResult> {
    const { input, ...rest } = change
    if (session.messages[0]?.kind !== 'ready') return failed(dir, await session.outcome())
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    if (input !== undefined) client.stdin(input)
    if (rest.process?.stdin === true) client.eof()
    session.go()
    const outcome = await session.outcome()
    if (outcome.kind === 'failed') {
      client.close()
      return failed(dir, outcome)
    }
    const code = await client.exit()
    client.release()
    return {
      dir,
      outcome,
      code,
      stdout: client.stdout.toString(),
      stderr: client.stderr.toString(),
      stdoutBytes: client.stdout,
    }
  }

  /** Up to READY (or FAILED, which `outcome` gives). */
  async start(config: InitConfig, options: SpawnOptions = {}): Promise<Session> {
    const session = this.spawn(options)
    session.send(encodeBootstrap(config))
    await session.first()
    return session
  }

  /** What joins the container of `pid` and runs `args` there. */
  execConfig(dir: string, args: readonly string[], change: Change = {}): InitConfig {
    return {
      ...this.config(dir, args, change),
      mode: 'exec',
      namespaces: {
        create: [],
        join:
          change.namespaces?.join ?? (['pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net'] as const).map(type => ({ type })),
      },
      mounts: [],
      devices: [],
      symlinks: [],
    }
  }

  spawn(options: SpawnOptions = {}): Session {
    const [command = '', ...args] = [...(options.wrapper ?? []), this.init]
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'ignore', options.fd5 ?? 'ignore'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SECRET_OF_THE_ENGINE: 'yes', ...this.#sanitizers },
    })
    const session = new Session(child)
    this.#sessions.push(session)
    return session
  }
}

export interface SpawnOptions {
  /** A command that executes what follows it. */
  readonly wrapper?: readonly string[]
  readonly fd5?: number
}

export type Change = Partial<Omit<InitConfig, 'process' | 'monitor'>> & {
  readonly process?: Partial<InitProcess>
  readonly monitor?: Partial<InitMonitor>
}

export interface RunResult {
  readonly dir: string
  readonly outcome: InitMessage
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly stdoutBytes: Buffer
}

function failed(dir: string, outcome: InitMessage): RunResult {
  return { dir, outcome, code: -1, stdout: '', stderr: '', stdoutBytes: Buffer.alloc(0) }
}

/** The engine's end of fd 3. */
export class Session {
  readonly child: ChildProcess
  readonly control: Duplex
  readonly messages: InitMessage[] = []
  ended = false
  #decoder = new InitMessageDecoder()
  #wake: (() => void)[] = []

  constructor(child: ChildProcess) {
    this.child = child
    const control = child.stdio[3]
    if (control === null || control === undefined || !('write' in control)) throw new Error('no control socket')
    this.control = control as Duplex
    this.control.on('data', (chunk: Buffer) => {
      this.messages.push(...this.#decoder.push(chunk))
      this.#notify()
    })
    const end = (): void => {
      this.ended = true
      this.#notify()
    }
    this.control.on('close', end)
    this.control.on('error', end)
  }

  send(bytes: Uint8Array): void {
    this.control.write(bytes)
  }

  go(): void {
    this.send(GO)
  }

  /** Dies as an engine does: the socket closes, nothing is said. */
  vanish(): void {
    this.control.destroy()
  }

  get pid(): number {
    const ready = this.messages.find(message => message.kind === 'ready')
    if (ready?.kind !== 'ready') throw new Error(`not ready: ${JSON.stringify(this.messages)}`)
    return ready.pid
  }

  async first(): Promise<InitMessage | undefined> {
    await this.#until(() => this.messages.length > 0 || this.ended)
    return this.messages[0]
  }

  /** STARTED or FAILED. */
  async outcome(): Promise<InitMessage> {
    await this.#until(() => this.messages.some(m => m.kind !== 'ready') || this.ended)
    const message = this.messages.find(m => m.kind !== 'ready')
    if (message === undefined) throw new Error('tsrun-init is gone without a word')
    return message
  }

  async closed(): Promise<void> {
    await this.#until(() => this.ended)
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>(resolve => this.#wake.push(resolve))
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** A client of the attach socket that gathers all output. */
export class Client {
  readonly socket: Socket
  #out: Buffer[] = []
  #err: Buffer[] = []
  #code: number | undefined
  #ended = false
  #decoder = new FrameDecoder()
  #wake: (() => void)[] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => this.#take(chunk))
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      this.#ended = true
      this.#notify()
    })
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#out)
  }

  get stderr(): Buffer {
    return Buffer.concat(this.#err)
  }

  send(type: number, payload?: Uint8Array): void {
    this.socket.write(encodeFrame(type, payload))
  }

  own(): void {
    this.send(FRAME.OWNER)
  }

  stdin(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 65536) this.send(FRAME.STDIN, bytes.subarray(at, at + 65536))
  }

  eof(): void {
    this.send(FRAME.STDIN_EOF)
  }

  release(): void {
    this.send(FRAME.RELEASED)
    this.socket.end()
  }

  close(): void {
    this.socket.destroy()
  }

  async exit(): Promise<number> {
    await this.until(() => this.#code !== undefined || this.#ended)
    if (this.#code === undefined) throw new Error('the monitor is gone without an exit code')
    return this.#code
  }

  async ended(): Promise<void> {
    await this.until(() => this.#ended)
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>(resolve => this.#wake.push(resolve))
  }

  #take(chunk: Buffer): void {
    for (const { type, payload } of this.#decoder.push(chunk)) {
      if (type === FRAME.STDOUT) this.#out.push(payload)
      else if (type === FRAME.STDERR) this.#err.push(payload)
      else if (type === FRAME.EXIT) this.#code = parseExit(payload)
    }
    this.#notify()
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

export async function attach(path: string): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    socket.once('connect', () => resolve(new Client(socket)))
    socket.once('error', reject)
  })
}

/** Process numbers are used again: ours have one of our monitors as parent. */
function pauseMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function isOurs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${parentOf(pid)}/cmdline`, 'latin1').startsWith(`tsrun-monitor ${ID.slice(0, 12)}`)
  } catch {
    return false
  }
}

/** Waits until `condition` holds; fails after `timeoutMs`. */
export async function eventually(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not true within ${timeoutMs} ms: ${condition.toString()}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

export function isAlive(pid: number): boolean {
  const stat = statOf(pid)
  return stat !== undefined && !/^[ZX]/.test(stat)
}

/** From the state on, or undefined when there is no such process. */
function statOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)
  } catch {
    return undefined
  }
}

/** The monitor is the parent of the container's first process. */
export function parentOf(pid: number): number {
  return Number(statOf(pid)?.split(' ')[1])
}

/** A pidfd, for exec mode. */
export function openPidfd(pid: number): number {
  const fd = pidfdOpen(434, pid, 0)
  if (fd < 0) throw new Error(`pidfd_open ${pid}`)
  return fd
}

const pidfdOpen = koffi.load('libc.so.6').func('long syscall(long number, int pid, int flags)')

export const defaultMounts: InitConfig['mounts'] = [
  { destination: '/proc', type: 'proc', source: 'proc', flags: MS_NOSUID | MS_NODEV | MS_NOEXEC, data: '' },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', flags: MS_NOSUID, data: 'mode=755,size=65536k' },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    flags: MS_NOSUID | MS_NOEXEC,
    data: 'newinstance,ptmxmode=0666,mode=0620,gid=5',
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
    data: 'mode=1777,size=65536k',
  },
  {
    destination: '/dev/mqueue',
    type: 'mqueue',
    source: 'mqueue',
    flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
    data: '',
    optional: true,
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', flags: MS_NOSUID | MS_NODEV | MS_NOEXEC | 1, data: '' },
]

export const defaultDevices: InitConfig['devices'] = (
  [
    ['/dev/null', 1, 3],
    ['/dev/zero', 1, 5],
    ['/dev/full', 1, 7],
    ['/dev/random', 1, 8],
    ['/dev/urandom', 1, 9],
    ['/dev/tty', 5, 0],
  ] as const
).map(([path, major, minor]) => ({ path, type: 'c', major, minor, mode: 0o666, uid: 0, gid: 0 }))

export const defaultSymlinks: InitConfig['symlinks'] = [
  { path: '/dev/fd', target: '/proc/self/fd' },
  { path: '/dev/stdin', target: '/proc/self/fd/0' },
  { path: '/dev/stdout', target: '/proc/self/fd/1' },
  { path: '/dev/stderr', target: '/proc/self/fd/2' },
  { path: '/dev/ptmx', target: 'pts/ptmx' },
]
