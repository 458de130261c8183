// The published ports as they stand in the kernel, for whoever wants to see what is really there.

import { protocolOf } from '../../kernel/nftables/elements.ts'
import { addressFromBytes, formatAddress } from '../../lib/ip.ts'
import type { PortMapping } from '../../model/network.ts'
import { ownerIn } from './nft-rules.ts'
import { NftTable } from './nft-table.ts'

/** An element of one of the port maps. */
export interface PublishedPort extends PortMapping {
  /** The address that connections are translated to. */
  readonly containerIp: string
  /** First digits of the ids of the container and of the network it belongs to. */
  readonly owner: { readonly container: string; readonly network: string }
}

/** All ports that the engine's table translates; none where it does not stand. @throws SyscallError */
export function readPublishedPorts(tableName: string): PublishedPort[] {
  const table = new NftTable(tableName)
  try {
    return (['any4', 'any6', 'addr4', 'addr6'] as const).flatMap(set =>
      table.list(set).flatMap(({ key, data, comment }) => {
        const [container, network] = ownerIn(comment)?.split('.') ?? []
        const target = data === undefined ? undefined : addressFromBytes(data.subarray(0, set.endsWith('4') ? 4 : 16))
        if (data === undefined || target === undefined || container === undefined || network === undefined) return []
        const address = addressFromBytes(key.subarray(4, -4))
        return [
          {
            protocol: protocolOf(key[0]),
            hostIp: address === undefined ? (set === 'any4' ? '0.0.0.0' : '::') : formatAddress(address),
            hostPort: key.readUInt16BE(key.length - 4),
            containerPort: data.readUInt16BE(set.endsWith('4') ? 4 : 16),
            containerIp: formatAddress(target),
            owner: { container, network },
          },
        ]
      }),
    )
  } finally {
    table.close()
  }
}
