// Called by the monitor of a further process in a container when nobody watched it end; not for people.
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  return program
    .command('exec-ended', { hidden: true })
    .argument('<id>')
    .argument('<exec-id>')
    .action(async (id: string, execId: string) => {
      await using engine = await Engine.open()
      await engine.callBacks.execEnded(id, execId)
    })
}
