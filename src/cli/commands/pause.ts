import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('pause')
    .description('Freeze all processes of containers where they are.')
    .argument('<container...>')
    .addHelpText('after', '\nExample:\n  tsrun pause web')
    .action(async (names: string[]) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.pause(name)
          return name
        }),
      )
    })
}
