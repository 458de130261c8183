// System calls that fail: with strace's injection, the nth call of a kind returns an error, or SIGKILL ends the client where it enters
// it. Nothing of tsrun takes part in that: what the fault points do not name is reached as well. Calls count from the first one that
// names the state folder: before it, the JavaScript runtime loads, and its own abort at ENOMEM is not ours to mend.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { start, succeed } from '../helpers/command.ts'
import { dist } from '../helpers/world.ts'
import { type FaultCase, faultCases } from './fault-cases.ts'
import { boundMs, type FaultWorld, words } from './fault-matrix.ts'
import { unforeseen } from './storm.ts'

/** How the calls of the client's main thread fail; KILL is no error, but its end there. */
const clientErrors: Readonly<Record<string, readonly string[]>> = {
  openat: ['EMFILE', 'EIO'],
  read: ['EIO'],
  write: ['ENOSPC', 'EIO', 'KILL'],
  ftruncate: ['ENOSPC'],
  fsync: ['EIO'],
  rename: ['ENOSPC', 'EIO', 'KILL'],
  mkdir: ['ENOSPC', 'KILL'],
  symlink: ['ENOSPC', 'KILL'],
  link: ['EIO', 'KILL'],
  unlink: ['EIO', 'KILL'],
  unlinkat: ['EIO', 'KILL'],
  rmdir: ['EIO', 'KILL'],
  flock: ['ENOLCK'],
  socket: ['EMFILE', 'ENOMEM'],
  socketpair: ['EMFILE'],
  bind: ['ENOMEM', 'KILL'],
  connect: ['ENOMEM'],
  sendto: ['ENOBUFS', 'EIO', 'KILL'],
  recvfrom: ['ENOMEM'],
  sendmsg: ['ENOBUFS', 'KILL'],
  clone3: ['EAGAIN', 'ENOMEM', 'KILL'],
  unshare: ['ENOSPC', 'KILL'],
  setns: ['ENOMEM', 'KILL'],
  pidfd_open: ['EMFILE'],
  mount_setattr: ['ENOMEM'],
  open_tree: ['EMFILE'],
}

/** The same for what only tsrun-init calls, which makes the container and watches over it. */
const initErrors: Readonly<Record<string, readonly string[]>> = {
  clone: ['EAGAIN', 'ENOMEM'],
  mount: ['ENOMEM', 'EIO'],
  move_mount: ['ENOMEM'],
  pivot_root: ['EIO'],
  mknodat: ['ENOSPC'],
  dup3: ['EMFILE'],
  pipe2: ['EMFILE'],
  epoll_create1: ['EMFILE'],
  sethostname: ['EIO'],
  execve: ['ENOMEM', 'EIO'],
}

const published: FaultCase = {
  title: 'run --rm -p',
  command: 'run --rm --name victim -net br -p 8080:80 -v data:/data busybox true',
  clean: ['rm -f -v victim', 'volume rm -f data'],
}

/** The commands that are broken so. */
export const errnoCases: readonly FaultCase[] = [
  published,
  ...faultCases.filter(({ title }) => ['create', 'rm', 'network create', 'load', 'rename'].includes(title)),
]

/** One call that fails. */
export interface ErrnoTrial {
  readonly of: FaultCase
  readonly call: string
  readonly error: string
  /** Which of the process's calls of that kind. */
  readonly nth: number
  /** Whether the processes that the client starts are reached as well. */
  readonly isDeep: boolean
}

/** Every call that the command makes, with every error that it can have. */
export async function errnoTrials(faults: FaultWorld, of: FaultCase): Promise<ErrnoTrial[]> {
  const client = await countCalls(faults, of, Object.keys(clientErrors), false)
  const trials = trialsOf(of, clientErrors, client, false)
  if (of !== published) return trials
  const init = await countCalls(faults, of, Object.keys(initErrors), true)
  return [...trials, ...trialsOf(of, initErrors, init, true)]
}

