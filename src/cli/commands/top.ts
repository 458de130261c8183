import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import { print } from '../print.ts'
import { formatTable } from '../table.ts'

export function register(program: Command): Command {
  return program
    .command('top')
    .description('List the processes of a container. Options behind its name are those of ps.')
    .argument('<container>')
    .argument('[ps-options...]')
    .passThroughOptions()
    .addHelpText('after', '\nExamples:\n  tsrun top web\n  tsrun top web -o pid,rss,comm')
    .action(async (name: string, psOptions: string[]) => {
      await using engine = await Engine.open()
      const { titles, processes } = await engine.containers.top(name, psOptions)
      const rows = processes.map(row => row.map(printable))
      print(formatTable(titles, rows, 20))
    })
}
