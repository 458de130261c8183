// The fault matrix: at each step of each command the step fails, the client is killed, or the container's monitor is. Afterwards
// the next command must work, and nothing may be left of the command once its own objects are removed.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually, execute, type Result, sleep } from '../helpers/command.ts'
import type { Snapshot } from '../helpers/snapshot.ts'
import { dist, World } from '../helpers/world.ts'
import { type FaultCase, faultCases } from './fault-cases.ts'
import { prepareWorld } from './prepare-world.ts'

/** What happens at the point: the step fails, or SIGKILL ends the client or the monitor there. */
export type FaultKind = 'fail' | 'kill-client' | 'kill-monitor'
export const faultKinds: readonly FaultKind[] = ['fail', 'kill-client', 'kill-monitor']

/** One field of the matrix. */
export interface Trial {
  readonly of: FaultCase
  /** As TSRUN_FAULT names it; `@n` behind it for the n-th time. */
  readonly point: string
  readonly kind: FaultKind
}

/** Where the next address is looked for, which advances with every try; and folders that the first image or build makes. */
const ignore = [
  /ipam\/.*(last|next)/,
  /^file appeared: \/root\/(images|build)\/\w+\/$/,
  // Grown to its size, it is kept under another name, and the next event begins a new one.
  /^file (appeared|vanished): \/state\/events\.jsonl(\.1)?$/,
  // Beside a file of the user's, where we do not sweep.
  /^file appeared: \/work\/\.(saved|exported)\.tar\.\d+\.tmp$/,
]
export const boundMs = 30_000

/** A world to try faults in, one after another. */
export class FaultWorld {
  readonly world: World
  #before: Snapshot = new Map()
  #killedMonitors = 0

  private constructor(world: World) {
    this.world = world
  }

  static async create(): Promise<FaultWorld> {
    const world = await World.create()
    const faults = new FaultWorld(world)
    try {
      await prepareWorld(world)
      // What save and export put there then appears in no trial.
      for (const name of ['saved.tar', 'exported.tar']) writeFileSync(join(world.dir, 'work', name), '')
      faults.#before = await world.settled()
    } catch (error) {
      await world.dispose({ leakCheck: false })
      throw error
    }
    return faults
  }

  /** How many monitors the trials have killed so far. */
  get killedMonitors(): number {
    return this.#killedMonitors
  }

  /** The fault points that a case passes, in order; those of tsrun-init last. */
  async points(of: FaultCase): Promise<string[]> {
    for (const line of of.prepare ?? []) await this.world.ok(words(line), { timeoutMs: boundMs })
    const env = { ...this.world.env, TSRUN_FAULT: '*' }
    const { stderr, code } = await this.world.tsrun(words(of.command), { env, timeoutMs: boundMs })
    if (code !== 0) throw new Error(`${of.title} without a fault: ${stderr}`)
    await this.clean(of)
    const times = new Map<string, number>()
    const own = [...stderr.matchAll(/^fault point: (.*)$/gm)].map(([, step = '']) => {
      const nth = (times.get(step) ?? 0) + 1
      times.set(step, nth)
      return nth === 1 ? step : `${step}@${nth}`
    })
    return of.usesInit === true ? [...own, ...(await initPoints())] : own
  }

