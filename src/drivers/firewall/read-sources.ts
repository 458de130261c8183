// Under which address packets of a subnet leave the host, as it stands in the kernel, for whoever wants to see what is really there.

import { addressBytes, addressFromBytes, formatAddress, parsePrefix } from '../../lib/ip.ts'
import { NftTable } from './nft-table.ts'

/**
 * `masquerade`: that of the interface by which they leave; `unchanged`: the container's own; else a fixed one. Undefined where
 * the rules do not know the subnet.
 */
export type SourceTranslation = 'masquerade' | 'unchanged' | { readonly address: string } | undefined

/** Looks subnets up in the engine's table. @throws SyscallError */
export function readSources(tableName: string, subnets: readonly string[]): SourceTranslation[] {
  const table = new NftTable(tableName)
  try {
    return subnets.map(subnet => {
      const prefix = parsePrefix(subnet)
      // An interval is listed by its first key.
      const key = addressBytes(prefix)
      const find = (set: string) => table.list(`${set}${prefix.family}`).find(element => element.key.equals(key))
      if (find('subnets') === undefined) return undefined
      if (find('keep') !== undefined) return 'unchanged'
      const fixed = addressFromBytes(find('source')?.data ?? Buffer.alloc(0))
      return fixed === undefined ? 'masquerade' : { address: formatAddress(fixed) }
    })
  } finally {
    table.close()
  }
}
