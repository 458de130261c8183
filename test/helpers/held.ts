// Commands that stand still - at a step of their own (TSRUN_FAULT, src/lib/fault.ts) or before a lock - until others have done something.

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { type CommandOptions, eventually, type Result, type Running, sleep } from './command.ts'

export interface HeldOptions extends CommandOptions {
  /** What is to happen to it behind that, e.g. `ports:kill`. */
  readonly further?: string
}

/** A World, or a Home. */
interface Place {
  readonly env: NodeJS.ProcessEnv
  start(args: readonly string[], options: CommandOptions): Running
}

/** A command that stands still: a call lets it go on, to its end. Its code is 137 where it was killed. */
export interface Held {
  (): Promise<Result & { readonly code: number }>
  readonly pid: number
}

/** Starts a command that stands still behind `step`. */
export function held(
  place: Place,
  command: string | readonly string[],
  step: string,
  { further, ...options }: HeldOptions = {},
): Promise<Held> {
  const faults = [`${step}:stop`, further].filter(Boolean).join(';')
  return standing(place, { command, options, faults, where: `behind "${step}"`, stands: isStopped })
}

/** Starts a command that stands still while it waits for the lock `path`, which somebody else holds. */
export function heldBefore(
  place: Place,
  command: string,
  path: string,
  { further = '', ...options }: HeldOptions = {},
): Promise<Held> {
  const stands = (pid: number) => stopsBefore(pid, path)
  return standing(place, { command, options, faults: further, where: `before the lock "${path}"`, stands })
}

/** Has a process stand still that waits for the lock `path`. @returns false as long as it does not */
export function stopsBefore(pid: number, path: string): boolean {
  if (!hasOpen(pid, path)) return false
  process.kill(pid, 'SIGSTOP')
  return true
}

interface Standing {
  readonly command: string | readonly string[]
  readonly options: CommandOptions
  readonly faults: string
  /** For messages. */
  readonly where: string
  readonly stands: (pid: number) => boolean
}

async function standing(place: Place, { command, options, faults, where, stands }: Standing): Promise<Held> {
  const args = typeof command === 'string' ? command.split(' ') : command
  const client = place.start(args, { ...options, env: { ...(options.env ?? place.env), TSRUN_FAULT: faults } })
  let ended = false
  const result = client.result.finally(() => {
    ended = true
  })
  await eventually(`\`${args.join(' ')}\` stands ${where}`, () => ended || stands(client.pid), 20_000)
  if (ended) throw new Error(`\`${args.join(' ')}\` did not get to stand ${where}: ${JSON.stringify(await result)}`)
  const goOn = async () => {
    client.kill('SIGCONT')
    const { code, signal, ...output } = await result
    return { ...output, signal, code: code ?? (signal === 'SIGKILL' ? 137 : -1) }
  }
  return Object.assign(goOn, { pid: client.pid })
}

/** The process that started the container's first one. */
export function monitorOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Whether a process is gone, or only its parent has not looked yet. */
export function isDead(pid: number): boolean {
  return !existsSync(`/proc/${pid}`) || / Z /.test(stateOf(pid))
}

export function isStopped(pid: number): boolean {
  return / [Tt] /.test(stateOf(pid))
}

/** From the state on: what is before it may hold anything. */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, '')
}

function hasOpen(pid: number, path: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === path
    } catch {
      // Closed meanwhile.
      return false
    }
  })
}

/** Gives a command that should wait for another the time to show that it does not. */
export async function orWaits(command: Promise<unknown>): Promise<void> {
  await Promise.race([command, sleep(700)])
}
