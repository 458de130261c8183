// The driver of bridge networks: a Linux bridge a network (more when it is full), a veth pair a container. Acts in the network namespace
// of the process; rules and ports are the firewall driver's.

import { isRehearsal, withoutTelling } from '../../kernel/explain.ts'
import { listAddresses } from '../../kernel/netlink/address.ts'
import { getLink, type Link, listLinks } from '../../kernel/netlink/link.ts'
import { defaultRouteMtu } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Endpoint, Network, NetworkDriver, Sandbox } from '../../model/network.ts'
import { forgetAnnouncements, mustAnnounce } from './announced-macs.ts'
import { interfaceTaken } from './bridge-device.ts'
import { fallbackBridgeName, isBridgeOf, isTsrunBridge } from './bridge-names.ts'
import { hasIpv6, isInterfaceName, parseBridgeOptions } from './bridge-options.ts'
import {
  describeBridges,
  ensureBridges,
  findHealthyBridges,
  removeBridges,
  replugEndpoints,
  withFurtherBridge,
} from './bridge-set.ts'
import {
  enableForwarding,
  type HostState,
  hostHasIpv6,
  isForwarding,
  restoreHostSettings,
  restoreUnneeded,
} from './forwarding.ts'
import { forgetEndpoint, gatewayHints, healHints, introduceEndpoint } from './neighbour-hints.ts'
import { configureSandbox } from './sandbox-interface.ts'
import { hostInterfaceOf, isBridgeFull, plugVeth, unplugVeth } from './veth.ts'

/** The default network has a name that says what it is, so its interface is called otherwise. */
const defaultNetwork = { name: 'bridge', hostInterface: 'tsrun0' }
const defaultMtu = 1500

/** What a driver is made with. */
export interface NetworkDriverOptions {
  /** `tsrun`, or `tsrun-<8 hex digits>` for an engine with another root: the ownership mark on interfaces. */
  readonly engineId: string
  readonly hostState: HostState
  /** The endpoints of running containers on a network: what has to be plugged in again where a bridge was deleted. */
  readonly endpoints: (network: Network) => readonly Endpoint[]
  /** For files that must not survive a reboot; made by whoever needs it. */
  readonly stateDirectory: string
}

/** Bridges and veth pairs. Each call opens a netlink socket of its own, which takes some 10 us. */
export class BridgeDriver implements NetworkDriver {
  readonly name = 'bridge'
  readonly hasEndpoints = true
  readonly endpointOptions: readonly string[] = []
  readonly #engineId: string
  readonly #hostState: HostState
  readonly #endpoints: NetworkDriverOptions['endpoints']
  readonly #stateDirectory: string

  constructor({ engineId, hostState, endpoints, stateDirectory }: NetworkDriverOptions) {
    this.#engineId = engineId
    this.#hostState = hostState
    this.#endpoints = endpoints
    this.#stateDirectory = stateDirectory
  }

  validate(network: Network): Network {
    const options = parseBridgeOptions(network)
    return withNetlinkSocket(host => {
      const hostInterface = network.hostInterface ?? this.#chooseInterface(host, network, options.bridge)
      const mtu = Number(options.mtu ?? defaultRouteMtu(host) ?? defaultMtu)
      // Loopback as the way out has 65536, and IPv6 needs 1280.
      const bounded = Math.min(Math.max(mtu, hasIpv6(network) ? 1280 : 68), 65535)
      return { ...network, hostInterface, options: { ...options, mtu: String(bounded) } }
    })
  }

