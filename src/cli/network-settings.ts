// `NetworkSettings` of docker's inspect: a container's networks, those it is on now and those it will join at its start.

import type { Container, NetworkAttachment } from '../model/container.ts'
import type { Lease } from '../model/lease.ts'
import { type Endpoint, type Network, namesOf } from '../model/network.ts'
import { portMap } from './port-map.ts'

/** @param endpoints those of a container that runs @param networks all that there are */
export function inspectNetworks(
  { spec }: Container,
  endpoints: readonly Endpoint[],
  networks: readonly Network[],
): unknown {
  const wanted: readonly NetworkAttachment[] = spec.networks?.length ? spec.networks : [{ network: 'bridge' }]
  const byName: Record<string, unknown> = {}
  for (const attachment of wanted.filter(({ network }) => !/^(container|ns):/.test(network))) {
    const network = networks.find(({ name, id }) => name === attachment.network || id === attachment.network)
    const endpoint = endpoints.find(({ networkId }) => networkId === network?.id)
    byName[network?.name ?? attachment.network] = settingsOf(endpoint, network, attachment)
  }
  const first = endpoints[0]
  return {
    Bridge: '',
    SandboxID: '',
    SandboxKey: '',
    Ports: portMap(endpoints.flatMap(endpoint => endpoint.ports)),
    // Of its first network: where scripts have looked since before there were several.
    ...addressesOf(
      first,
      networks.find(({ id }) => id === first?.networkId),
    ),
    Networks: byName,
  }
}

function settingsOf(endpoint: Endpoint | undefined, network: Network | undefined, attachment: NetworkAttachment) {
  const { aliases, ip, ip6, linkLocalIps, driverOptions, gwPriority = 0 } = attachment
  const v6 = ip6 ?? (ip?.includes(':') === true ? ip : undefined)
  const v4 = ip?.includes(':') === true ? undefined : ip
  const isStatic = [v4, v6, linkLocalIps].some(wish => wish !== undefined)
  return {
    IPAMConfig: isStatic
      ? {
          ...(v4 === undefined ? {} : { IPv4Address: v4 }),
          ...(v6 === undefined ? {} : { IPv6Address: v6 }),
          ...(linkLocalIps === undefined ? {} : { LinkLocalIPs: linkLocalIps }),
        }
      : null,
    Links: null,
    Aliases: aliases ?? null,
    DriverOpts: driverOptions ?? null,
    GwPriority: gwPriority,
    NetworkID: network?.id ?? '',
    ...addressesOf(endpoint, network),
    DNSNames: endpoint === undefined ? null : namesOf(endpoint),
    HostInterface: endpoint?.hostInterface ?? '',
    Interface: endpoint?.containerInterface ?? '',
    ...(endpoint?.lease === undefined ? {} : { Lease: leaseOf(endpoint.lease) }),
  }
}

/** Docker has nothing like it. */
function leaseOf({ server, seconds, obtainedAt, dnsServers, searchDomains, mtu, routes }: Lease) {
  return {
    Server: server,
    Seconds: seconds,
    ObtainedAt: obtainedAt,
    DNSServers: dnsServers,
    SearchDomains: searchDomains,
    MTU: mtu ?? null,
    Routes: routes.map(({ destination, gateway = '' }) => ({ Destination: destination, Gateway: gateway })),
  }
}

function addressesOf(endpoint: Endpoint | undefined, network: Network | undefined) {
  const v4 = endpoint?.addresses.find(a => !a.includes(':'))?.split('/') ?? []
  const v6 = endpoint?.addresses.find(a => a.includes(':'))?.split('/') ?? []
  // Also where another network is the way out: it is the gateway of this one.
  const gateways =
    endpoint === undefined || network?.internal === true
      ? []
      : [
          ...endpoint.gateways,
          ...(network?.pools ?? []).map(({ gateway }) => gateway),
          ...(endpoint.lease?.gateway === undefined ? [] : [endpoint.lease.gateway]),
        ]
  return {
    EndpointID: endpoint?.id ?? '',
    Gateway: gateways.find(g => !g.includes(':')) ?? '',
    IPAddress: v4[0] ?? '',
    IPPrefixLen: Number(v4[1] ?? 0),
    IPv6Gateway: gateways.find(g => g.includes(':')) ?? '',
    GlobalIPv6Address: v6[0] ?? '',
    GlobalIPv6PrefixLen: Number(v6[1] ?? 0),
    MacAddress: endpoint?.mac ?? '',
  }
}
