// The drivers macvlan and ipvlan: each container is on the LAN of a host interface, with an address of its own there. The
// container's interface is born in its namespace and has no other end: rules and ports of the host do not apply to it.

import { hasCode } from '../../ffi/errno.ts'
import { linkAddIpvlan, linkAddMacvlan } from '../../kernel/netlink/child-link.ts'
import { getLink, type Link, linkRemove, linkRename } from '../../kernel/netlink/link.ts'
import { NetlinkError, type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { netnsInode, openNetnsSocket } from '../../kernel/netns.ts'
import { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type {
  DisconnectOptions,
  Endpoint,
  Network,
  NetworkDriver,
  NetworkSpec,
  PoolPlan,
  Sandbox,
} from '../../model/network.ts'
import { cannotCreate } from './bridge-options.ts'
import { refuseLeases } from './driver-options.ts'
import { hostHasIpv6 } from './forwarding.ts'
import { canShare, formatLanOptions, type LanKind, type LanOptions, modeText, parseLanOptions } from './lan-options.ts'
import {
  assertKernelHas,
  ensureParent,
  findParent,
  hostAddresses,
  isOurs,
  type LanParent,
  lacking,
  removeParent,
  suggestedSubnet,
} from './lan-parent.ts'
import { cannotConnect, configureSandbox, explainConflict } from './sandbox-interface.ts'

const busyWaitMs = 3_000
const busyPauseMs = 25

export class LanDriver implements NetworkDriver {
  readonly name: LanKind
  readonly hasEndpoints = true
  readonly endpointOptions: readonly string[] = []
  readonly #engineId: string

  constructor(name: LanKind, { engineId }: { readonly engineId: string }) {
    this.name = name
    this.#engineId = engineId
  }

  validate(network: Network, others: readonly Network[] = []): Network {
    const options = parseLanOptions(this.name, network)
    const { kind, mode } = options.mode
    if (kind === 'ipvlan' && mode !== 'l2') refuseLeases(network, `ipvlan in mode ${mode} carries no broadcasts`)
    const cannot = cannotCreate(network)
    assertKernelHas(cannot, this.name)
    assertSharing(network, options, others)
    withNetlinkSocket(host => {
      const parent = findParent(host, this.#parentOf(network, options))
      if (parent === undefined) return assertKernelHas(cannot, 'dummy')
      if (parent.name !== options.parent) assertKernelHas(cannot, '8021q')
      assertMtu(network, options, parent)
    })
    return { ...network, options: formatLanOptions(options) }
  }

  planPools(network: Network, wanted: NetworkSpec['pools']): PoolPlan {
    if (network.internal) return { wanted: wanted.length > 0 ? wanted : [{}] }
    const options = parseLanOptions(this.name, network)
    return withNetlinkSocket(host => {
      const parent = findParent(host, this.#parentOf(network, options))
      if (parent === undefined) return { wanted }
      if (wanted.length > 0 && wanted.every(pool => pool.subnet !== undefined))
        return { wanted, isOutside: true, reserved: hostAddresses(host, parent) }
      throw new TsrunError('invalid', 'no-subnet', `${cannotCreate(network)}: it has no subnet`, {
        hint: `give it that of the LAN, and a part of it that nobody else gives out: ${suggestedSubnet(host, parent)} --ip-range ...`,
      })
    })
  }

  async create(network: Network, undo: Undo): Promise<void> {
    const parent = this.#parentOf(network)
    withNetlinkSocket(host => void ensureParent(host, parent, undo))
  }

  async prepareEndpoint(network: Network, endpoint: Endpoint): Promise<Endpoint> {
    const [port] = endpoint.ports
    if (port !== undefined)
      throw new TsrunError(
        'invalid',
        'cannot-publish',
        `cannot publish port ${port.hostPort}/${port.protocol} of "${endpoint.containerName}": on the ${this.name} network "${network.name}" it has an address of its own`,
        {
          hint: `its port ${port.containerPort} is reached at ${endpoint.addresses.map(a => a.replace(/\/.*/, '')).join(' and ')} without -p; or join a bridge network as well`,
        },
      )
    const { hostInterface: _none, ...rest } = endpoint
    const { mode, parent } = parseLanOptions(this.name, network)
    if (mode.kind === 'macvlan' && mode.mode !== 'passthru') return rest
    // These share the parent's MAC address.
    const mac = withNetlinkSocket(host => getLink(host, parent)?.mac)
    return mac === undefined ? rest : { ...rest, mac }
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    const inode = netnsInode(sandbox.netnsFd)
    const remove = () => {
      // The caller may have closed its descriptor, and another file may have its number by now.
      if (netnsInode(sandbox.netnsFd) === inode) removeInside(this.name, endpoint, sandbox)
    }
    const deadline = Date.now() + busyWaitMs
    for (let isFirst = true; ; isFirst = false) {
      this.#addLink(network, endpoint, sandbox)
      if (isFirst) undo.add(`add ${this.name}`, remove)
      try {
        const { mtu } = network.options
        const ipv6 = hostHasIpv6(mtu === undefined ? undefined : Number(mtu))
        configureSandbox({ network, endpoint, sandbox, ipv6, announce: true })
        return
      } catch (error) {
        // A restarted container can meet the MAC or IP address of its last life, whose namespace is still being torn down.
        if (!hasCode(error, 'EADDRINUSE')) throw error
        if (Date.now() > deadline) throw addressInUse(network, endpoint, error)
      }
      remove()
      await new Promise(resolve => setTimeout(resolve, busyPauseMs))
    }
  }

  async disconnect(_network: Network, endpoint: Endpoint, options: DisconnectOptions = {}): Promise<void> {
    if (options.sandboxGone !== true && options.sandbox !== undefined)
      removeInside(this.name, endpoint, options.sandbox)
  }

  async remove(network: Network, others: readonly Network[] = []): Promise<void> {
    const parent = this.#parentOf(network)
    if (others.some(other => isLan(other) && other.options.parent === parent.options.parent)) return
    withNetlinkSocket(host => removeParent(host, parent))
  }

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    const options = parseLanOptions(this.name, network)
    const link = withNetlinkSocket(host => getLink(host, options.parent))
    const facts = { parent: options.parent, mode: modeText(options.mode) }
    if (link === undefined) return { ...facts, state: 'missing' }
    const madeBy = isOurs(this.#engineId, link) ? 'tsrun' : 'host'
    return { ...facts, state: link.up ? 'up' : 'down', mtu: options.mtu ?? link.mtu, mac: link.mac, madeBy }
  }

  #addLink(network: Network, endpoint: Endpoint, sandbox: Sandbox): void {
    const options = parseLanOptions(this.name, network)
    const cannot = cannotConnect({ network, endpoint })
    withNetlinkSocket(host => {
      // A parent that has to be made again, after a reboot, is the network's: it stays when this connection fails.
      const parent = ensureParent(host, { ...this.#parentOf(network, options), cannot }, new Undo())
      const { mode, mtu } = options
      const link = {
        // Kernels before 6.13 look for the name on the host too, where `eth0` is taken: it gets its own inside.
        name: passingName(endpoint),
        parent,
        netns: { fd: sandbox.netnsFd, label: endpoint.containerName },
        ...(mtu === undefined ? {} : { mtu }),
      }
      try {
        if (mode.kind === 'ipvlan') host.apply(linkAddIpvlan(link, mode.mode, mode.flag))
        // A MAC address for passthru would be set on the parent.
        else if (mode.mode === 'passthru') host.apply(linkAddMacvlan(link, mode.mode))
        else host.apply(linkAddMacvlan({ ...link, mac: endpoint.mac }, mode.mode))
        nameInside(this.name, endpoint, sandbox)
      } catch (error) {
        throw explainRefusal({ network, endpoint, options, parent }, error)
      }
    })
  }

  #parentOf(network: Network, options: LanOptions = parseLanOptions(this.name, network)): LanParent {
    return { engineId: this.#engineId, network, options, cannot: cannotCreate(network) }
  }
}

/** What the interface is called until it is in the container. */
function passingName(endpoint: Endpoint): string {
  return `tmp${endpoint.id.slice(0, 6)}${endpoint.id.slice(32, 38)}`
}

/** Gives a new interface its name; where that cannot be, it is removed. @throws NetlinkError EEXIST when the name is taken inside */
function nameInside(kind: LanKind, endpoint: Endpoint, sandbox: Sandbox): void {
  const name = passingName(endpoint)
  try {
    withSocketInside(endpoint, sandbox, socket => {
      const link = getLink(socket, name)
      if (link === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
      socket.apply(linkRename(link, endpoint.containerInterface))
    })
  } catch (error) {
    removeInside(kind, endpoint, sandbox, [name])
    throw error
  }
}

/** Removes the endpoint's interface from a namespace that lives on, if it is there and of our kind. */
function removeInside(
  kind: LanKind,
  endpoint: Endpoint,
  sandbox: Sandbox,
  names = [endpoint.containerInterface, passingName(endpoint)],
): void {
  withSocketInside(endpoint, sandbox, socket => {
    for (const name of names) {
      try {
        if (getLink(socket, name)?.kind === kind) socket.apply(linkRemove(name))
      } catch (error) {
        // It went with its parent this very moment.
        if (!hasCode(error, 'ENODEV')) throw error
      }
    }
  })
}

function withSocketInside(endpoint: Endpoint, sandbox: Sandbox, task: (socket: NetlinkSocket) => void): void {
  const socket = openNetnsSocket(sandbox.netnsFd, endpoint.containerName)
  try {
    task(socket)
  } finally {
    socket.close()
  }
}

/** @throws TsrunError conflict when another network of ours has the parent in a way that excludes this one */
function assertSharing(network: Network, options: LanOptions, others: readonly Network[]): void {
  const parent = options.parent
  for (const other of others) {
    if (!isLan(other) || other.id === network.id || other.options.parent !== parent) continue
    const mode = parseLanOptions(other.driver, other).mode
    if (canShare(options.mode, mode)) continue
    throw new TsrunError(
      'conflict',
      'parent-in-use',
      `${cannotCreate(network)}: network "${other.name}" has "${parent}" in mode ${modeText(mode)}, which excludes ${modeText(options.mode)}`,
      { hint: `use the same mode, another parent, or a VLAN of it: -o parent=${parent}.10` },
    )
  }
}

function assertMtu(network: Network, { mtu }: LanOptions, parent: Link): void {
  if (mtu === undefined || mtu <= parent.mtu) return
  throw new TsrunError(
    'invalid',
    'bad-mtu',
    `${cannotCreate(network)}: the MTU ${mtu} is above that of its parent "${parent.name}", ${parent.mtu}`,
    { hint: 'leave mtu out, or raise that of the parent first' },
  )
}

interface Refusal {
  readonly network: Network
  readonly endpoint: Endpoint
  readonly options: LanOptions
  readonly parent: Link
}

/** What the kernel's errno means when it refuses an interface on a parent. */
function explainRefusal({ network, endpoint, options, parent }: Refusal, error: unknown): unknown {
  if (!(error instanceof NetlinkError)) return error
  const cannot = cannotConnect({ network, endpoint })
  const { kind, mode } = options.mode
  if (error.code === 'EOPNOTSUPP') return lacking(cannot, kind, error)
  const conflict = (why: string, hint: string) =>
    new TsrunError('conflict', 'parent-in-use', `${cannot}: ${why}`, { hint, cause: error })
  if (error.code === 'EBUSY')
    return conflict(
      `its parent "${parent.name}" is used otherwise, e.g. as a bridge port`,
      `\`ip -d link show dev ${parent.name}\` shows by whom; choose another parent`,
    )
  if (error.code !== 'EINVAL') return explainConflict({ network, endpoint }, error)
  if (mode === 'passthru' || kind === 'macvlan')
    return conflict(
      `the kernel refuses ${modeText(options.mode)} on "${parent.name}"`,
      options.mtu !== undefined && options.mtu > parent.mtu
        ? `the parent's MTU is ${parent.mtu} now, below the network's ${options.mtu}`
        : 'a passthru parent takes one container alone: stop the other one',
    )
  return error
}

function addressInUse(network: Network, endpoint: Endpoint, cause: unknown): TsrunError {
  const what = `${endpoint.mac} or ${endpoint.addresses.join(', ')}`
  return new TsrunError(
    'conflict',
    'address-taken',
    `${cannotConnect({ network, endpoint })}: ${what} is in use on "${network.options.parent}"`,
    { hint: 'another interface on the same parent has it: choose others with --ip and --mac-address', cause },
  )
}

function isLan(network: Network): network is Network & { driver: LanKind } {
  return network.driver === 'macvlan' || network.driver === 'ipvlan'
}
