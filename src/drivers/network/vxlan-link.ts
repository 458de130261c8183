// The vxlan of a routed network: one interface, no bridge behind it, nothing learnt and nothing flooded. Which host is behind which
// MAC address, and which MAC a next hop has, tsrun writes down, since it knows all peers.

import { hasCode } from '../../ffi/errno.ts'
import { linkAddVxlan } from '../../kernel/netlink/child-link.ts'
import { fdbRemove, fdbReplace, listFdb, neighbourRemove, neighbourReplace } from '../../kernel/netlink/fdb.ts'
import { getLink, type Link, linkRemove, linkSet } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listNeighbours } from '../../kernel/netlink/neighbour.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { writeSysctl } from '../../kernel/sysctl.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { bridgeAlias } from './bridge-names.ts'
import { cannotCreate } from './bridge-options.ts'
import { hostHasIpv6 } from './forwarding.ts'
import { innerGateway, macOfPeer, vtepMac } from './peers.ts'
import type { Vxlan } from './routed-options.ts'

/** The vxlan of one network. */
export interface VxlanNetwork {
  readonly network: Network
  readonly engineId: string
  readonly vxlan: Vxlan
  readonly mtu: number
}

/** `vx-` and 12 hex digits, all of the 15 bytes there are. */
export function vxlanName({ id }: Pick<Network, 'id'>): string {
  return `vx-${id.slice(0, 12)}`
}

/** Makes what is missing, for the peers that the network has now. Idempotent. @throws TsrunError conflict, unsupported */
export function ensureVxlan(host: NetlinkSocket, wanted: VxlanNetwork, undo: Undo): Link {
  const { network, engineId, mtu } = wanted
  const name = vxlanName(network)
  const link = getLink(host, name) ?? addVxlan(host, wanted, undo)
  const alias = bridgeAlias(engineId, network)
  const ipv6 = hostHasIpv6(mtu)
  if (link.alias !== alias || link.mtu !== mtu || !link.up)
    host.apply(linkSet(name, { alias, mtu, ...(ipv6 ? { ipv6AddressMode: 'none' as const } : {}), up: true }))
  if (ipv6) writeSysctl(['net', 'ipv6', 'conf', name, 'accept_ra'], '0')
  host.apply(peerChanges(host, wanted, { index: link.index, name }))
  return link
}

/** Idempotent. */
export function removeVxlan(host: NetlinkSocket, network: Network): void {
  const name = vxlanName(network)
  const link = getLink(host, name)
  // By the alias in the copy of the host that a rehearsal has, where it is a bridge.
  if (link?.kind !== 'vxlan' && link?.alias?.endsWith(` ${network.id.slice(0, 12)}`) !== true) return
  try {
    host.apply(linkRemove(name))
  } catch (error) {
    if (!hasCode(error, 'ENODEV')) throw error
  }
}

function addVxlan(host: NetlinkSocket, { network, vxlan, mtu }: VxlanNetwork, undo: Undo): Link {
  const name = vxlanName(network)
  const mac = vtepMac(network.pools.map(({ subnet }) => subnet))
  try {
    host.apply(linkAddVxlan({ name, mtu, mac }, vxlan))
  } catch (error) {
    // EEXIST is also what the kernel says of a number that another interface has.
    const link = hasCode(error, 'EEXIST') ? getLink(host, name) : undefined
    if (link !== undefined) return link
    throw explained(network, vxlan, error)
  }
  undo.add('add vxlan', () => withNetlinkSocket(again => removeVxlan(again, network)))
  const link = getLink(host, name)
  if (link === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
  return link
}

function peerChanges(host: NetlinkSocket, { network }: VxlanNetwork, link: { index: number; name: string }) {
  const peers = network.peers ?? []
  const hosts = new Map(peers.map(peer => [macOfPeer(peers, peer), peer.address]))
  const gateways = new Map(peers.map(peer => [innerGateway(peer), macOfPeer(peers, peer)]))
  const fdb = listFdb(host, link.index)
  const neighbours = listNeighbours(host, link.index)
  const changes: NetlinkChange[] = []
  for (const entry of fdb) if (!hosts.has(entry.mac)) changes.push(fdbRemove(link, entry))
  for (const [mac, address] of hosts)
    if (!fdb.some(entry => entry.mac === mac && entry.address === address))
      changes.push(fdbReplace(link, { mac, address }))
  for (const { address, state } of neighbours)
    if (state === 'permanent' && !gateways.has(address)) changes.push(neighbourRemove(link, address))
  for (const [address, mac] of gateways)
    if (!neighbours.some(entry => entry.address === address && entry.mac === mac && entry.state === 'permanent'))
      changes.push(neighbourReplace(link, { address, mac }))
  return changes
}

function explained(network: Network, { id, port }: Vxlan, error: unknown): unknown {
  if (hasCode(error, 'EEXIST', 'EADDRINUSE'))
    return new TsrunError(
      'conflict',
      'vxlan-taken',
      `${cannotCreate(network)}: the host has a vxlan ${id} on UDP port ${port} already`,
      { hint: 'choose another -o vxlan=ID, on all hosts, or another -o vxlan-port=PORT', cause: error },
    )
  if (!hasCode(error, 'EOPNOTSUPP')) return error
  return new TsrunError('unsupported', 'no-vxlan', `${cannotCreate(network)}: the kernel has no vxlan`, {
    hint: 'the kernel needs CONFIG_VXLAN: try `modprobe vxlan`',
    cause: error,
  })
}
