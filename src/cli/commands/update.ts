import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import type { PortRequest } from '../../model/port-request.ts'
import { collect } from '../collect.ts'
import { forEach } from '../each.ts'
import { parseRestart } from '../further-flags.ts'
import { parsePublish } from '../parse-ports.ts'
import { addResourceFlags, parseResources } from '../resource-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const command = program
    .command('update')
    .description('Change limits, published ports and restart policy of containers, at once where they run.')
    .argument('<container...>')
  return addResourceFlags(command)
    .option('--restart <policy>', 'when it is started again: no, on-failure[:N], always, unless-stopped')
    .option('--publish-add <port>', 'publish a further port: [ADDRESS:][HOSTPORT:]PORT[/udp]', collect)
    .option('--publish-rm <port>', 'withdraw a port: [ADDRESS:][HOSTPORT:]PORT[/udp]', collect)
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun update --memory 1g --restart always web\n  tsrun update --publish-rm 80 --publish-add 8081:80 web',
    )
    .action(async (names: string[], flags: Record<string, unknown>) => {
      const resources = parseResources(flags)
      const restart = typeof flags.restart === 'string' ? parseRestart(flags.restart) : undefined
      const ports = { add: parsePorts(flags.publishAdd), remove: parsePorts(flags.publishRm) }
      const changesPorts = ports.add.length + ports.remove.length > 0
      const changesRest = restart !== undefined || Object.keys(resources).length > 0
      if (!changesPorts && !changesRest)
        throw new TsrunError('invalid', 'nothing-to-update', 'cannot update: no flag says what to change', {
          hint: 'e.g. tsrun update --memory 1g web',
        })
      await using engine = await Engine.open()
      const update = { resources, ...(restart === undefined ? {} : { restart }) }
      exit(
        await forEach(names, async name => {
          if (changesRest) await engine.containers.update(name, update)
          if (changesPorts) await engine.containers.changePorts(name, ports)
          return name
        }),
      )
    })
}

function parsePorts(texts: unknown): PortRequest[] {
  return ((texts as string[] | undefined) ?? []).flatMap(parsePublish)
}
