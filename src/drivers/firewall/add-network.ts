// A network's elements in the table.

import { errno } from '../../ffi/errno.ts'
import { throwFailure } from '../../kernel/nftables/nfnetlink.ts'
import type { Network } from '../../model/network.ts'
import { layoutElement, networkElements } from './network-elements.ts'
import type { NftTable } from './nft-table.ts'

/** Adds what is missing of a network. 'known' when it stood already; 'no-table' when there is no table of this version. */
export function addNetworkElements(table: NftTable, network: Network): 'added' | 'known' | 'no-table' {
  if (!table.has(layoutElement)) return 'no-table'
  const elements = networkElements(network)
  const missing = elements.filter(element => !table.has(element))
  if (missing.length === 0) return 'known'
  const isNew = missing.length === elements.length
  const failures = table.add(missing.map((element, i) => ({ element, exclusive: isNew && i === 0 })))
  if (failures.length === 0) return isNew ? 'added' : 'known'
  if (failures.some(failure => failure.errno === errno.ENOENT)) return 'no-table'
  // Another process added it this very moment: look again.
  if (isNew && failures.every(failure => failure.index === 0 && failure.errno === errno.EEXIST))
    return addNetworkElements(table, network)
  throwFailure(`cannot add network "${network.name}" to the firewall`, failures)
}
