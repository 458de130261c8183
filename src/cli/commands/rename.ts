import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  return program
    .command('rename')
    .description('Give a container another name.')
    .argument('<container>')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  tsrun rename web web-old')
    .action(async (container: string, name: string) => {
      await using engine = await Engine.open()
      await engine.containers.rename(container, name)
    })
}
