// The two drivers that need nothing but a name. `file`: tsrun chooses out of its own pools (file-ipam.ts). `null`: containers get
// no addresses, and give themselves some.

import { TsrunError } from '../../model/errors.ts'
import type { IpamDriver } from '../../model/ipam.ts'
import type { Network } from '../../model/network.ts'

export const fileDriver: IpamDriver = { name: 'file', gives: 'pools', validate: network => checked('file', network) }

export const nullDriver: IpamDriver = { name: 'null', gives: 'none', validate: network => checked('null', network) }

function checked(name: string, network: Network): Network {
  assertKnownOptions(name, network, [])
  return network
}

/** @throws TsrunError invalid for an option that the driver does not know */
export function assertKnownOptions(name: string, network: Network, known: readonly string[]): void {
  const unknown = Object.keys(network.ipamOptions ?? {}).find(key => !known.includes(key))
  if (unknown === undefined) return
  throw new TsrunError(
    'invalid',
    'unknown-option',
    `cannot create network "${network.name}": the IPAM driver "${name}" knows no option "${unknown}"`,
    { hint: known.length === 0 ? 'it has none: leave --ipam-opt out' : `its options are ${known.join(', ')}` },
  )
}
