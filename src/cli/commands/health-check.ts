// Called by the loop that start makes for a container with a healthcheck; not for people.
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { print } from '../print.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('health-check', { hidden: true })
    .argument('<id>')
    .action(async (id: string) => {
      await using engine = await Engine.open()
      const seconds = await engine.callBacks.checkHealth(id)
      if (seconds === undefined) exit(1)
      else print(`${seconds}\n`)
    })
}