  /** @returns what is wrong afterwards, one line each; the next trial takes no offence at it */
  run({ of, point, kind }: Trial, options: { patienceMs?: number } = {}): Promise<string[]> {
    const broken = async () => misbehaviour(kind, point, await this.#withFault(of, point, kind))
    return this.around(of, `${of.title}, ${kind} at "${point}"`, broken, options)
  }

  /**
   * Prepares a case, lets `broken` run its command, and looks whether the next one works and what is left.
   * @param options.patienceMs how long what is on its way out may take to go; default 8 s
   * @returns what is wrong, what `broken` says among it, each behind `title`
   */
  async around(
    of: FaultCase,
    title: string,
    broken: () => Promise<string | undefined>,
    options: { patienceMs?: number } = {},
  ): Promise<string[]> {
    const problems: string[] = []
    const attempt = async (what: string, task: () => Promise<string | undefined>) => {
      const problem = await task().catch((error: unknown) => (error instanceof Error ? error.message : String(error)))
      if (problem !== undefined) problems.push(`${title}: ${what}${problem}`)
    }
    for (const line of of.prepare ?? []) {
      await attempt(`${line}: `, () => this.world.ok(words(line), { timeoutMs: boundMs }).then(() => undefined))
    }
    await attempt('', broken)
    await attempt('the next command: ', async () => {
      const next = 'run --rm -net br -p 9999:80 busybox true'
      const { code, stderr } = await this.world.tsrun(words(next), { timeoutMs: boundMs })
      return code === 0 ? undefined : stderr
    })
    await attempt('to clean: ', () => this.clean(of).then(() => undefined))
    const changes = await this.world.changesSince(this.#before, { ignore, timeoutMs: options.patienceMs ?? 8_000 })
    problems.push(...changes.map(change => `${title}: ${change}`))
    if (changes.length > 0) this.#before = await this.world.settled()
    return problems
  }

  async dispose(): Promise<void> {
    await this.world.dispose({ leakCheck: false })
  }

  async #withFault(of: FaultCase, point: string, kind: FaultKind): Promise<Result> {
    const [, step = point, nth = ''] = /^(.*?)(@\d+)?$/.exec(point) ?? []
    const what = { fail: 'fail', 'kill-client': 'kill', 'kill-monitor': 'stop' }[kind]
    const env = { ...this.world.env, TSRUN_FAULT: `${step}:${what}${nth}` }
    const command = words(of.command)
    if (kind !== 'kill-monitor') return this.world.tsrun(command, { env, timeoutMs: boundMs })

    const spared = of.spared === undefined ? '' : await this.world.ok(['ps', '-q', '-f', `name=^${of.spared}$`])
    const client = this.world.start(command, { env })
    let ended = false
    const result = client.result.finally(() => {
      ended = true
    })
    await eventually('the client gets there, or ends', () => ended || this.#isAtPoint(client.pid), boundMs)
    const monitors = this.#monitors(spared)
    for (const pid of monitors) killQuietly(pid, 'SIGKILL')
    this.#killedMonitors += monitors.length
    for (const pid of this.#stopped()) killQuietly(pid, 'SIGCONT')
    killQuietly(client.pid, 'SIGCONT')
    const late = sleep(boundMs).then(() => 'late' as const)
    const outcome = await Promise.race([result, late])
    if (outcome !== 'late') return outcome
    client.kill('SIGKILL')
    throw new Error(`no end after ${boundMs} ms`)
  }

  /** Whether the client, or a tsrun-init, stands still at its fault point. */
  #isAtPoint(client: number): boolean {
    return /\) [Tt] /.test(procFile(client, 'stat')) || this.#stopped().length > 0
  }

  /** Every tsrun-init at its fault point; one that is in namespaces of its own already is known by its parent. */
  #stopped(): number[] {
    const stopped = pids().filter(pid => commandName(pid) === 'fault-stopped')
    // To look at all processes takes long, and this is asked often.
    if (stopped.length === 0) return []
    const own = new Set(this.#processes())
    const parent = (pid: number) => Number(/^PPid:\t(\d+)$/m.exec(procFile(pid, 'status'))?.[1])
    return stopped.filter(pid => own.has(pid) || own.has(parent(pid)))
  }

  /** The monitors of the world, but for one of a container: outside of the container's pid namespace, whose processes go with them. */
  #monitors(spared: string): number[] {
    return this.world
      .processes()
      .filter(({ command }) => spared === '' || !command.startsWith(`tsrun-monitor ${spared}`))
      .filter(({ pid, command }) => command.startsWith('tsrun-monitor') || commandName(pid) === 'fault-stopped')
      .map(({ pid }) => pid)
      .filter(pid => /^NSpid:\t\d+$/m.test(procFile(pid, 'status')))
  }

  #processes(): number[] {
    return this.world.processes().map(({ pid }) => pid)
  }

  /** Takes away what the case has made. */
  async clean(of: FaultCase): Promise<void> {
    for (const line of of.clean) await this.world.tsrun(words(line), { timeoutMs: boundMs })
  }
}

/** Every field of the matrix. */
export async function allTrials(world: FaultWorld, cases: readonly FaultCase[] = faultCases): Promise<Trial[]> {
  const trials: Trial[] = []
  for (const of of cases) {
    for (const point of await world.points(of)) for (const kind of faultKinds) trials.push({ of, point, kind })
  }
  return trials
}

/** What tsrun-init calls its points. */
async function initPoints(): Promise<string[]> {
  const { stdout } = await execute([`${dist}/tsrun-init`, '--fault-points'])
  return words(stdout).map(point => `init ${point}`)
}

function misbehaviour(kind: FaultKind, point: string, { code, signal, stderr }: Result): string | undefined {
  // A fault behind the end of the command, in what is cleared away then, need not fail the command.
  if (code === 0) return undefined
  if (kind === 'fail' && !point.startsWith('init ')) {
    return /injected fault/.test(stderr) ? undefined : `ended with ${code ?? signal}: ${stderr}`
  }
  if (kind === 'kill-client' && signal === 'SIGKILL') return undefined
  // The kernel ends stopped processes with SIGHUP when a process group has nobody left who could continue it.
  if (kind === 'kill-monitor' && signal === 'SIGHUP') return undefined
  // What remains are failures of others that the client must report as its own.
  return /^tsrun: .+/m.test(stderr) || code !== null ? undefined : `ended by ${signal}: ${stderr}`
}

export function words(line: string): string[] {
  return line.split(/\s+/).filter(word => word !== '')
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
}

function commandName(pid: number): string {
  return procFile(pid, 'comm').trim()
}

function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}
