// The driver of routed networks: a bridge as ever on each of several hosts, every host with a subnet of its own, and routes to
// the subnets of the others, directly or through a vxlan. No daemon speaks with the peers: each host is told of the others.

import { defaultRouteMtu } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DisconnectOptions, Endpoint, Network, NetworkDriver, Peer, Sandbox } from '../../model/network.ts'
import { BridgeDriver, type NetworkDriverOptions } from './bridge-driver.ts'
import { cannotCreate, hasIpv6 } from './bridge-options.ts'
import { refuseLeases } from './driver-options.ts'
import { assertReachable, ensurePeerRoutes, inspectPeers, removePeerRoutes } from './peer-routes.ts'
import { checkPeers, familyOf } from './peers.ts'
import { formatVxlan, parseVxlan, splitOptions, type Vxlan, vxlanOverhead } from './routed-options.ts'
import { ensureVxlan, removeVxlan, vxlanName } from './vxlan-link.ts'

const defaultMtu = 1500

export class RoutedDriver implements NetworkDriver {
  readonly name = 'routed'
  readonly hasEndpoints = true
  readonly endpointOptions: readonly string[] = []
  readonly #bridge: BridgeDriver
  readonly #engineId: string

  constructor(options: NetworkDriverOptions) {
    this.#bridge = new BridgeDriver(options)
    this.#engineId = options.engineId
  }

  validate(network: Network, others: readonly Network[] = []): Network {
    refuseLeases(network, 'a routed network has a subnet of its own on each host')
    const vxlan = parseVxlan(network)
    const twin = others.find(other => vxlan !== undefined && isSameVxlan(other, vxlan))
    if (twin !== undefined && vxlan !== undefined)
      throw new TsrunError(
        'conflict',
        'vxlan-taken',
        `${cannotCreate(network)}: network "${twin.name}" has vxlan ${vxlan.id}`,
        {
          hint: 'choose another number, on all hosts',
        },
      )
    const peers = checkPeers(network, others, vxlan === undefined ? undefined : familyOf(vxlan.local))
    const { bridge } = splitOptions(network)
    const mtu = vxlan === undefined || bridge.mtu !== undefined ? {} : { mtu: mtuWithin(network, vxlan) }
    const checked = this.#bridge.validate({ ...network, options: { ...bridge, ...mtu } })
    return {
      ...checked,
      options: { ...checked.options, ...formatVxlan(vxlan) },
      ...(peers.length === 0 && network.peers === undefined ? {} : { peers }),
    }
  }

  checkPeers(network: Network, peers: readonly Peer[]): void {
    withNetlinkSocket(host => assertReachable(host, network, peers, parseVxlan(network) !== undefined))
  }

  async create(network: Network, undo: Undo): Promise<void> {
    await this.#bridge.create(network, undo)
    withNetlinkSocket(host => this.#ensure(host, network, undo))
  }

  extend(network: Network): Network | undefined {
    return this.#bridge.extend(network)
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    await this.#bridge.connect(network, endpoint, sandbox, undo)
    // What is healed here is the network's, and stays when the start fails.
    withNetlinkSocket(host => this.#ensure(host, network, new Undo()))
  }

  async disconnect(network: Network, endpoint: Endpoint, options?: DisconnectOptions): Promise<void> {
    await this.#bridge.disconnect(network, endpoint, options)
  }

  async remove(network: Network, others?: readonly Network[]): Promise<void> {
    withNetlinkSocket(host => {
      removePeerRoutes(host, network)
      removeVxlan(host, network)
    })
    await this.#bridge.remove(network, others)
  }

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    const bridge = await this.#bridge.inspect(network)
    const peers = withNetlinkSocket(host => inspectPeers(host, network))
    return { ...bridge, ...(parseVxlan(network) === undefined ? {} : { vxlan: vxlanName(network) }), peers }
  }

  #ensure(host: NetlinkSocket, network: Network, undo: Undo): void {
    const vxlan = parseVxlan(network)
    const mtu = Number(network.options.mtu ?? defaultMtu)
    const wanted = vxlan === undefined ? undefined : { network, engineId: this.#engineId, vxlan, mtu }
    const link = wanted === undefined ? undefined : ensureVxlan(host, wanted, undo)
    ensurePeerRoutes(host, network, link, undo)
  }
}

/** What fits, wrapped, into the packets of the interface that leads out. */
function mtuWithin(network: Network, vxlan: Vxlan): string {
  const outer = Math.min(withNetlinkSocket(host => defaultRouteMtu(host)) ?? defaultMtu, 65535)
  return String(Math.max(outer - vxlanOverhead(vxlan), hasIpv6(network) ? 1280 : 68))
}

function isSameVxlan({ options }: Network, { id, port }: Vxlan): boolean {
  return options.vxlan === String(id) && options['vxlan-port'] === String(port)
}
