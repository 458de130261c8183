// Which endpoints of a container have a way out of their own, for the routing rules that keep the ways apart
// (drivers/network/source-routes.ts).

import type { SourceWay } from '../../drivers/network/source-routes.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'
import { familyOf } from './address-text.ts'
import { gatewaysOf } from './connect-sandbox.ts'

/** The endpoints with the gateways of their networks. Networks that are gone, and internal ones, have none. */
export function sourceWays(endpoints: readonly Endpoint[], networks: readonly Network[]): SourceWay[] {
  return endpoints.map(endpoint => {
    const network = networks.find(({ id }) => id === endpoint.networkId)
    const gateways = ([4, 6] as const).flatMap(family => {
      const own = endpoint.gateways.find(gateway => familyOf(gateway) === family)
      return own ?? (network === undefined ? [] : gatewaysOf(network, [family], endpoint.lease))
    })
    return { containerInterface: endpoint.containerInterface, addresses: endpoint.addresses, gateways }
  })
}

/** Brings rules and tables in a sandbox in line with its endpoints. Idempotent. @throws SyscallError */
export async function settleWays(
  sandbox: Sandbox,
  { endpoints, networks, label }: { endpoints: readonly Endpoint[]; networks: readonly Network[]; label: string },
): Promise<void> {
  // Where it is not needed it is not even loaded.
  const { settleSourceRoutes } = await import('../../drivers/network/source-routes.ts')
  settleSourceRoutes(sandbox, sourceWays(endpoints, networks), label)
}