  async create(network: Network, undo: Undo): Promise<void> {
    withNetlinkSocket(host => this.#ensure(host, network, undo))
  }

  extend(network: Network): Network | undefined {
    return withFurtherBridge(network)
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    const all = describeBridges(network, this.#engineId)
    const [{ engineId, mtu }] = all
    withNetlinkSocket(host => {
      const bridges = this.#findHealthy(host, network) ?? this.#ensure(host, network, undo)
      // The last one has room, if any has: a failed attempt costs 20 ms.
      for (const [index, bridge] of bridges.toReversed().entries()) {
        const plug = { host, engineId, network, endpoint, sandbox, bridge, mtu, ipv6: hostHasIpv6(mtu) }
        try {
          plugVeth(plug, undo)
        } catch (error) {
          if (isBridgeFull(error) && index < bridges.length - 1) continue
          throw error
        }
        const told = mustAnnounce(this.#stateDirectory, network, endpoint)
        const lookAtFarEnd = () => getLink(host, hostInterfaceOf(endpoint))
        configureSandbox({ ...plug, neighbours: gatewayHints(network, endpoint), ...(told ? { lookAtFarEnd } : {}) })
        introduceEndpoint(host, { first: bridges[0] ?? bridge, endpoint }, undo)
        return
      }
    })
  }

  /**
   * @param options sandboxGone: no process is left in the sandbox, so the veth goes with it and is not waited for;
   * removing it takes 10 to 40 ms
   */
  async disconnect(network: Network, endpoint: Endpoint, options: { sandboxGone?: boolean } = {}): Promise<void> {
    const [{ bridge }] = describeBridges(network, this.#engineId)
    withNetlinkSocket(host => {
      forgetEndpoint(host, bridge, endpoint)
      const unplug = () => unplugVeth(host, this.#engineId, endpoint)
      if (options.sandboxGone !== true) unplug()
      // In the copy of the host nothing dies, so nothing goes by itself.
      else if (isRehearsal()) withoutTelling(unplug)
    })
  }

  async remove(network: Network, others: readonly Network[] = []): Promise<void> {
    forgetAnnouncements(this.#stateDirectory, network)
    withNetlinkSocket(host => {
      removeBridges(host, describeBridges(network, this.#engineId))
      restoreUnneeded(host, { engineId: this.#engineId, state: this.#hostState, others })
    })
  }

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    const [{ bridge }, ...further] = describeBridges(network, this.#engineId)
    return withNetlinkSocket(host => {
      const link = getLink(host, bridge)
      if (link === undefined) return { interface: bridge, state: 'missing' }
      if (!isBridgeOf(this.#engineId, network, link)) return { interface: bridge, state: 'foreign' }
      const masters = [link, ...further.flatMap(other => getLink(host, other.bridge) ?? [])]
      const ports = masters.flatMap(({ index }) => listLinks(host, { master: index }))
      return {
        interface: bridge,
        ...(further.length === 0 ? {} : { furtherInterfaces: further.map(other => other.bridge) }),
        state: link.up ? 'up' : 'down',
        mtu: link.mtu,
        mac: link.mac,
        addresses: listAddresses(host, link.index),
        ports: ports.map(port => ({ interface: port.name, alias: port.alias ?? '' })),
      }
    })
  }

  /** Puts back the host settings that networks needed. `remove` does this with the last network. Idempotent. */
  releaseHost(): void {
    restoreHostSettings(this.#hostState)
  }

  /** The bridges, if a quick look finds nothing wrong: networks come back by themselves after a reboot. */
  #findHealthy(host: NetlinkSocket, network: Network): Link[] | undefined {
    const bridges = findHealthyBridges(host, describeBridges(network, this.#engineId))
    return network.internal || isForwarding(familiesOf(network)) ? bridges : undefined
  }

  #ensure(host: NetlinkSocket, network: Network, undo: Undo): Link[] {
    const bridges = ensureBridges(host, describeBridges(network, this.#engineId), undo)
    const endpoints = this.#endpoints(network)
    replugEndpoints(host, bridges, { network, engineId: this.#engineId, endpoints })
    healHints(host, bridges, endpoints)
    if (!network.internal) enableForwarding(host, familiesOf(network), this.#hostState, undo)
    return bridges
  }

  #chooseInterface(host: NetlinkSocket, network: Network, asked: string | undefined): string {
    const plain = network.name === defaultNetwork.name ? defaultNetwork.hostInterface : network.name
    const name = asked ?? (isInterfaceName(plain) ? plain : fallbackBridgeName(network))
    const link = getLink(host, name)
    if (link === undefined || isBridgeOf(this.#engineId, network, link)) return name
    // Two engines, or two roots, may both have a network "br".
    if (asked === undefined && isTsrunBridge(link)) return fallbackBridgeName(network)
    throw interfaceTaken(network, name)
  }
}

function familiesOf(network: Network): { readonly ipv6: boolean } {
  return { ipv6: hasIpv6(network) }
}
