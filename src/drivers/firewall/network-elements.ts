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
  const { hostInterface, furtherInterfaces = [] } = network
  if (hostInterface === undefined) return []
  const policy = policyOf(network)
  const comment = `tsrun:${network.id.slice(0, 12)} ${network.name}`.slice(0, 100)
  const names = [hostInterface, ...furtherInterfaces]
  const pairs = names.flatMap(from => names.map(to => [nameField(from), nameField(to)]))
  return [
    ...names.map(name => ({ set: 'bridges', key: [nameField(name)], comment })),
    ...(policy.icc ? pairs.map(key => ({ set: 'same', key, comment })) : []),
    ...(policy.hairpin ? [] : pairs.map(key => ({ set: 'nohairpin', key, comment }))),
    ...(network.internal ? names.map(name => ({ set: 'internal', key: [nameField(name)], comment })) : []),
    ...(policy.isolate ? [] : names.map(name => ({ set: 'open', key: [nameField(name)], comment }))),
    ...network.pools.flatMap(pool => subnetElements(pool, policy).map(element => ({ ...element, comment }))),
  ]
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
