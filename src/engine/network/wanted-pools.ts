// Which subnets a network gets: those that were asked for, and a default one of each address family that was asked for
// without saying which. Pure.

import { TsrunError } from '../../model/errors.ts'
import type { IpamDriver } from '../../model/ipam.ts'
import type { NetworkSpec, PoolRequest } from '../../model/network.ts'

const versionsHint = 'say --ipv6 for both, --ipv6 --ipv4=false for IPv6 alone, and nothing for IPv4 alone'

/** @throws TsrunError invalid where the IPAM driver cannot give what is asked for beside it */
export function checkIpamDriver({ name, pools, ipv4, ipv6 }: NetworkSpec, driver: IpamDriver): void {
  if (driver.gives === 'pools') return
  const leave = `leave --ipam-driver ${driver.name} or the subnets out`
  if (driver.gives === 'none' && (pools.length > 0 || ipv4 === true || ipv6 === true))
    throw contradicts(name, 'addresses, and an IPAM driver that gives none', leave)
  if (pools.length > 0)
    throw contradicts(name, 'a subnet, and an IPAM driver that asks a server on the network for addresses', leave)
  if (ipv6 === true || ipv4 === false)
    throw contradicts(name, 'IPv6, and an IPAM driver that has only IPv4', 'leave --ipv6 and --ipv4=false out')
}

/**
 * The pools to request, IPv4 before IPv6 where tsrun chooses.
 * @param gives what the IPAM driver does; default `pools`
 * @throws TsrunError invalid for what contradicts itself
 */
export function wantedPools(
  { name, pools, ipv4, ipv6 }: NetworkSpec,
  gives: IpamDriver['gives'] = 'pools',
): PoolRequest[] {
  if (gives !== 'pools') return []
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
