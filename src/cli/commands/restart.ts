import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('restart')
    .description('Stop and start containers.')
    .argument('<container...>')
    .option('-t, --time <seconds>', 'how long to wait before killing')
    .addHelpText('after', '\nExample:\n  tsrun restart web')
    .action(async (names: string[], flags: { time?: string }) => {
      const timeout =
        flags.time === undefined ? undefined : parseWholeNumber('--time', flags.time, { min: -1, max: 1e9 })
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.stop(name, timeout)
          await engine.containers.start(name)
          return name
        }),
      )
    })
}
