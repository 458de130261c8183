// The peers of routed networks: subnets on other hosts, and by which address each is reached. What is checked without asking
// the kernel, and what all hosts have to derive alike. Pure.

import {
  formatAddress,
  formatPrefix,
  networkOf,
  overlaps,
  parsePrefix,
  tryParseAddress,
  tryParsePrefix,
} from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network, Peer } from '../../model/network.ts'

/** How messages about a peer begin. */
export function cannotPeer({ name }: Pick<Network, 'name'>, { subnet, address }: Peer): string {
  return `cannot use the peer ${subnet}=${address} for network "${name}"`
}

/**
 * The network's peers in canonical form, sorted.
 * @param underlay the IP version that packets are wrapped in; undefined where they go as they are
 * @throws TsrunError invalid, conflict
 */
export function checkPeers(network: Network, others: readonly Network[], underlay: 4 | 6 | undefined): Peer[] {
  const peers = (network.peers ?? []).map(peer => canonical(network, peer))
  if (peers.length > 0 && network.internal) throw refused(network, peers[0], 'an internal network has no way out')
  const taken = [
    ...network.pools.map(({ subnet }) => ({ subnet, what: "the network's own subnet" })),
    ...others.flatMap(other => other.pools.map(({ subnet }) => ({ subnet, what: `network "${other.name}"` }))),
    ...others.flatMap(other =>
      (other.peers ?? []).map(({ subnet }) => ({ subnet, what: `a peer of "${other.name}"` })),
    ),
  ]
  for (const [index, peer] of peers.entries()) {
    const { subnet, address } = peer
    const further = peers.slice(0, index).map(before => ({ subnet: before.subnet, what: 'another peer' }))
    const clash = [...taken, ...further].find(other => overlaps(parsePrefix(other.subnet), parsePrefix(subnet)))
    if (clash !== undefined)
      throw new TsrunError(
        'conflict',
        'peer',
        `${cannotPeer(network, peer)}: it overlaps ${clash.what}, ${clash.subnet}`,
      )
    if (network.pools.length > 0 && !network.pools.some(pool => familyOf(pool.subnet) === familyOf(subnet)))
      throw refused(network, peer, `the network has no IPv${familyOf(subnet)}`, 'make it with --ipv6, or a --subnet')
    if (underlay === undefined && familyOf(address) !== familyOf(subnet))
      throw refused(
        network,
        peer,
        'subnet and address are not of one IP version',
        'only with -o vxlan=ID they need not be',
      )
    if (underlay !== undefined && familyOf(address) !== underlay)
      throw refused(network, peer, `its vxlan goes over IPv${underlay}`, 'give all peers with such addresses')
    if (peers.some(other => overlaps(parsePrefix(other.subnet), hostPrefix(address))))
      throw refused(network, peer, 'the address is itself in the subnet of a peer', 'give the address of the host')
  }
  return peers.sort((a, b) => compare(a.subnet, b.subnet))
}

/**
 * The MAC address by which hosts on a vxlan know each other: made from the first subnet of a host, IPv4 before IPv6, so that all
 * derive the same and a host that moves keeps it.
 */
export function vtepMac(subnets: readonly string[]): string {
  const [first = ''] = [...subnets].sort(compare)
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(first)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return ['02', '54', ...(hash.toString(16).padStart(8, '0').match(/../g) ?? [])].join(':')
}

/** The MAC address of the host that a peer is on: of all its subnets, that is, those with one address. */
export function macOfPeer(peers: readonly Peer[], { address }: Peer): string {
  return vtepMac(peers.filter(other => other.address === address).map(({ subnet }) => subnet))
}

/** The next hop of a peer's subnet on a vxlan; needs no interface that has it. */
export function innerGateway({ subnet }: Peer): string {
  const prefix = parsePrefix(subnet)
  return formatAddress({ family: prefix.family, value: prefix.value + 1n })
}

/** 4 or 6, of an address or subnet. */
export function familyOf(text: string): 4 | 6 {
  return text.includes(':') ? 6 : 4
}

function canonical(network: Network, peer: Peer): Peer {
  const subnet = tryParsePrefix(peer.subnet)
  const address = tryParseAddress(peer.address)
  const hint = 'write SUBNET=ADDRESS, e.g. --peer 192.168.2.0/24=10.0.2.16'
  if (subnet === undefined || subnet.length === 0)
    throw refused(network, peer, `"${peer.subnet}" is not a subnet`, hint)
  if (networkOf(subnet).value !== subnet.value)
    throw refused(network, peer, 'the subnet has host bits', `did you mean ${formatPrefix(networkOf(subnet))}?`)
  if (address === undefined) throw refused(network, peer, `"${peer.address}" is not an address`, hint)
  return { subnet: formatPrefix(subnet), address: formatAddress(address) }
}

function hostPrefix(address: string) {
  return parsePrefix(`${address}/${familyOf(address) === 4 ? 32 : 128}`)
}

/** IPv4 first. */
function compare(a: string, b: string): number {
  return familyOf(a) - familyOf(b) || (a < b ? -1 : a > b ? 1 : 0)
}

function refused(network: Network, peer: Peer | undefined, why: string, hint?: string): TsrunError {
  const message = `${cannotPeer(network, peer ?? { subnet: '', address: '' })}: ${why}`
  return new TsrunError('invalid', 'peer', message, hint === undefined ? {} : { hint })
}
