// Called by the keeper of a lease, when that has changed; not for people.
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  return program
    .command('lease-changed', { hidden: true })
    .argument('<endpoint>')
    .action(async (endpointId: string) => {
      await using engine = await Engine.open()
      await engine.callBacks.leaseChanged(endpointId)
    })
}
