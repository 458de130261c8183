import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  return program
    .command('port')
    .description('List the published ports of a container, or where one of them leads from.')
    .argument('<container>')
    .argument('[port]')
    .addHelpText('after', '\nExample:\n  tsrun port web 80/tcp')
    .action(async (name: string, wanted: string | undefined) => {
      await using engine = await Engine.open()
      const { container, state } = await engine.containers.inspect(name)
      const ports = state.run?.endpoints.flatMap(endpoint => endpoint.ports) ?? []
      const [number, protocol = 'tcp'] = wanted?.split('/') ?? []
      const shown = ports.filter(
        p => wanted === undefined || (String(p.containerPort) === number && p.protocol === protocol),
      )
      if (wanted !== undefined && shown.length === 0)
        throw new TsrunError('not-found', 'no-such-port', `container "${container.name}" publishes no port ${wanted}`, {
          hint: `\`tsrun port ${container.name}\` lists them`,
        })
      for (const port of shown) {
        const host = `${port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp}:${port.hostPort}`
        print(wanted === undefined ? `${port.containerPort}/${port.protocol} -> ${host}\n` : `${host}\n`)
      }
    })
}
