import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'
import { addStopFlags, type StopFlags, toStopOptions } from '../stop-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const command = program.command('restart').description('Stop and start containers.').argument('<container...>')
  return addStopFlags(command)
    .addHelpText('after', '\nExample:\n  tsrun restart -t 3 web')
    .action(async (names: string[], flags: StopFlags) => {
      const options = toStopOptions(flags)
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.restart(name, options)
          return name
        }),
      )
    })
}
