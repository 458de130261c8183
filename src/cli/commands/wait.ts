import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('wait')
    .description('Wait until containers have ended, and print their exit codes.')
    .argument('<container...>')
    .addHelpText('after', '\nExample:\n  tsrun wait job')
    .action(async (names: string[]) => {
      await using engine = await Engine.open()
      exit(await forEach(names, async name => String(await engine.containers.wait(name))))
    })
}
