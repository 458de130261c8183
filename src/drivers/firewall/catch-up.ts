// What others did while the rules were made anew: between the look at the records and the replacement of the table they put into the
// old one what the new one has not, and took out of it what the new one has.

import { TsrunError } from '../../model/errors.ts'
import type { Network, PortMapping } from '../../model/network.ts'
import { addNetworkElements } from './add-network.ts'
import { isRouted, networkElements } from './network-elements.ts'
import { type FirewallSnapshot, ownerOf, publishableElements } from './nft-rules.ts'
import type { NftTable } from './nft-table.ts'
import { publish, withdrawStrays } from './published-ports.ts'

/** More than can be: each pass has added what came meanwhile. */
const MAX_PASSES = 100

/**
 * Brings a table that was just made in line with the records. What it adds may have gone from the records since they were read, so
 * it looks again until there is nothing to add.
 * @param before what the table was made from
 * @param records as they are when it asks
 */
export function catchUp(table: NftTable, before: FirewallSnapshot, records: () => FirewallSnapshot): void {
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const now = records()
    removeGoneNetworks(table, before.networks, now.networks)
    removeStrays(table, records)
    if (!addLateComers(table, records())) return
  }
}

/**
 * Takes out the ports of endpoints that are not on record. Where a record cannot be read, all stays.
 * @returns the ports that went
 */
export function removeStrays(table: NftTable, records: () => FirewallSnapshot): PortMapping[] {
  if (!records().isComplete) return []
  return withdrawStrays(table, () => {
    const { networks, endpoints } = records()
    const routed = new Set(networks.filter(isRouted).map(({ id }) => id))
    return new Set(endpoints.filter(({ ports, networkId }) => ports.length > 0 && routed.has(networkId)).map(ownerOf))
  })
}

/** A network's record goes before its elements do. */
function removeGoneNetworks(table: NftTable, before: readonly Network[], now: readonly Network[]): void {
  const gone = before.filter(old => !now.some(({ id }) => id === old.id))
  for (const network of gone) table.deleteExisting(networkElements(network))
}

/** @returns whether anything was added */
function addLateComers(table: NftTable, { networks, endpoints }: FirewallSnapshot): boolean {
  let added = false
  for (const network of networks) if (addNetworkElements(table, network) === 'added') added = true
  for (const endpoint of endpoints) {
    const network = networks.find(candidate => candidate.id === endpoint.networkId)
    if (network === undefined || !isRouted(network)) continue
    const published = publishableElements(network, endpoint)
    // Undefined too for one that nothing was published of.
    const { comment } = table.find(published.owner) ?? {}
    if (published.ports.length === 0 || comment === published.owner.comment) continue
    try {
      // Gone again: whoever comes next makes it anew.
      if (publish(table, endpoint, published) === undefined) return false
      added = true
    } catch (error) {
      // Its own addEndpoint has said so, or is about to.
      if (!(error instanceof TsrunError && error.code === 'port-taken')) throw error
    }
  }
  return added
}
