// How many connections each container of a network may have at a time (`-o connections=N`): the table of connections is the host's,
// and who fills it cuts everybody off. A table of its own for each such network, since the number stands in its rules. Pure.

import { parsePrefix } from '../../lib/ip.ts'
import type { Network } from '../../model/network.ts'
import { policyOf } from '../../model/network-policy.ts'

/** What the table is called. */
export function shareTable(engineId: string, network: Pick<Network, 'id'>): string {
  return `${engineId}-share-${network.id.slice(0, 12)}`
}

/**
 * The table as an nft script; undefined where the network has no such limit. Counted before translation, and before the kernel
 * keeps the connection, so that one that is dropped takes no place. Only packets that begin one are looked at any further.
 */
export function shareRuleset(engineId: string, network: Network): string | undefined {
  const { connections } = policyOf(network)
  if (connections === undefined) return undefined
  const name = shareTable(engineId, network)
  const prefixes = network.pools.map(({ subnet }) => ({ subnet, ...parsePrefix(subnet) }))
  const subnets = (family: 4 | 6) => prefixes.filter(each => each.family === family).map(({ subnet }) => subnet)
  const member =
    network.hostInterface === undefined ? `iifgroup != ${network.hostGroup}` : `iifname != "${network.hostInterface}"`
  const count = `ct count over ${connections}`
  const rules = ([4, 6] as const).flatMap(family => {
    const source = family === 4 ? 'ip saddr' : 'ip6 saddr'
    const own = subnets(family)
    // Raw sockets send from any address: all that are none of the network's have one share together.
    const forged = own.length === 0 ? `meta nfproto ipv${family}` : `${source} != { ${own.join(', ')} }`
    return [
      `${forged} add @forged { meta nfproto ${count} } drop`,
      ...(own.length === 0
        ? []
        : [`${source} { ${own.join(', ')} } add @sources${family} { ${source} ${count} } drop`]),
    ]
  })
  return `table inet ${name} {
  set sources4 { type ipv4_addr; size 65535; flags dynamic; }
  set sources6 { type ipv6_addr; size 65535; flags dynamic; }
  set forged { type nf_proto; size 2; flags dynamic; }
  chain share {
    type filter hook prerouting priority mangle - 10; policy accept;
    ${member} accept
    ct state != new accept
    ${rules.join('\n    ')}
  }
}
`
}
