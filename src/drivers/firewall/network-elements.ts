// What makes the chains of base-ruleset.ts know a network: its interfaces, its subnets, and what its options say. Pure.

import { addressField, nameField, numberField, type SetElement, subnetField } from '../../kernel/nftables/elements.ts'
import { parseAddress, parsePrefix } from '../../lib/ip.ts'
import type { Network, Pool } from '../../model/network.ts'
import { type NetworkPolicy, policyOf } from '../../model/network-policy.ts'
import { layoutSet } from './base-ruleset.ts'

/** The element that a script or transaction touches to make sure of the layout. */
export const layoutElement: SetElement = { set: layoutSet, key: [numberField(1)] }

/** All elements of a network. The first is the one that says whether it is known already. */
export function networkElements(network: Network): SetElement[] {
  const members = memberElements(network)
  if (members.length === 0) return []
  const policy = policyOf(network)
  const comment = `tsrun:${network.id.slice(0, 12)} ${network.name}`.slice(0, 100)
  const keys = members.map(({ key }) => key)
  const pairs = keys.flatMap(from => keys.map(to => [...from, ...to]))
  // Bridges are known by their names, interfaces that no bridge joins by their group.
  const suffix = network.hostInterface === undefined ? '_groups' : ''
  return [
    ...members.map(member => ({ ...member, comment })),
    ...furtherElements(network).map(element => ({ ...element, comment })),
    ...(policy.icc ? pairs.map(key => ({ set: `same${suffix}`, key, comment })) : []),
    ...(policy.hairpin ? [] : pairs.map(key => ({ set: `nohairpin${suffix}`, key, comment }))),
    ...(network.internal ? keys.map(key => ({ set: `internal${suffix}`, key, comment })) : []),
    ...(policy.isolate ? [] : keys.map(key => ({ set: `open${suffix}`, key, comment }))),
    ...network.pools.flatMap(pool => subnetElements(pool, policy).map(element => ({ ...element, comment }))),
    ...peerElements(network).map(element => ({ ...element, comment })),
  ]
}

/** Whether packets of the network pass through the host, and so through our chains. */
export function isRouted(network: Pick<Network, 'hostInterface' | 'hostGroup'>): boolean {
  return network.hostInterface !== undefined || network.hostGroup !== undefined
}

/** What says which of the host's interfaces are the network's; nothing where its packets do not pass through the host. */
export function memberElements({ hostInterface, hostGroup }: Network): SetElement[] {
  if (hostInterface !== undefined) return [{ set: 'bridges', key: [nameField(hostInterface)] }]
  return hostGroup === undefined ? [] : [{ set: 'groups', key: [numberField(hostGroup)] }]
}

/** Further bridges only pass frames on: what they mean is decided in the first one. */
function furtherElements({ furtherInterfaces = [] }: Network): SetElement[] {
  return furtherInterfaces.map(nameField).flatMap(name => [
    { set: 'further', key: [name] },
    { set: 'same', key: [name, name] },
  ])
}

/** Containers of one network on several hosts reach each other, under their own addresses. */
function peerElements({ peers = [], pools }: Network): SetElement[] {
  return peers.flatMap(peer => {
    const theirs = parsePrefix(peer.subnet)
    return pools
      .map(({ subnet }) => parsePrefix(subnet))
      .filter(({ family }) => family === theirs.family)
      .map(ours => ({ set: `peers${ours.family}`, key: [subnetField(theirs), subnetField(ours)] }))
  })
}

function subnetElements({ subnet }: Pool, { mode, masquerade, sourceAddress }: NetworkPolicy): SetElement[] {
  const prefix = parsePrefix(subnet)
  const { family } = prefix
  const key = [subnetField(prefix)]
  const source = sourceAddress[family]
  const sets = [
    'subnets',
    ...(mode[family] === 'nat' ? [] : ['direct']),
    ...(mode[family] === 'nat-unprotected' ? ['unprotected'] : []),
    ...(masquerade[family] ? [] : ['keep']),
  ]
  return [
    ...sets.map(set => ({ set: `${set}${family}`, key })),
    ...(masquerade[family] && source !== undefined
      ? [{ set: `source${family}`, key, data: [addressField(parseAddress(source))] }]
      : []),
  ]
}
