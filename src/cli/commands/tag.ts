import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  return program
    .command('tag')
    .description('Give an image a further name.')
    .argument('<image>')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  tsrun tag busybox registry.local/tools/busybox:1')
    .action(async (image: string, name: string) => {
      await using engine = await Engine.open()
      await engine.images.tag(image, name)
    })
}
