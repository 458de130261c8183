// Whom a container asks for names, and where it searches: the user's word, else that of the server which leased it the address that it
// leaves by. Pure.

import type { ContainerSpec } from '../../model/container.ts'
import type { Lease } from '../../model/lease.ts'
import type { Endpoint } from '../../model/network.ts'

type Chosen = Pick<ContainerSpec, 'dns' | 'dnsSearch'>

/** DNS servers; none: those of the host. */
export function chosenServers({ dns = [] }: Chosen, endpoints: readonly Endpoint[]): readonly string[] {
  return dns.length > 0 ? dns : (leaseOfWayOut(endpoints)?.dnsServers ?? [])
}

/** Search domains; none: those of the host. */
export function chosenDomains({ dnsSearch = [] }: Chosen, endpoints: readonly Endpoint[]): readonly string[] {
  return dnsSearch.length > 0 ? dnsSearch : (leaseOfWayOut(endpoints)?.searchDomains ?? [])
}

/** Where no network is a way out, the first lease counts. */
function leaseOfWayOut(endpoints: readonly Endpoint[]): Lease | undefined {
  const out = endpoints.filter(({ gateways }) => gateways.length > 0)
  return (out.length > 0 ? out : endpoints).find(({ lease }) => lease !== undefined)?.lease
}
