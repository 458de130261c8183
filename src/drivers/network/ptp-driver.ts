// The driver of ptp networks: each container has a veth pair of its own to the host, which routes between them. The network
// itself is no interface, but a device group and a route: flat costs, and no limit but the subnet's.

import { hasCode } from '../../ffi/errno.ts'
import { listLinks } from '../../kernel/netlink/link.ts'
import { defaultRouteMtu, unreachableAdd, unreachableRemove } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DisconnectOptions, Endpoint, Network, NetworkDriver, Sandbox } from '../../model/network.ts'
import type { NetworkDriverOptions } from './bridge-driver.ts'
import { cannotCreate, hasIpv6, parseBridgeOptions } from './bridge-options.ts'
import { refuseLeases } from './driver-options.ts'
import { enableForwarding, hostHasIpv6, isForwarding, restoreUnneeded } from './forwarding.ts'
import { hostPrefix, plugPtp, sandboxRoutes } from './ptp-link.ts'
import { routeProtocol } from './route-protocol.ts'
import { configureSandbox } from './sandbox-interface.ts'
import { unplugVeth } from './veth.ts'

const defaultMtu = 1500

/** Groups of ours have this bit; the rest comes from the network's id. */
const groupBit = 0x4000_0000

export class PtpDriver implements NetworkDriver {
  readonly name = 'ptp'
  readonly hasEndpoints = true
  readonly endpointOptions: readonly string[] = []
  readonly #engineId: string
  readonly #hostState: NetworkDriverOptions['hostState']

  constructor({ engineId, hostState }: Pick<NetworkDriverOptions, 'engineId' | 'hostState'>) {
    this.#engineId = engineId
    this.#hostState = hostState
  }

  validate(network: Network): Network {
    refuseLeases(network, 'a ptp network carries no broadcasts')
    const options = parseBridgeOptions(network)
    if (options.bridge !== undefined)
      throw new TsrunError('invalid', 'unknown-option', `${cannotCreate(network)}: a ptp network has no bridge`, {
        hint: 'leave the option out, or use the driver "bridge"',
      })
    const mtu = Number(options.mtu ?? withNetlinkSocket(host => defaultRouteMtu(host)) ?? defaultMtu)
    // Loopback as the way out has 65536, and IPv6 needs 1280.
    const bounded = Math.min(Math.max(mtu, hasIpv6(network) ? 1280 : 68), 65535)
    const hostGroup = groupBit | Number.parseInt(network.id.slice(0, 7), 16)
    return { ...network, hostGroup, options: { ...options, mtu: String(bounded) } }
  }

  async create(network: Network, undo: Undo): Promise<void> {
    withNetlinkSocket(host => {
      this.#ensure(host, network, undo)
      undo.add('add network route', () => withNetlinkSocket(again => removeRoutes(again, network)))
    })
  }

  async prepareEndpoint(_network: Network, endpoint: Endpoint): Promise<Endpoint> {
    return { ...endpoint, addresses: endpoint.addresses.map(hostPrefix) }
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    withNetlinkSocket(host => {
      // Both are idempotent and quick: networks come back by themselves after a reboot.
      this.#ensure(host, network, undo)
      const mtu = Number(network.options.mtu ?? defaultMtu)
      const plug = {
        host,
        engineId: this.#engineId,
        network,
        endpoint,
        sandbox,
        mtu,
        group: network.hostGroup ?? 0,
        ipv6: hostHasIpv6(mtu),
        routes: sandboxRoutes(network),
      }
      plugPtp(plug, undo)
      configureSandbox(plug)
    })
  }

  /** With `sandboxGone` the veth goes with the sandbox, and its addresses and routes with it. */
  async disconnect(_network: Network, endpoint: Endpoint, options: DisconnectOptions = {}): Promise<void> {
    if (options.sandboxGone === true) return
    withNetlinkSocket(host => unplugVeth(host, this.#engineId, endpoint))
  }

  async remove(network: Network, others: readonly Network[] = []): Promise<void> {
    withNetlinkSocket(host => {
      removeRoutes(host, network)
      restoreUnneeded(host, { engineId: this.#engineId, state: this.#hostState, others })
    })
  }

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    const { hostGroup } = network
    return withNetlinkSocket(host => ({
      group: hostGroup,
      gateways: network.pools.map(pool => pool.gateway),
      mtu: Number(network.options.mtu ?? defaultMtu),
      ports: listLinks(host, { kind: 'veth' })
        .filter(link => link.group === hostGroup)
        .map(link => ({ interface: link.name, alias: link.alias ?? '', state: link.up ? 'up' : 'down' })),
    }))
  }

  #ensure(host: NetlinkSocket, network: Network, undo: Undo): void {
    const families = { ipv6: hasIpv6(network) }
    // Internal networks too: it is the host that carries packets from container to container.
    if (!isForwarding(families)) enableForwarding(host, families, this.#hostState, undo)
    // What no container has must not follow the host's default route.
    host.apply(network.pools.map(({ subnet }) => unreachableAdd({ destination: subnet, protocol: routeProtocol })))
  }
}

function removeRoutes(host: NetlinkSocket, network: Network): void {
  for (const { subnet } of network.pools) {
    try {
      host.apply(unreachableRemove({ destination: subnet, protocol: routeProtocol }))
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
}
