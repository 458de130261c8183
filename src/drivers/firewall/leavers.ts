// Ports that were withdrawn while the rules were made anew: between the look at the records and the replacement of the table.

import { type FirewallSnapshot, publishableElements } from './nft-rules.ts'
import type { NftTable } from './nft-table.ts'
import { publish, withdraw } from './published-ports.ts'

/**
 * Takes out of the new table what it got from `before` and nobody has any more.
 * @param now the records as they are behind the replacement
 */
export function removeLeavers(table: NftTable, before: FirewallSnapshot, now: FirewallSnapshot): void {
  for (const old of before.endpoints) {
    const network = before.networks.find(({ id }) => id === old.networkId)
    if (network === undefined || old.ports.length === 0) continue
    const left = now.endpoints.find(({ id }) => id === old.id)
    if (left === undefined || left.ports.length === 0) withdraw(table, old, publishableElements(network, old))
    else if (JSON.stringify(left.ports) !== JSON.stringify(old.ports))
      publish(table, left, publishableElements(network, left))
  }
}
