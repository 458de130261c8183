import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('stop')
    .description('Stop containers: their stop signal first, SIGKILL after the timeout.')
    .argument('<container...>')
    .option('-t, --time <seconds>', 'how long to wait before killing; -1 waits for ever')
    .option('--timeout <seconds>', 'the same')
    .addHelpText('after', '\nExample:\n  tsrun stop -t 3 web')
    .action(async (names: string[], flags: { time?: string; timeout?: string }) => {
      const text = flags.time ?? flags.timeout
      const timeout = text === undefined ? undefined : parseWholeNumber('--time', text, { min: -1, max: 1e9 })
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          await engine.containers.stop(name, timeout)
          return name
        }),
      )
    })
}
