// The bridge of a network: made where it is missing, healed where it differs from what it should be.

import { hasCode } from '../../ffi/errno.ts'
import { type AddressSpec, addressAdd, listAddresses } from '../../kernel/netlink/address.ts'
import { bridgeSetVlan } from '../../kernel/netlink/bridge-vlan.ts'
import { getLink, type Link, linkAddBridge, linkRemove, linkSet } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'
import { faultPoint } from '../../lib/fault.ts'
import { formatPrefix, parseAddress, parsePrefix } from '../../lib/ip.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network, Pool } from '../../model/network.ts'
import { bridgeAlias, bridgeMac, isBridgeOf } from './bridge-names.ts'
import { cannotCreate, hasIpv6 } from './bridge-options.ts'
import { hostHasIpv6 } from './forwarding.ts'

/** One bridge of a network. */
export interface BridgeNetwork {
  readonly network: Network
  /** The name of the interface. */
  readonly bridge: string
  /** 0 for the one that has the gateway's addresses; further ones are joined to it. */
  readonly number: number
  readonly mtu: number
  readonly engineId: string
}

/** The network's bridge. @returns undefined where there is none @throws TsrunError conflict if it is not ours */
export function findBridge(socket: NetlinkSocket, { network, bridge, engineId }: BridgeNetwork): Link | undefined {
  const link = getLink(socket, bridge)
  if (link === undefined || isBridgeOf(engineId, network, link)) return link
  throw interfaceTaken(network, bridge)
}

/** Makes what is missing of the bridge. Idempotent. @throws TsrunError conflict, SyscallError */
export function ensureBridge(socket: NetlinkSocket, wanted: BridgeNetwork, undo: Undo): Link {
  const { bridge, network } = wanted
  const link = findBridge(socket, wanted) ?? addBridge(socket, wanted, undo)
  // In this order: no packet may meet a bridge that is up without its settings.
  const changes: NetlinkChange[] = []
  const alias = bridgeAlias(wanted.engineId, network)
  const ipv6 = hostHasIpv6(wanted.mtu)
  // No link-local address on a network without IPv6: it would be a way to the host that no firewall rule expects.
  const isFirst = wanted.number === 0
  const mode = isFirst && hasIpv6(network) ? 'eui64' : 'none'
  if (link.alias !== alias) changes.push(linkSet(bridge, { alias }))
  if (link.mtu !== wanted.mtu) changes.push(linkSet(bridge, { mtu: wanted.mtu }))
  if (ipv6 && link.ipv6AddressMode !== mode) changes.push(linkSet(bridge, { ipv6AddressMode: mode }))
  socket.apply(changes)
  setVlan(socket, wanted)
  setBridgeSysctls(bridge, ipv6)
  const present = new Set(listAddresses(socket, link.index))
  const own = isFirst ? network.pools.map(gatewayAddress) : []
  const missing = own.filter(address => !present.has(address))
  for (const address of missing) addAddress(socket, { index: link.index, interfaceName: bridge, address })
  if (!link.up) socket.apply(linkSet(bridge, { up: true }))
  faultPoint('configure bridge')
  return link
}

/** Removes the bridge if it stands and is ours. Idempotent. */
export function removeBridge(socket: NetlinkSocket, wanted: Pick<BridgeNetwork, 'network' | 'bridge' | 'engineId'>) {
  const link = getLink(socket, wanted.bridge)
  if (link === undefined || !isBridgeOf(wanted.engineId, wanted.network, link)) return
  try {
    socket.apply(linkRemove(wanted.bridge))
  } catch (error) {
    if (!hasCode(error, 'ENODEV')) throw error
  }
}

/** The error for a name that belongs to somebody else's interface. */
export function interfaceTaken(network: Network, bridge: string): TsrunError {
  return new TsrunError(
    'conflict',
    'interface-exists',
    `${cannotCreate(network)}: the interface "${bridge}" exists and is not tsrun's`,
    { hint: 'choose another network name, or another interface name with `-o bridge=NAME`' },
  )
}

/** The gateway with the prefix length of its subnet. */
function gatewayAddress(pool: Pool): string {
  return formatPrefix({ ...parseAddress(pool.gateway), length: parsePrefix(pool.subnet).length })
}

function addBridge(socket: NetlinkSocket, wanted: BridgeNetwork, undo: Undo): Link {
  const { network, bridge } = wanted
  try {
    // Not in one send with what follows: if the name is taken this fails, and the rest would hit the other interface.
    socket.apply(linkAddBridge({ name: bridge, mac: bridgeMac(network, wanted.number) }))
  } catch (error) {
    // Somebody was faster: another start of ours that found the bridge missing, or a stranger.
    const link = hasCode(error, 'EEXIST') ? findBridge(socket, wanted) : undefined
    if (link !== undefined) return link
    if (!hasCode(error, 'EOPNOTSUPP')) throw error
    throw new TsrunError('unsupported', 'no-bridge', `${cannotCreate(network)}: the kernel has no bridges`, {
      hint: 'the kernel needs CONFIG_BRIDGE: try `modprobe bridge`',
      cause: error,
    })
  }
  undo.add('add bridge', () => withNetlinkSocket(again => removeBridge(again, wanted)))
  const link = getLink(socket, bridge)
  if (link === undefined) throw new Error(`the bridge "${bridge}" vanished while it was set up`)
  return link
}

/** The bridge and every container on it are in this VLAN; other interfaces are the administrator's to plug in. */
function setVlan(socket: NetlinkSocket, { network, bridge }: BridgeNetwork): void {
  if (network.options.vlan === undefined) return
  try {
    socket.apply(bridgeSetVlan(bridge, Number(network.options.vlan)))
  } catch (error) {
    if (!hasCode(error, 'EOPNOTSUPP')) throw error
    throw new TsrunError('unsupported', 'no-vlan', `${cannotCreate(network)}: the kernel has no VLANs in bridges`, {
      hint: 'the kernel needs CONFIG_BRIDGE_VLAN_FILTERING; leave -o vlan out',
      cause: error,
    })
  }
}

function addAddress(socket: NetlinkSocket, spec: AddressSpec): void {
  try {
    socket.apply(addressAdd(spec))
  } catch (error) {
    // Another start of ours heals the bridge at the same time.
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

function setBridgeSysctls(bridge: string, ipv6: boolean): void {
  const ipv4Setting = (setting: string): SysctlName => ['net', 'ipv4', 'conf', bridge, setting]
  // Lets a published port answer on 127.0.0.1; the firewall drops packets of others to 127.0.0.0/8.
  writeSysctl(ipv4Setting('route_localnet'), '1')
  // A container on two networks answers through either: strict checking would drop that. Loose still checks.
  const strict = readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter']) === '1'
  if (strict || readSysctl(ipv4Setting('rp_filter')) === '1') writeSysctl(ipv4Setting('rp_filter'), '2')
  // A container must not be able to give the host routes (CVE-2020-13401).
  if (ipv6) writeSysctl(['net', 'ipv6', 'conf', bridge, 'accept_ra'], '0')
}
