// Who carries a published port: the kernel translates addresses (the firewall driver), or the container's monitor listens and
// passes the bytes on: where the user wants the host's INPUT rules to decide (publish-mode=proxy), and where the kernel cannot:
// for ::1, which it routes nowhere else, and from an IPv6 address of the host to a container that has only IPv4, or the other
// way round. The container then sees the host as its client. Pure.

import { tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'
import { policyOf } from '../../model/network-policy.ts'

/**
 * The ports as an endpoint on `network` has them: one that named no address is published where the network says, else on all
 * addresses of each family that it has.
 */
export function onHostAddresses(ports: readonly PortMapping[], network: Network): PortMapping[] {
  const hasV6 = network.pools.some(pool => pool.subnet.includes(':'))
  // Without any, the driver has its say.
  const hasV4 = !hasV6 || network.pools.some(pool => !pool.subnet.includes(':'))
  const { hostBinding, publishMode } = policyOf(network)
  const everywhere = [...(hasV4 ? ['0.0.0.0'] : []), ...(hasV6 ? ['::'] : [])]
  const places = hostBinding.length > 0 ? hostBinding : everywhere
  return ports.flatMap(port => {
    const carried = publishMode === 'nat' ? port : { publishMode, ...port }
    if (port.hostIp !== '') return [carried]
    const alsoLoopback6 = !hasV6 && places === everywhere
    return places.map(hostIp => ({ ...carried, hostIp, ...(alsoLoopback6 ? { alsoLoopback6 } : {}) }))
  })
}

/** A port that the monitor holds; with `proxyTo`, an address of the container, it also carries what arrives there. */
export interface HeldPort extends PortMapping {
  readonly proxyTo?: string
  /** Passed over when it cannot be had. */
  readonly optional?: boolean
}

/** What the monitor holds on the host: every published port, and what the kernel leaves out of it. */
export function heldPorts(endpoint: Endpoint): HeldPort[] {
  const targetOf = proxyTargets(endpoint)
  return endpoint.ports.flatMap((port): HeldPort[] => {
    const proxyTo = targetOf(port) ?? leftOver(port, targetOf)
    const held = proxyTo === undefined ? port : { ...port, proxyTo }
    const loopback = port.alsoLoopback6 === true ? loopback6(port, targetOf) : undefined
    return loopback === undefined ? [held] : [held, loopback]
  })
}

/** The kernel carries what comes to `::` but for ::1: that is all that reaches the monitor's socket. */
function leftOver({ hostIp, protocol }: PortMapping, targetOf: ProxyTargets): string | undefined {
  return hostIp !== '::' || protocol === 'sctp' ? undefined : targetOf({ hostIp: '::1' })
}

/** Where the host has no IPv6, or somebody else has that port of ::1, the container does without. */
function loopback6({ protocol, hostPort, containerPort }: PortMapping, targetOf: ProxyTargets): HeldPort | undefined {
  const mapping = { protocol, hostIp: '::1', hostPort, containerPort }
  const proxyTo = protocol === 'sctp' ? undefined : targetOf(mapping)
  return proxyTo === undefined ? undefined : { ...mapping, proxyTo, optional: true }
}

/** The endpoint as the firewall driver is to see it: with the ports that the kernel carries. */
export function kernelPorts(endpoint: Endpoint): Endpoint {
  const targetOf = proxyTargets(endpoint)
  return { ...endpoint, ports: endpoint.ports.filter(port => targetOf(port) === undefined) }
}

/** @throws TsrunError invalid, conflict: a port that neither the kernel nor the monitor can carry */
export function checkProxiedPorts(network: Network, endpoint: Endpoint): void {
  const { ports } = endpoint
  const targetOf = proxyTargets(endpoint)
  for (const port of ports.filter(candidate => targetOf(candidate) !== undefined)) {
    const host = port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp
    const place = `${host}:${port.hostPort}/${port.protocol}`
    const cannot = `cannot publish ${place} for "${endpoint.containerName}"`
    if (network.internal)
      throw new TsrunError('invalid', 'cannot-publish', `${cannot}: network "${network.name}" is internal`, {
        hint: 'connect the container to a network that is not internal as well',
      })
    if (port.protocol === 'sctp')
      throw new TsrunError('invalid', 'cannot-publish', `${cannot}: only tcp and udp can be carried from there`, {
        hint:
          port.publishMode === 'proxy'
            ? 'publish it with --publish-mode nat'
            : port.hostIp === '::1'
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
type ProxyTargets = (port: Pick<PortMapping, 'hostIp' | 'publishMode'>) => string | undefined

function proxyTargets(endpoint: Endpoint): ProxyTargets {
  // Whoever tears down may not know all addresses any more.
  const addresses = endpoint.addresses
    .map(address => address.replace(/\/.*/, ''))
    .filter(address => tryParseAddress(address) !== undefined)
  const first4 = addresses.find(address => !address.includes(':'))
  const first6 = addresses.find(address => address.includes(':'))
  return ({ hostIp, publishMode }) => {
    const own = hostIp.includes(':') ? first6 : first4
    if (publishMode === 'proxy' || hostIp === '::1') return own ?? addresses[0]
    return own === undefined ? addresses[0] : undefined
  }
}

/** Whether no two can have both: the same port, and an address in common. */
export function isSamePort(a: PortMapping, b: PortMapping): boolean {
  const isAny = ({ hostIp }: PortMapping) => hostIp === '0.0.0.0' || hostIp === '::'
  return (
    a.protocol === b.protocol &&
    a.hostPort === b.hostPort &&
    a.hostIp.includes(':') === b.hostIp.includes(':') &&
    (a.hostIp === b.hostIp || isAny(a) || isAny(b))
  )
}
