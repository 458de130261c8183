// A command that stands still at a step of its own (TSRUN_FAULT, src/lib/fault.ts) until others have done something.

import { readFileSync } from 'node:fs'
import { type CommandOptions, eventually, type Result } from './command.ts'
import type { World } from './world.ts'

export interface HeldOptions extends CommandOptions {
  /** What is to happen to it behind that, e.g. `ports:kill`. */
  readonly further?: string
}

/**
 * Starts a command that stands still behind `step`.
 * @returns what lets it go on, to its end; its code is 137 where it was killed
 */
export async function held(
  world: World,
  command: string | readonly string[],
  step: string,
  { further, ...options }: HeldOptions = {},
): Promise<() => Promise<Result & { readonly code: number }>> {
  const args = typeof command === 'string' ? command.split(' ') : command
  const env = { ...(options.env ?? world.env), TSRUN_FAULT: [`${step}:stop`, further].filter(Boolean).join(';') }
  const client = world.start(args, { ...options, env })
  let ended = false
  const result = client.result.finally(() => {
    ended = true
  })
  const isHeld = () => / [Tt] /.test(readFileSync(`/proc/${client.pid}/stat`, 'utf8').replace(/^.*\)/, ''))
  await eventually(`\`${args.join(' ')}\` stands behind "${step}"`, () => ended || isHeld(), 20_000)
  if (ended) throw new Error(`\`${args.join(' ')}\` did not get to "${step}": ${JSON.stringify(await result)}`)
  return async () => {
    client.kill('SIGCONT')
    const { code, signal, ...output } = await result
    return { ...output, signal, code: code ?? (signal === 'SIGKILL' ? 137 : -1) }
  }
}
