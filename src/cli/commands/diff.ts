import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  return program
    .command('diff')
    .description('List what a container has changed of its image: A added, C changed, D deleted.')
    .argument('<container>')
    .addHelpText('after', '\nExample:\n  tsrun diff web')
    .action(async (name: string) => {
      await using engine = await Engine.open()
      const changes = await engine.files.diff(name)
      print(changes.map(({ kind, path }) => `${kind} ${printable(path)}\n`).join(''))
    })
}
