// A network under docker's field names.

import type { Engine } from '../engine/engine.ts'

/** The object that `docker network inspect` prints, plus what stands in the kernel. @throws TsrunError not-found */
export async function inspectNetwork(engine: Engine, reference: string): Promise<unknown> {
  const { network, endpoints, kernel, usage } = await engine.networks.inspect(reference)
  return {
    Name: network.name,
    Id: network.id,
    Created: network.createdAt,
    Scope: 'local',
    Driver: network.driver,
    EnableIPv6: network.pools.some(pool => pool.subnet.includes(':')),
    IPAM: {
      Driver: network.ipamDriver ?? 'file',
      ...(network.ipamOptions === undefined ? {} : { Options: network.ipamOptions }),
      Config: network.pools.map(pool => ({
        Subnet: pool.subnet,
        Gateway: pool.gateway,
        ...(pool.ipRange === undefined ? {} : { IPRange: pool.ipRange }),
        ...(pool.auxiliary === undefined ? {} : { AuxiliaryAddresses: pool.auxiliary }),
      })),
    },
    Internal: network.internal,
    ...(network.peers === undefined ? {} : { Peers: network.peers }),
    Containers: Object.fromEntries(
      endpoints.map(endpoint => [
        endpoint.containerId,
        {
          Name: endpoint.containerName,
          EndpointID: endpoint.id,
          MacAddress: endpoint.mac,
          IPv4Address: endpoint.addresses.find(a => !a.includes(':')) ?? '',
          IPv6Address: endpoint.addresses.find(a => a.includes(':')) ?? '',
          HostInterface: endpoint.hostInterface ?? '',
        },
      ]),
    ),
    Options: network.options,
    Labels: network.labels,
    Status: {
      IPAM: {
        Subnets: Object.fromEntries(
          usage.map(({ subnet, inUse, available }) => [
            subnet,
            { IPsInUse: inUse, DynamicIPsAvailable: exactly(available) },
          ]),
        ),
      },
    },
    Kernel: kernel,
  }
}

/** As JSON has it without loss: a number, or, above 2^53 - 1, its digits as a string. */
function exactly(count: bigint): number | string {
  return count <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(count) : String(count)
}
