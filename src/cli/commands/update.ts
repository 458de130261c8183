import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { forEach } from '../each.ts'
import { parseRestart } from '../further-flags.ts'
import { addResourceFlags, parseResources } from '../resource-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const command = program
    .command('update')
    .description('Change limits and restart policy of containers; limits of running ones change at once.')
    .argument('<container...>')
  return addResourceFlags(command)
    .option('--restart <policy>', 'when it is started again: no, on-failure[:N], always, unless-stopped')
    .addHelpText('after', '\nExample:\n  tsrun update --memory 1g --restart always web')
    .action(async (names: string[], flags: Record<string, unknown>) => {
      const resources = parseResources(flags)
      const restart = typeof flags.restart === 'string' ? parseRestart(flags.restart) : undefined
      if (restart === undefined && Object.keys(resources).length === 0)
        throw new TsrunError('invalid', 'nothing-to-update', 'cannot update: no flag says what to change', {
          hint: 'e.g. tsrun update --memory 1g web',
        })
      await using engine = await Engine.open()
      const update = { resources, ...(restart === undefined ? {} : { restart }) }
      exit(
        await forEach(names, async name => {
          await engine.containers.update(name, update)
          return name
        }),
      )
    })
}
