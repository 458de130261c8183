import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'
import { addStopFlags, type StopFlags, toStopOptions } from '../stop-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const command = program
    .command('stop')
    .description('Stop containers: their stop signal first, SIGKILL after the timeout.')
    .argument('<container...>')
  return addStopFlags(command)
    .addHelpText('after', '\nExample:\n  tsrun stop -t 3 web')
    .action(async (names: string[], flags: StopFlags) => {
      const options = toStopOptions(flags)
      await using engine = await Engine.open()
      exit(
        await forEach(
          names,
          async name => {
            await engine.containers.stop(name, options)
            return name
          },
          { atOnce: 50 },
        ),
      )
    })
}
