// Joins a container's sandbox to a network and takes it out again: address, link, rules and ports, tied together by an
// Endpoint. IPAM, firewall and driver know nothing of each other.

import { contains, parsePrefix, tryParseAddress } from '../../lib/ip.ts'
import { macFromBytes } from '../../lib/mac.ts'
import { doAll, type Undo } from '../../lib/rollback.ts'
import type { IpamDriver } from '../../model/ipam.ts'
import type { Lease } from '../../model/lease.ts'
import type {
  DisconnectOptions,
  Endpoint,
  FirewallDriver,
  IpamAllocator,
  Network,
  NetworkDriver,
  Pool,
  PortMapping,
} from '../../model/network.ts'
import { familyOf, withoutPrefix } from './address-text.ts'
import { kernelPorts } from './port-routes.ts'

/** The three drivers that one network needs. */
export interface NetworkDrivers {
  readonly driver: NetworkDriver
  readonly firewall: FirewallDriver
  readonly ipam: IpamAllocator
  ipamDriver(name?: string): Promise<IpamDriver>
}

/** What a container asks of one network. */
export interface EndpointRequest {
  readonly network: Network
  readonly container: { readonly id: string; readonly name: string }
  readonly hostInterface: string
  readonly containerInterface: string
  /** The families whose default route this network gives the container. */
  readonly defaultRoutes: readonly (4 | 6)[]
  /** Addresses of the user's choice, at most one of a family: an error when one cannot be had. */
  readonly ips: readonly string[]
  /** Addresses to be preferred where they are free. */
  readonly preferred?: readonly string[]
  readonly mac?: string
  readonly aliases?: readonly string[]
  readonly hostname?: string
  readonly linkLocalIps?: readonly string[]
  readonly options?: Readonly<Record<string, string>>
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
  const { network, container, aliases = [], linkLocalIps = [], options = {} } = request
  const addresses: string[] = []
  for (const pool of network.pools) addresses.push(await reserveAddress(ipam, pool, request, undo))
  const endpoint: Endpoint = {
    id: endpointId(container.id, network.id),
    networkId: network.id,
    containerId: container.id,
    containerName: container.name,
    hostInterface: request.hostInterface,
    containerInterface: request.containerInterface,
    mac: request.mac ?? deriveMac(addresses[0] ?? '', macSeed(container.id, network)),
    addresses,
    gateways: gatewaysOf(network, request.defaultRoutes),
    ports: request.ports,
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(request.hostname === undefined ? {} : { hostname: request.hostname }),
    ...(linkLocalIps.length === 0 ? {} : { linkLocalAddresses: linkLocalIps.map(withLinkLocalPrefix) }),
    ...(Object.keys(options).length === 0 ? {} : { options }),
  }
  return driver.prepareEndpoint === undefined ? endpoint : driver.prepareEndpoint(network, endpoint)
}

/** The pool that an address is of; where it is in none, the first of its family, which says so when it is asked for. */
export function poolFor(pools: readonly Pool[], address: string): Pool | undefined {
  const parsed = tryParseAddress(withoutPrefix(address))
  const holds = ({ subnet }: Pool) => parsed !== undefined && contains(parsePrefix(subnet), parsed)
  return pools.find(holds) ?? pools.find(({ subnet }) => familyOf(subnet) === familyOf(address))
}

/** The gateways of a network for the families that it gives the default route of. @param lease what one is, if not in a pool */
export function gatewaysOf(network: Network, families: readonly (4 | 6)[], lease?: Lease): string[] {
  if (network.internal) return []
  const leased = (family: 4 | 6) => (family === 4 ? lease?.gateway : undefined)
  const first = (family: 4 | 6) =>
    network.pools.find(pool => familyOf(pool.subnet) === family)?.gateway ?? leased(family)
  return families.flatMap(family => first(family) ?? [])
}

async function reserveAddress(
  ipam: IpamAllocator,
  pool: Pool,
  { network, container, ips, preferred = [] }: EndpointRequest,
  undo: Undo,
): Promise<string> {
  const ofPool = (address: string) => poolFor(network.pools, address) === pool
  const wanted = ips.find(ofPool)
  const again = preferred.find(ofPool)
  const address =
    wanted === undefined && again !== undefined
      ? // Somebody else may have it by now, or the subnet is another one.
        await ipam.requestAddress(pool, container.id, again).catch(() => ipam.requestAddress(pool, container.id))
      : await ipam.requestAddress(pool, container.id, wanted)
  // A static one is the container's for life.
  if (wanted === undefined) undo.add('address', () => ipam.releaseAddress(pool, withoutPrefix(address), container.id))
  else undo.add('address', () => {})
  return address
}

/**
 * Idempotent.
 * @param options keepAddresses: without prefix length; static ones stay the container's while it is stopped
 * @throws CleanupError with everything that could not be given back
 */
export async function disconnectSandbox(
  drivers: NetworkDrivers,
  network: Network,
  endpoint: Endpoint,
  options: DisconnectOptions & { readonly keepAddresses?: readonly string[] },
): Promise<void> {
  await doAll([
    // First: it is given back through the link.
    ['close lease', () => closeLease(drivers, network, endpoint)],
    ['remove endpoint rules', () => drivers.firewall.removeEndpoint(network, kernelPorts(endpoint))],
    ['remove link', () => drivers.driver.disconnect(network, endpoint, options)],
    // Last: an address that is given to somebody else must not have rules or a link of ours any more.
    ...endpoint.addresses.map(
      (address, index) =>
        [
          'release address',
          async () => {
            const pool = network.pools[index]
            if (pool !== undefined && options.keepAddresses?.includes(withoutPrefix(address)) !== true)
              await drivers.ipam.releaseAddress(pool, withoutPrefix(address), endpoint.containerId)
          },
        ] as const,
    ),
  ])
}

async function closeLease(drivers: NetworkDrivers, network: Network, endpoint: Endpoint): Promise<void> {
  if (network.isLeased === true) await (await drivers.ipamDriver(network.ipamDriver)).closeLease?.(endpoint)
}

/** A server must not take a container's two interfaces on one LAN for the same. */
function macSeed(containerId: string, network: Network): string {
  if (network.isLeased !== true) return containerId
  const mixed = Number.parseInt(containerId.slice(0, 8), 16) ^ Number.parseInt(network.id.slice(0, 8), 16)
  return (mixed >>> 0).toString(16).padStart(8, '0')
}

/** A locally administered address derived from the IPv4 address, as docker does: a restart with the same address keeps it. */
function deriveMac(address: string, containerId: string): string {
  const ip = withoutPrefix(address)
  const bytes = ip.includes('.') ? ip.split('.').map(Number) : [...Buffer.from(containerId.slice(0, 8), 'hex')]
  return macFromBytes(bytes)
}

/** For the record: the addresses of each network's endpoint, without prefix length. */
export function addressesByNetwork(endpoints: readonly Endpoint[]): Record<string, readonly string[]> {
  return Object.fromEntries(endpoints.map(({ networkId, addresses }) => [networkId, addresses.map(withoutPrefix)]))
}

function withLinkLocalPrefix(address: string): string {
  return `${address}/${familyOf(address) === 4 ? 16 : 64}`
}
