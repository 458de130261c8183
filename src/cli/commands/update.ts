import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { parseResources } from '../container-flags.ts'
import { forEach } from '../each.ts'
import { parseRestart } from '../further-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('update')
    .description('Change limits and restart policy of containers; limits of running ones change at once.')
    .argument('<container...>')
    .option('-m, --memory <bytes>', 'memory limit, e.g. 512m')
    .option('--memory-swap <bytes>', 'memory plus swap; -1 is unlimited')
    .option('--memory-reservation <bytes>', 'soft memory limit')
    .option('--cpus <number>', 'processors, e.g. 1.5')
    .option('-c, --cpu-shares <number>', 'relative weight; 1024 is normal')
    .option('--cpu-quota <us>', 'processor time in each period')
    .option('--cpu-period <us>', 'length of the period')
    .option('--cpuset-cpus <list>', 'processors to run on, e.g. 0-3,7')
    .option('--cpuset-mems <list>', 'memory nodes to use')
    .option('--pids-limit <number>', 'most processes; -1 is unlimited')
    .option('--blkio-weight <number>', 'relative I/O weight, 10 to 1000')
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
