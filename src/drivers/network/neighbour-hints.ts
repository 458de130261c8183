// What the host and the containers of a bridge know of each other from the first moment, so that none has to ask. On a bridge a
// question is a copy to every port; and what the answers teach, the kernel keeps in one table for all namespaces of the machine,
// with 1024 places: two for each container that the host speaks with (net.ipv4.neigh.default.gc_thresh3). Hints take none.
// They bind nobody: the kernel checks a hint when it is used, and believes the container where that says something else.

import { hasCode } from '../../ffi/errno.ts'
import { type FdbEntry, listPortFdb, neighbourHint, neighbourRemove, portFdbReplace } from '../../kernel/netlink/fdb.ts'
import { getLink, type Link, listLinks } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listNeighbours } from '../../kernel/netlink/neighbour.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { parsePrefix } from '../../lib/ip.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import { bridgeMac } from './bridge-names.ts'
import { hostInterfaceOf } from './veth.ts'

/** What the container is told: the host's addresses on the network, in the address families that the container has. */
export function gatewayHints(network: Network, endpoint: Endpoint): FdbEntry[] {
  const families = new Set(endpoint.addresses.map(familyOf))
  const own = network.pools.filter(({ subnet }) => families.has(familyOf(subnet)))
  return own.map(({ gateway }) => ({ address: gateway, mac: bridgeMac(network) }))
}

/**
 * Tells the host the container's addresses, and the bridge which port it is behind: a frame for a MAC address that no port has
 * shown yet would go to all.
 * @param where first: the bridge with the gateway's addresses
 */
export function introduceEndpoint(
  host: NetlinkSocket,
  { first, endpoint }: { first: Link; endpoint: Endpoint },
  undo: Undo,
): void {
  const name = hostInterfaceOf(endpoint)
  const index = getLink(host, name)?.index
  if (index === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
  host.apply([
    portFdbReplace({ index, name }, endpoint.mac),
    ...hintsOf(endpoint).map(hint => neighbourHint(first, hint)),
  ])
  undo.add('tell neighbours', () => withNetlinkSocket(again => forgetEndpoint(again, first.name, endpoint)))
}

/** The host forgets the container's addresses. What the bridge knows goes with the port. Idempotent. */
export function forgetEndpoint(host: NetlinkSocket, bridge: string, endpoint: Endpoint): void {
  const hints = hintsOf(endpoint)
  const link = hints.length === 0 ? undefined : getLink(host, bridge)
  if (link === undefined) return
  try {
    host.apply(hints.map(({ address }) => neighbourRemove(link, address)))
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENODEV')) throw error
  }
}

/** Gives the hints that are missing or wrong, and takes back those of containers that are no more. */
export function healHints(host: NetlinkSocket, bridges: readonly Link[], endpoints: readonly Endpoint[]): void {
  const [first] = bridges
  if (first === undefined) return
  const wanted = new Map(endpoints.flatMap(hintsOf).map(({ address, mac }) => [address, mac]))
  const standing = listNeighbours(host, first.index)
  const isRight = ([address, mac]: readonly [string, string]) =>
    standing.some(entry => entry.address === address && entry.mac === mac && entry.isHint)
  const changes: NetlinkChange[] = standing
    .filter(({ address, isHint }) => isHint && !wanted.has(address))
    .map(({ address }) => neighbourRemove(first, address))
  for (const [address, mac] of wanted)
    if (!isRight([address, mac])) changes.push(neighbourHint(first, { address, mac }))
  for (const { index } of bridges) changes.push(...missingPorts(host, index, endpoints))
  host.apply(changes)
}

function missingPorts(host: NetlinkSocket, bridge: number, endpoints: readonly Endpoint[]): NetlinkChange[] {
  const ports = new Map(listLinks(host, { master: bridge }).map(link => [link.name, link]))
  const known = listPortFdb(host, bridge)
  return endpoints.flatMap(endpoint => {
    const port = ports.get(hostInterfaceOf(endpoint))
    return port === undefined || known.get(endpoint.mac) === port.index ? [] : [portFdbReplace(port, endpoint.mac)]
  })
}

/** A removal of what a cut off start may have left knows addresses and no more; and some have none. */
function hintsOf({ addresses, mac }: Endpoint): FdbEntry[] {
  return addresses.filter(address => address !== '').map(address => ({ address: address.replace(/\/.*/, ''), mac }))
}

function familyOf(prefix: string): 4 | 6 {
  return parsePrefix(prefix).family
}
