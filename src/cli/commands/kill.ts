import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('kill')
    .description('Send a signal to the first process of containers.')
    .argument('<container...>')
    .option('-s, --signal <signal>', 'name or number; default KILL')
    .addHelpText('after', '\nExample:\n  tsrun kill -s HUP web')
    .action(async (names: string[], flags: { signal?: string }) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.kill(name, flags.signal ?? 'KILL')
          return name
        }),
      )
    })
}