/** @returns what is wrong afterwards, one line each, and whether the command came as far as that call */
export async function runErrnoTrial(
  faults: FaultWorld,
  { of, call, error, nth, isDeep }: ErrnoTrial,
): Promise<{ problems: string[]; wasReached: boolean }> {
  const log = logOf(faults)
  const what = error === 'KILL' ? 'signal=KILL' : `error=${error}`
  let wasReached = false
  const problems = await faults.around(of, `${of.title}, ${error} at ${call} ${nth}`, async () => {
    const traced = strace(faults, of, [`--inject=${call}:${what}:when=${nth}`, `--trace=${call}`], isDeep)
    const running = start(traced.command, { env: faults.world.env, cwd: traced.cwd })
    running.endInput()
    let isLate = false
    const bound = setTimeout(() => {
      isLate = true
      running.kill('SIGKILL')
      // Without its tracer it goes on, and holds the pipes.
      for (const { pid, command } of faults.world.processes())
        if (command.startsWith(join(dist, 'tsrun '))) process.kill(pid, 'SIGKILL')
    }, boundMs)
    const { code, signal, stderr } = await running.result.finally(() => clearTimeout(bound))
    if (isLate) return `no end after ${boundMs} ms: ${stderr}`
    const lines = readLog(log)
    wasReached = lines.some(line => line.includes('(INJECTED)') || line.includes('killed by SIGKILL'))
    // One that cannot come back from another network namespace says so, and kills itself.
    if (signal === 'SIGKILL' && (error === 'KILL' ? wasReached : /^tsrun: .+ giving up/m.test(stderr))) return undefined
    // The runtime aborts where it gets no thread: what is left of it must go all the same.
    if (signal === 'SIGABRT' && lines.some(line => line.includes('CLONE_THREAD') && line.includes('(INJECTED)')))
      return undefined
    // The same without descriptors: the words are the runtime's.
    if (code === 1 && /^error: bun ran out of file descriptors/m.test(stderr)) return undefined
    if (signal !== null) return `ended by ${signal}: ${stderr}`
    if (unforeseen.test(stderr)) return `a stack trace: ${stderr}`
    return code === 0 || /^tsrun: .+/m.test(stderr) ? undefined : `ended with ${code}, and said: ${stderr}`
  })
  return { problems, wasReached }
}

interface Calls {
  /** Before the program had loaded. */
  readonly before: number
  readonly after: number
}

async function countCalls(
  faults: FaultWorld,
  of: FaultCase,
  calls: readonly string[],
  isDeep: boolean,
): Promise<ReadonlyMap<string, Calls>> {
  for (const line of of.prepare ?? []) await faults.world.ok(words(line))
  const traced = strace(faults, of, [`--trace=${calls.map(call => `?${call}`).join(',')}`], isDeep)
  await succeed(traced.command, { env: faults.world.env, cwd: traced.cwd })
  const lines = readLog(logOf(faults))
  await faults.clean(of)
  const loaded = isDeep ? 0 : lines.findIndex(line => line.includes(faults.world.state))
  const nameOf = (line: string) => /^(?:\d+ +)?([a-z0-9_]+)\(/.exec(line)?.[1]
  return new Map(
    calls.map(call => [
      call,
      {
        before: lines.slice(0, loaded).filter(line => nameOf(line) === call).length,
        // Counted for each process by itself: of several, the busiest makes no more than all.
        after: lines.slice(loaded).filter(line => nameOf(line) === call).length,
      },
    ]),
  )
}

function trialsOf(
  of: FaultCase,
  errors: Readonly<Record<string, readonly string[]>>,
  counted: ReadonlyMap<string, Calls>,
  isDeep: boolean,
): ErrnoTrial[] {
  return Object.entries(errors).flatMap(([call, list]) => {
    const { before, after } = counted.get(call) ?? { before: 0, after: 0 }
    return Array.from({ length: after }, (_, index) => before + index + 1).flatMap(nth =>
      list.map(error => ({ of, call, error, nth, isDeep })),
    )
  })
}

/** The command under strace, whose own log goes to a file. */
function strace(faults: FaultWorld, of: FaultCase, options: readonly string[], isDeep: boolean) {
  rmSync(logOf(faults), { force: true })
  return {
    command: faults.world.host.command('strace', [
      ...(isDeep ? ['-f'] : []),
      ...['-qq', '-s', '256', '-o', logOf(faults), ...options],
      join(dist, 'tsrun'),
      ...words(of.command),
    ]),
    cwd: join(faults.world.dir, 'work'),
  }
}

function logOf(faults: FaultWorld): string {
  return join(faults.world.dir, 'strace.log')
}

function readLog(log: string): string[] {
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n') : []
}
