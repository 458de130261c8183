// Which subnets a network gets: those that were asked for, and a default one of each address family that was asked for
// without saying which. Pure.

import { TsrunError } from '../../model/errors.ts'
import type { NetworkSpec, PoolRequest } from '../../model/network.ts'

const versionsHint = 'say --ipv6 for both, --ipv6 --ipv4=false for IPv6 alone, and nothing for IPv4 alone'

/** Who gives out a network's addresses, by the name that is kept. @throws TsrunError invalid */
export function ipamDriverOf({ name, ipamDriver = 'file', pools, ipv4, ipv6 }: NetworkSpec): 'file' | 'null' {
  if (ipamDriver === 'file' || ipamDriver === 'default') return 'file'
  if (ipamDriver !== 'null')
    throw new TsrunError('invalid', 'ipam-driver', `cannot create network "${name}": no IPAM driver "${ipamDriver}"`, {
      hint: 'there are file (docker: default), and null: containers get no addresses',
    })
  if (pools.length === 0 && ipv4 !== true && ipv6 !== true) return 'null'
  throw contradicts(
    name,
    'addresses, and an IPAM driver that gives none',
    'leave --ipam-driver null or the subnets out',
  )
}

/** The pools to request, IPv4 before IPv6 where tsrun chooses. @throws TsrunError invalid for what contradicts itself */
export function wantedPools({ name, pools, ipv4, ipv6, ipamDriver }: NetworkSpec): PoolRequest[] {
  if (ipamDriver === 'null') return []
  const isV6 = (pool: PoolRequest) => pool.subnet?.includes(':') === true || pool.family === 6
  const hasV6 = pools.some(isV6)
  const hasV4 = pools.some(pool => !isV6(pool))
  if (ipv4 === false && hasV4) throw contradicts(name, 'an IPv4 subnet, and no IPv4')
  if (ipv6 === false && hasV6) throw contradicts(name, 'an IPv6 subnet, and no IPv6')
  const wantsV6 = ipv6 ?? hasV6
  // An IPv6 subnet alone makes an IPv6 network, unless IPv6 is asked for beside what there is.
  const wantsV4 = ipv4 ?? (ipv6 === true || hasV4 || !hasV6)
  if (!wantsV4 && !wantsV6) throw contradicts(name, 'no IPv4, and no IPv6')
  return [...(wantsV4 && !hasV4 ? [{}] : []), ...pools, ...(wantsV6 && !hasV6 ? [{ family: 6 as const }] : [])]
}

function contradicts(name: string, what: string, hint = versionsHint): TsrunError {
  return new TsrunError('invalid', 'ip-versions', `cannot create network "${name}": it is to have ${what}`, { hint })
}
