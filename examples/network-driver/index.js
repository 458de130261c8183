// @ts-check
// A network driver in a package of its own: plugs containers into a bridge that the administrator has made, e.g. for virtual
// machines, with addresses of the LAN behind it.
//
//     tsrun network create --driver lan-bridge -o bridge=br0 --subnet 192.168.1.0/24 --ip-range 192.168.1.192/27 lan

/** @import { Endpoint, Network, NetworkDriver, NetworkDriverHost, Sandbox, Undo } from 'tsrun' */

/**
 * tsrun calls it when a network of the driver is needed.
 * @param {NetworkDriverHost} host
 * @returns {NetworkDriver}
 */
export default function createDriver(host) {
  return new LanBridgeDriver(host)
}

/** @implements {NetworkDriver} */
class LanBridgeDriver {
  // The package is called tsrun-network-<name>.
  name = 'lan-bridge'
  hasEndpoints = true
  // Nothing of `--network driver-opt=..` is for this driver; tsrun refuses it.
  /** @type {readonly string[]} */
  endpointOptions = []
  #kit
  #engineId

  /** @param {NetworkDriverHost} host */
  constructor({ kit, engineId }) {
    this.#kit = kit
    this.#engineId = engineId
  }

  /**
   * Called twice before anything is made: as the user wrote it, and with the pools. What it returns goes on disk.
   * @param {Network} network
   * @returns {Network}
   */
  validate(network) {
    const { bridge, ...unknown } = network.options
    const [other] = Object.keys(unknown)
    if (other !== undefined) throw this.#invalid(network, `unknown option "${other}"`)
    if (bridge === undefined) throw this.#invalid(network, 'it has no bridge')
    const link = this.#kit.withHostSocket(socket => this.#kit.getLink(socket, bridge))
    if (link?.kind !== 'bridge') throw this.#invalid(network, `"${bridge}" is no bridge`)
    // Not as hostInterface: the firewall's rules are not for somebody else's bridge.
    return network
  }

  /**
   * The host may have an address of the same LAN: its routes are no reason to refuse the subnet.
   * @param {Network} _network
   * @param {Parameters<NonNullable<NetworkDriver['planPools']>>[1]} wanted
   */
  planPools(_network, wanted) {
    return { wanted, isOutside: true }
  }

  // The bridge is there, and stays.
  async create() {}
  async remove() {}

  /**
   * Before the endpoint is written down: the place to refuse what the driver cannot do.
   * @param {Network} _network
   * @param {Endpoint} endpoint
   * @returns {Promise<Endpoint>}
   */
  async prepareEndpoint(_network, endpoint) {
    const [port] = endpoint.ports
    if (port === undefined) return endpoint
    const message = `cannot publish port ${port.hostPort} of "${endpoint.containerName}": it has an address on the LAN`
    throw this.#kit.error('invalid', 'cannot-publish', message, { hint: 'leave -p out' })
  }

  /**
   * @param {Network} network
   * @param {Endpoint} endpoint
   * @param {Sandbox} sandbox
   * @param {Undo} undo
   */
  async connect(network, endpoint, sandbox, undo) {
    const kit = this.#kit
    const name = hostInterfaceOf(endpoint)
    // A restarted container can meet the pair of its last life, whose namespace is still being torn down.
    await this.disconnect(network, endpoint)
    kit.withHostSocket(socket => {
      const master = kit.getLink(socket, network.options.bridge ?? '')
      if (master === undefined)
        throw kit.error('unavailable', 'no-bridge', `the bridge "${network.options.bridge}" is gone`)
      // The far end is born in the container: if we die here, the pair goes with it.
      const peer = { name: endpoint.containerInterface, mac: endpoint.mac, mtu: master.mtu, netnsFd: sandbox.netnsFd }
      const veth = { name, master, mtu: master.mtu, peer: { ...peer, netnsLabel: endpoint.containerName } }
      socket.apply(kit.linkAddVeth(veth))
      // Each step registers its inverse at once; when the start fails they are called, the newest first.
      undo.add('add veth', () => this.disconnect(network, endpoint))
      const alias = `${this.#engineId} ${endpoint.containerName}`
      socket.apply(kit.linkSet(name, { alias, ipv6AddressMode: 'none', up: true }))
    })
    // Addresses and routes in the container, the same for all drivers.
    kit.configureSandbox({ network, endpoint, sandbox, ipv6: kit.hostHasIpv6(), announce: true })
  }

  /**
   * Idempotent: it may be called again after a crash, in another process.
   * @param {Network} _network
   * @param {Endpoint} endpoint
   * @param {{ readonly sandboxGone?: boolean }} [options]
   */
  async disconnect(_network, endpoint, { sandboxGone = false } = {}) {
    // The namespace takes the pair along.
    if (sandboxGone) return
    try {
      this.#kit.withHostSocket(socket => socket.apply(this.#kit.linkRemove(hostInterfaceOf(endpoint))))
    } catch (error) {
      if (!this.#kit.hasCode(error, 'ENODEV')) throw error
    }
  }

  /** @param {Network} network */
  async inspect(network) {
    const { bridge = '' } = network.options
    const link = this.#kit.withHostSocket(socket => this.#kit.getLink(socket, bridge))
    return { bridge, state: link === undefined ? 'missing' : link.up ? 'up' : 'down' }
  }

  /**
   * @param {Network} network
   * @param {string} why
   */
  #invalid(network, why) {
    const hint = 'name a bridge of the host: -o bridge=br0'
    return this.#kit.error('invalid', 'lan-bridge', `cannot create network "${network.name}": ${why}`, { hint })
  }
}

/** @param {Endpoint} endpoint */
function hostInterfaceOf(endpoint) {
  return endpoint.hostInterface ?? `lb${endpoint.id.slice(0, 10)}`
}
