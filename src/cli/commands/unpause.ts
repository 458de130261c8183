import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('unpause')
    .description('Let frozen containers go on.')
    .argument('<container...>')
    .addHelpText('after', '\nExample:\n  tsrun unpause web')
    .action(async (names: string[]) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.unpause(name)
          return name
        }),
      )
    })
}
