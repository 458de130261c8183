// The driver of bridge networks: one Linux bridge a network, one veth pair a container. Acts in the network namespace
// of the process; rules and ports are the firewall driver's.

import { isRehearsal, withoutTelling } from '../../kernel/explain.ts'
import { listAddresses } from '../../kernel/netlink/address.ts'
import { getLink, type Link, listLinks } from '../../kernel/netlink/link.ts'
import { defaultRouteMtu } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Endpoint, Network, NetworkDriver, Sandbox } from '../../model/network.ts'
import { type BridgeNetwork, ensureBridge, findBridge, interfaceTaken, removeBridge } from './bridge-device.ts'
import { fallbackBridgeName, isBridgeOf, isTsrunBridge } from './bridge-names.ts'
import { hasIpv6, isInterfaceName, parseBridgeOptions } from './bridge-options.ts'
import { enableForwarding, type HostState, hostHasIpv6, isForwarding, restoreHostSettings } from './forwarding.ts'
import { configureSandbox } from './sandbox-interface.ts'
import { plugVeth, unplugVeth } from './veth.ts'

/** The default network has a name that says what it is, so its interface is called otherwise. */
const defaultNetwork = { name: 'bridge', hostInterface: 'tsrun0' }
const defaultMtu = 1500

/** What a driver is made with. */
export interface NetworkDriverOptions {
  /** `tsrun`, or `tsrun-<8 hex digits>` for an engine with another root: the ownership mark on interfaces. */
  readonly engineId: string
  readonly hostState: HostState
}

/** Bridges and veth pairs. Each call opens a netlink socket of its own, which takes some 10 us. */
export class BridgeDriver implements NetworkDriver {
  readonly name = 'bridge'
  readonly hasEndpoints = true
  readonly #engineId: string
  readonly #hostState: HostState

  constructor({ engineId, hostState }: NetworkDriverOptions) {
    this.#engineId = engineId
    this.#hostState = hostState
  }

  validate(network: Network): Network {
    const options = parseBridgeOptions(network)
    return withNetlinkSocket(host => {
      const hostInterface = network.hostInterface ?? this.#chooseInterface(host, network, options.bridge)
      const mtu = options.mtu ?? defaultRouteMtu(host) ?? defaultMtu
      // Loopback as the way out has 65536, and IPv6 needs 1280.
      const bounded = Math.min(Math.max(mtu, hasIpv6(network) ? 1280 : 68), 65535)
      const bridge = options.bridge === undefined ? {} : { bridge: options.bridge }
      return { ...network, hostInterface, options: { ...bridge, mtu: String(bounded) } }
    })
  }

  async create(network: Network, undo: Undo): Promise<void> {
    withNetlinkSocket(host => this.#ensure(host, this.#describe(network), undo))
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    const wanted = this.#describe(network)
    const { engineId, mtu } = wanted
    withNetlinkSocket(host => {
      const bridge = this.#findHealthy(host, wanted) ?? this.#ensure(host, wanted, undo)
      const plug = { host, engineId, network, endpoint, sandbox, bridge, mtu, ipv6: hostHasIpv6() }
      plugVeth(plug, undo)
      configureSandbox(plug)
    })
  }

  /**
   * @param options sandboxGone: no process is left in the sandbox, so the veth goes with it and is not waited for;
   * removing it takes 10 to 40 ms
   */
  async disconnect(_network: Network, endpoint: Endpoint, options: { sandboxGone?: boolean } = {}): Promise<void> {
    if (options.sandboxGone) {
      // In the copy of the host nothing dies, so nothing goes by itself.
      if (isRehearsal()) withoutTelling(() => withNetlinkSocket(host => unplugVeth(host, this.#engineId, endpoint)))
      return
    }
    withNetlinkSocket(host => unplugVeth(host, this.#engineId, endpoint))
  }

  async remove(network: Network): Promise<void> {
    withNetlinkSocket(host => {
      removeBridge(host, this.#describe(network))
      // Another engine on this machine may need forwarding as well; then it stays on until our next last network.
      if (!listLinks(host, { kind: 'bridge' }).some(isTsrunBridge)) restoreHostSettings(this.#hostState)
    })
  }

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    const { bridge } = this.#describe(network)
    return withNetlinkSocket(host => {
      const link = getLink(host, bridge)
      if (link === undefined) return { interface: bridge, state: 'missing' }
      if (!isBridgeOf(this.#engineId, network, link)) return { interface: bridge, state: 'foreign' }
      return {
        interface: bridge,
        state: link.up ? 'up' : 'down',
        mtu: link.mtu,
        mac: link.mac,
        addresses: listAddresses(host, link.index),
        ports: listLinks(host, { master: link.index }).map(port => ({ interface: port.name, alias: port.alias ?? '' })),
      }
    })
  }

  /** Puts back the host settings that networks needed. `remove` does this with the last network. Idempotent. */
  releaseHost(): void {
    restoreHostSettings(this.#hostState)
  }

  /** The bridge, if a quick look finds nothing wrong: networks come back by themselves after a reboot. */
  #findHealthy(host: NetlinkSocket, wanted: BridgeNetwork): Link | undefined {
    const bridge = findBridge(host, wanted)
    if (!bridge?.up || bridge.mtu !== wanted.mtu) return undefined
    return wanted.network.internal || isForwarding(familiesOf(wanted.network)) ? bridge : undefined
  }

  #ensure(host: NetlinkSocket, wanted: BridgeNetwork, undo: Undo): Link {
    const bridge = ensureBridge(host, wanted, undo)
    if (!wanted.network.internal) enableForwarding(host, familiesOf(wanted.network), this.#hostState, undo)
    return bridge
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

  #describe(network: Network): BridgeNetwork {
    const bridge = network.hostInterface ?? fallbackBridgeName(network)
    return { network, bridge, mtu: Number(network.options.mtu ?? defaultMtu), engineId: this.#engineId }
  }
}

function familiesOf(network: Network): { readonly ipv6: boolean } {
  return { ipv6: hasIpv6(network) }
}
