// Who carries a published port: the kernel translates addresses (the firewall driver), or, where it cannot, the container's
// monitor listens and passes the bytes on. It cannot for ::1, which it routes nowhere else, nor from an IPv6 address of the
// host to a container that has only IPv4. The container then sees the host as its client. Pure.

import { parseAddress, tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'

/** The ports as an endpoint on `network` has them: one that named no address is published on all of each family. */
export function onHostAddresses(ports: readonly PortMapping[], network: Network): PortMapping[] {
  const hasV6 = network.pools.some(pool => pool.subnet.includes(':'))
  const hasV4 = network.pools.some(pool => !pool.subnet.includes(':'))
  return ports.flatMap(port => {
    if (port.hostIp !== '') return [port]
    return [...(hasV4 ? [{ ...port, hostIp: '0.0.0.0' }] : []), ...(hasV6 ? [{ ...port, hostIp: '::' }] : [])]
  })
}

/** A port that the monitor holds; with `proxyTo`, an address of the container, it also carries what arrives there. */
export interface HeldPort extends PortMapping {
  readonly proxyTo?: string
}

/** What the monitor holds on the host: every published port. */
export function heldPorts(endpoint: Endpoint): HeldPort[] {
  return endpoint.ports.map(port => {
    const proxyTo = proxyTarget(port, endpoint)
    return proxyTo === undefined ? port : { ...port, proxyTo }
  })
}

/** The endpoint as the firewall driver is to see it: with the ports that the kernel carries. */
export function kernelPorts(endpoint: Endpoint): Endpoint {
  return { ...endpoint, ports: endpoint.ports.filter(port => proxyTarget(port, endpoint) === undefined) }
}

/** @throws TsrunError invalid, conflict: a port that neither the kernel nor the monitor can carry */
export function checkProxiedPorts(network: Network, endpoint: Endpoint): void {
  const { ports } = endpoint
  for (const port of ports.filter(candidate => proxyTarget(candidate, endpoint) !== undefined)) {
    const place = `[${port.hostIp}]:${port.hostPort}/${port.protocol}`
    const cannot = `cannot publish ${place} for "${endpoint.containerName}"`
    if (network.internal)
      throw new TsrunError('invalid', 'cannot-publish', `${cannot}: network "${network.name}" is internal`, {
        hint: 'connect the container to a network that is not internal as well',
      })
    if (port.protocol === 'sctp')
      throw new TsrunError('invalid', 'cannot-publish', `${cannot}: only tcp and udp can be carried from there`, {
        hint:
          port.hostIp === '::1'
            ? 'publish it on another address of the host'
            : 'use a network with an IPv6 subnet: tsrun network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 NAME',
      })
    if (ports.some(second => second !== port && isSamePort(port, second)))
      throw new TsrunError('conflict', 'port-taken', `${cannot}: the port is given twice`, {
        hint: 'leave one of the two mappings out',
      })
  }
}

/** The container's address that the monitor is to connect to, or undefined where the kernel does the work. */
function proxyTarget({ hostIp }: PortMapping, endpoint: Endpoint): string | undefined {
  if (parseAddress(hostIp).family === 4) return undefined
  // Whoever tears down may not know all addresses any more.
  const addresses = endpoint.addresses
    .map(address => address.replace(/\/.*/, ''))
    .filter(address => tryParseAddress(address) !== undefined)
  const v6 = addresses.find(address => address.includes(':'))
  return hostIp === '::1' || v6 === undefined ? (v6 ?? addresses[0]) : undefined
}

function isSamePort(a: PortMapping, b: PortMapping): boolean {
  return (
    a.protocol === b.protocol &&
    a.hostPort === b.hostPort &&
    b.hostIp.includes(':') &&
    (a.hostIp === b.hostIp || a.hostIp === '::' || b.hostIp === '::')
  )
}
