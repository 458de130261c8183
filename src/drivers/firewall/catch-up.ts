// What others did while the rules were made anew: between the look at the records and the replacement of the table they put into the
// old one what the new one has not, and took out of it what the new one has.

import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'
import { addNetworkElements } from './add-network.ts'
import { isRouted, networkElements } from './network-elements.ts'
import { type FirewallSnapshot, ownerElementOf, ownerOf, publishableElements } from './nft-rules.ts'
import type { NftTable } from './nft-table.ts'
import { publish, withdrawStrays } from './published-ports.ts'

/** More than there are: each pass has added what came meanwhile, or waited for whoever is in the way. */
const MAX_PASSES = 100
const PAUSE_MS = 20

/**
 * Brings a table that was just made in line with the records. What it adds may have gone from the records since they were read, so
 * it looks again until there is nothing to add.
 * @param before what the table was made from
 * @param records as they are when it asks
 */
export function catchUp(table: NftTable, before: FirewallSnapshot, records: () => FirewallSnapshot): void {
  let last = before
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const now = records()
    removeGoneNetworks(table, last.networks, now.networks)
    removeStrays(table, records)
    const found = addLateComers(table, now)
    if (found === 'nothing') return
    last = now
    // A start that gets the port from nobody but a rebuild fails at the monitor that holds it, and gives it back.
    if (found === 'refused') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
  }
}

/**
 * What the new table is made of: of two that claim one port, whoever has published it comes first, and of those that are being
 * started only they. The others look for themselves when they run.
 */
export function withStanding(
  table: NftTable,
  { endpoints, changing, starting, ...rest }: FirewallSnapshot,
): FirewallSnapshot {
  const standing = new Set(table.list('published').map(({ comment }) => comment))
  const stands = (endpoint: Endpoint) => standing.has(ownerElementOf(endpoint).comment)
  const published = [...endpoints, ...changing, ...starting].filter(stands)
  const others = [...endpoints, ...changing].filter(endpoint => !stands(endpoint))
  return { ...rest, endpoints: [...published, ...others], changing: [], starting: [] }
}

/**
 * Takes out the ports of endpoints that are not on record. Where a record cannot be read, all stays.
 * @returns the ports that went
 */
export function removeStrays(table: NftTable, records: () => FirewallSnapshot): PortMapping[] {
  return withdrawStrays(table, () => {
    const { networks, endpoints, changing, starting, isComplete } = records()
    if (!isComplete) return undefined
    const routed = new Set(networks.filter(isRouted).map(({ id }) => id))
    const present = [...endpoints, ...changing, ...starting]
    return new Set(present.filter(({ ports, networkId }) => ports.length > 0 && routed.has(networkId)).map(ownerOf))
  })
}

/** A network's record goes before its elements do. */
function removeGoneNetworks(table: NftTable, before: readonly Network[], now: readonly Network[]): void {
  const gone = before.filter(old => !now.some(({ id }) => id === old.id))
  for (const network of gone) table.deleteExisting(networkElements(network))
}

/** @returns 'refused' where somebody has a port of an endpoint, other than one that is being changed */
function addLateComers(
  table: NftTable,
  { networks, endpoints, changing }: FirewallSnapshot,
): 'nothing' | 'added' | 'refused' {
  let found: 'nothing' | 'added' | 'refused' = 'nothing'
  for (const network of networks) if (addNetworkElements(table, network) === 'added') found = 'added'
  for (const endpoint of [...endpoints, ...changing]) {
    const network = networks.find(candidate => candidate.id === endpoint.networkId)
    if (network === undefined || !isRouted(network)) continue
    const published = publishableElements(network, endpoint)
    // Undefined too for one that nothing was published of.
    const { comment } = table.find(published.owner) ?? {}
    if (published.ports.length === 0 || comment === published.owner.comment) continue
    try {
      // Gone again: whoever comes next makes it anew.
      if (publish(table, endpoint, published) === undefined) return 'nothing'
      found = 'added'
    } catch (error) {
      if (!(error instanceof TsrunError && error.code === 'port-taken')) throw error
      if (found === 'nothing' && endpoints.includes(endpoint)) found = 'refused'
    }
  }
  return found
}
