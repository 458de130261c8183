// Under which addresses a container reaches the host: `host-gateway` in --add-host, and host.docker.internal.

import { networkInterfaces } from 'node:os'
import type { Endpoint, Network } from '../../model/network.ts'

/** On networks of these drivers the gateway is a router of the LAN, and the host itself cannot be reached over them. */
const outsideDrivers = new Set(['macvlan', 'ipvlan', 'phys'])

/** The gateways of the first network that has the host for one; else the host's own address. At most one a family. */
export function hostAddresses(networks: readonly Network[], endpoints: readonly Endpoint[]): string[] {
  for (const endpoint of endpoints) {
    const network = networks.find(({ id }) => id === endpoint.networkId)
    if (network === undefined || outsideDrivers.has(network.driver) || network.pools.length === 0) continue
    return onePerFamily(network.pools.map(pool => pool.gateway))
  }
  const outer = Object.values(networkInterfaces())
    .flatMap(list => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address)
  return onePerFamily(outer)
}

function onePerFamily(addresses: readonly string[]): string[] {
  const first = (isV6: boolean) => addresses.find(address => address.includes(':') === isV6)
  return [first(false), first(true)].flatMap(address => address ?? [])
}
