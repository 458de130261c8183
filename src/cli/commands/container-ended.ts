// Called by a container's monitor when nobody watched it end; not for people.
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  return program
    .command('container-ended', { hidden: true })
    .argument('<id>')
    .action(async (id: string) => {
      await using engine = await Engine.open()
      await engine.callBacks.ended(id)
      // Nobody waits here: a good moment to make sure that unpacked layers are on the disk.
      await engine.images.settle(60_000)
    })
}
