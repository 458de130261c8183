// Joins a container's sandbox to a network and takes it out again: address, link, rules and ports, tied together by an
// Endpoint. IPAM, firewall and driver know nothing of each other.

import { doAll, type Undo } from '../../lib/rollback.ts'
import type {
  DisconnectOptions,
  Endpoint,
  FirewallDriver,
  IpamAllocator,
  Network,
  NetworkDriver,
  PortMapping,
} from '../../model/network.ts'
import { kernelPorts } from './port-routes.ts'

/** The three drivers that one network needs. */
export interface NetworkDrivers {
  readonly driver: NetworkDriver
  readonly firewall: FirewallDriver
  readonly ipam: IpamAllocator
}

/** What a container asks of one network. */
export interface EndpointRequest {
  readonly network: Network
  readonly container: { readonly id: string; readonly name: string }
  readonly hostInterface: string
  readonly containerInterface: string
  /** Whether this network gives the container its default route. */
  readonly isDefaultRoute: boolean
  readonly ip?: string
  readonly mac?: string
  readonly ports: readonly PortMapping[]
}

/** The id of the endpoint that joins a container to a network: the same at every start. */
export function endpointId(containerId: string, networkId: string): string {
  return `${containerId.slice(0, 32)}${networkId.slice(0, 32)}`
}

/** Takes the addresses. @returns the endpoint, for the record; nothing of it is in the kernel yet */
export async function reserveEndpoint(
  { driver, ipam }: Pick<NetworkDrivers, 'driver' | 'ipam'>,
  request: EndpointRequest,
  undo: Undo,
): Promise<Endpoint> {
  const { network, container } = request
  const addresses: string[] = []
  for (const pool of network.pools) {
    const isV6 = pool.subnet.includes(':')
    const wanted = request.ip !== undefined && request.ip.includes(':') === isV6 ? request.ip : undefined
    const address = await ipam.requestAddress(pool, container.id, wanted)
    undo.add('address', () => ipam.releaseAddress(pool, withoutPrefix(address), container.id))
    addresses.push(address)
  }
  const endpoint: Endpoint = {
    id: endpointId(container.id, network.id),
    networkId: network.id,
    containerId: container.id,
    containerName: container.name,
    hostInterface: request.hostInterface,
    containerInterface: request.containerInterface,
    mac: request.mac ?? deriveMac(addresses[0] ?? '', container.id),
    addresses,
    gateways: request.isDefaultRoute && !network.internal ? network.pools.map(pool => pool.gateway) : [],
    ports: request.ports,
  }
  return driver.prepareEndpoint === undefined ? endpoint : driver.prepareEndpoint(network, endpoint)
}

/** Idempotent. @throws CleanupError with everything that could not be given back */
export async function disconnectSandbox(
  drivers: NetworkDrivers,
  network: Network,
  endpoint: Endpoint,
  options: DisconnectOptions,
): Promise<void> {
  await doAll([
    ['remove endpoint rules', () => drivers.firewall.removeEndpoint(network, kernelPorts(endpoint))],
    ['remove link', () => drivers.driver.disconnect(network, endpoint, options)],
    // Last: an address that is given to somebody else must not have rules or a link of ours any more.
    ...endpoint.addresses.map(
      (address, index) =>
        [
          'release address',
          async () => {
            const pool = network.pools[index]
            if (pool !== undefined)
              await drivers.ipam.releaseAddress(pool, withoutPrefix(address), endpoint.containerId)
          },
        ] as const,
    ),
  ])
}

/** A locally administered address derived from the IPv4 address, as docker does: a restart with the same address keeps it. */
function deriveMac(address: string, containerId: string): string {
  const ip = withoutPrefix(address)
  const bytes = ip.includes('.') ? ip.split('.').map(Number) : [...Buffer.from(containerId.slice(0, 8), 'hex')]
  return ['02', '42', ...bytes.map(byte => byte.toString(16).padStart(2, '0'))].join(':')
}

export function withoutPrefix(address: string): string {
  const at = address.indexOf('/')
  return at < 0 ? address : address.slice(0, at)
}
