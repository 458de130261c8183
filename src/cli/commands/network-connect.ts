// `network connect` and `network disconnect`.

import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { collect } from '../collect.ts'
import { parseJoining } from '../parse-networks.ts'

interface ConnectFlags {
  readonly ip?: string
  readonly ip6?: string
  readonly alias?: string[]
  readonly macAddress?: string
  readonly interface?: string
  readonly gwPriority?: string
  readonly linkLocalIp?: string[]
  readonly driverOpt?: string[]
}

export function addConnect(network: Command): void {
  network
    .command('connect')
    .description('Join a container to a network: at once where it runs, else at its next start.')
    .argument('<network>')
    .argument('<container>')
    .option('--ip <address>', 'its IPv4 address there; kept for as long as the container exists')
    .option('--ip6 <address>', 'its IPv6 address there')
    .option('--alias <name>', 'a further name of the container there', collect)
    .option('--mac-address <mac>', 'its MAC address there')
    .option('--interface <name>', 'name of its interface; default: the first free of eth0, eth1 ..')
    .option('--gw-priority <number>', 'the network with the highest has the default route; default 0')
    .option('--link-local-ip <address>', 'a further address there', collect)
    .option(
      '--driver-opt <key=value>',
      "sysctls=net.ipv4.conf.IFNAME.KEY=VALUE for its interface, or an option of the network's driver",
      collect,
    )
    .addHelpText('after', '\nExample:\n  tsrun network connect --ip 192.168.0.9 --alias db br web')
    .action(async (name: string, container: string, flags: ConnectFlags) => {
      const joining = parseJoining(
        {
          ip: flags.ip,
          ip6: flags.ip6,
          mac: flags.macAddress,
          aliases: flags.alias ?? [],
          interfaceName: flags.interface,
          gwPriority: flags.gwPriority,
          linkLocalIps: flags.linkLocalIp ?? [],
          driverOptions: flags.driverOpt ?? [],
        },
        '--',
      )
      await using engine = await Engine.open()
      await engine.containers.connectNetwork(container, { network: name, ...joining })
    })
}

export function addDisconnect(network: Command): void {
  network
    .command('disconnect')
    .description('Take a container out of a network: at once where it runs.')
    .argument('<network>')
    .argument('<container>')
    .option('-f, --force', 'a container that is gone, or not on the network, is no error')
    .addHelpText('after', '\nExample:\n  tsrun network disconnect br web')
    .action(async (name: string, container: string, flags: { force?: boolean }) => {
      await using engine = await Engine.open()
      try {
        await engine.containers.disconnectNetwork(container, name)
      } catch (error) {
        const isGone = error instanceof TsrunError && ['not-connected', 'no-such-container'].includes(error.code)
        if (flags.force !== true || !isGone) throw error
      }
    })
}
