// The routes to the peers of a routed network. Ours are known by protocol, metric and source, which is the network's gateway: no
// other route is ever changed, and one of somebody else to the same subnet, with a lower metric, has precedence.

import { hasCode } from '../../ffi/errno.ts'
import { getLink } from '../../kernel/netlink/link.ts'
import { listRoutes, type Route, type RouteSpec, routeAdd, routeRemove } from '../../kernel/netlink/route.ts'
import { lookupRoute } from '../../kernel/netlink/route-lookup.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network, Peer } from '../../model/network.ts'
import { cannotPeer, familyOf, innerGateway } from './peers.ts'
import { routeProtocol } from './route-protocol.ts'

/** Above what people and DHCP clients use, and IPv6's default of 1024. */
const peerMetric = 2084

/** Where packets to a peer go. */
type Way = Pick<RouteSpec, 'index' | 'interfaceName' | 'gateway' | 'onlink'>

/**
 * Makes the routes that are missing and takes away those that are no longer wanted. Idempotent.
 * @param tunnel the vxlan, where there is one
 * @returns the peers whose address no interface reaches at present
 */
export function ensurePeerRoutes(
  host: NetlinkSocket,
  network: Network,
  tunnel: { index: number; name: string } | undefined,
  undo: Undo,
): Peer[] {
  const standing = ownRoutes(host, network)
  const lost: Peer[] = []
  const wanted: RouteSpec[] = []
  for (const peer of network.peers ?? []) {
    const way = tunnel === undefined ? wayOnLink(host, peer.address) : wayThrough(tunnel, peer)
    if (way === undefined) lost.push(peer)
    else wanted.push(specOf(network, peer, way))
  }
  const surplus = standing.filter(route => !wanted.some(spec => isSame(spec, route)))
  for (const route of surplus) remove(host, route)
  const missing = wanted.filter(spec => !standing.some(route => isSame(spec, route)))
  for (const spec of missing) add(host, network, spec)
  if (missing.length > 0) undo.add('add peer routes', () => withNetlinkSocket(again => removeAll(again, missing)))
  return lost
}

/** Takes all routes to peers away. Idempotent. */
export function removePeerRoutes(host: NetlinkSocket, network: Network): void {
  for (const route of ownRoutes(host, network)) remove(host, route)
}

/** A peer, and whether the route to it stands. */
export interface PeerState extends Peer {
  readonly route: 'up' | 'missing'
  /** The interface that it leads to. */
  readonly device?: string
}

/** Whether the route of each peer stands. Asks the kernel only where there are peers. */
export function inspectPeers(host: NetlinkSocket, network: Network): readonly PeerState[] {
  if (network.peers === undefined || network.peers.length === 0) return []
  const standing = ownRoutes(host, network)
  return network.peers.map(({ subnet, address }) => {
    const route = standing.find(({ destination }) => destination === subnet)
    const device = route?.index === undefined ? undefined : getLink(host, route.index)?.name
    return {
      subnet,
      address,
      route: route === undefined ? 'missing' : 'up',
      ...(device === undefined ? {} : { device }),
    }
  })
}

/** Refuses peers that cannot be reached as they are given. Reads the kernel only. @throws TsrunError invalid */
export function assertReachable(
  host: NetlinkSocket,
  network: Network,
  peers: readonly Peer[],
  isTunnelled: boolean,
): void {
  for (const peer of peers) {
    const found = lookup(host, peer.address)
    if (found?.kind === 'local')
      throw new TsrunError('invalid', 'peer', `${cannotPeer(network, peer)}: the address is this host's own`, {
        hint: 'give the address of the host that has the subnet',
      })
    if (isTunnelled || (found?.kind === 'unicast' && found.gateway === undefined)) continue
    throw new TsrunError('invalid', 'peer', `${cannotPeer(network, peer)}: the address is on no link of this host`, {
      hint: 'give the router that leads there and knows the subnet, or wrap the packets, on all hosts, with -o vxlan=ID',
    })
  }
}

function lookup(host: NetlinkSocket, address: string) {
  try {
    return lookupRoute(host, { destination: address })
  } catch (error) {
    if (hasCode(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL')) return undefined
    throw error
  }
}

/** By the interface that has the address on its link; undefined while there is none, e.g. since it is down. */
function wayOnLink(host: NetlinkSocket, address: string): Way | undefined {
  const found = lookup(host, address)
  if (found?.kind !== 'unicast' || found.gateway !== undefined || found.index === undefined) return undefined
  const interfaceName = getLink(host, found.index)?.name
  return interfaceName === undefined ? undefined : { index: found.index, interfaceName, gateway: address }
}

function wayThrough({ index, name }: { index: number; name: string }, peer: Peer): Way {
  return { index, interfaceName: name, gateway: innerGateway(peer), onlink: true }
}

function specOf(network: Network, { subnet }: Peer, way: Way): RouteSpec {
  // The host, too, speaks to peers under an address that they admit.
  const source = network.pools.find(pool => familyOf(pool.subnet) === familyOf(subnet))?.gateway
  const mark = { protocol: routeProtocol, metric: peerMetric }
  return { destination: subnet, ...way, ...mark, ...(source === undefined ? {} : { source }) }
}

function ownRoutes(host: NetlinkSocket, network: Network): Route[] {
  const subnets = new Set((network.peers ?? []).map(({ subnet }) => subnet))
  const sources = new Set(network.pools.map(({ gateway }) => gateway))
  const families = new Set(network.pools.map(({ subnet }) => familyOf(subnet)))
  return [...families]
    .flatMap(family => listRoutes(host, family))
    .filter(({ protocol, metric }) => protocol === routeProtocol && metric === peerMetric)
    .filter(({ destination, source }) =>
      // IPv6 routes stay, without it, when the source's interface goes.
      source === undefined ? subnets.has(destination ?? '') : sources.has(source),
    )
}

function isSame(spec: RouteSpec, route: Route): boolean {
  const { destination, gateway, index, source } = route
  return spec.destination === destination && spec.gateway === gateway && spec.index === index && spec.source === source
}

function add(host: NetlinkSocket, network: Network, spec: RouteSpec): void {
  try {
    host.apply(routeAdd(spec))
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    // Another command of ours heals it at the same time; or a stranger uses our metric.
    if (ownRoutes(host, network).some(route => isSame(spec, route))) return
    throw new TsrunError(
      'conflict',
      'route-exists',
      `cannot route ${spec.destination} for network "${network.name}": the host has such a route with metric ${peerMetric}`,
      { hint: `\`ip route show ${spec.destination}\` shows it; remove it or give it another metric`, cause: error },
    )
  }
}

function removeAll(host: NetlinkSocket, specs: readonly RouteSpec[]): void {
  for (const spec of specs) removeSpec(host, spec)
}

function remove(host: NetlinkSocket, { destination = 'default', gateway, index = 0, metric, protocol }: Route): void {
  const interfaceName = getLink(host, index)?.name ?? String(index)
  const way = { index, interfaceName, ...(gateway === undefined ? {} : { gateway }) }
  removeSpec(host, { destination, ...way, metric, protocol })
}

function removeSpec(host: NetlinkSocket, spec: RouteSpec): void {
  try {
    host.apply(routeRemove(spec))
  } catch (error) {
    if (!hasCode(error, 'ESRCH', 'ENODEV')) throw error
  }
}
