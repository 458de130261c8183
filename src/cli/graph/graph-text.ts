// `tsrun network graph` as a tree for the terminal. Pure.

import { printable } from '../../engine/ids.ts'
import type {
  GraphEndpoint,
  GraphInterface,
  GraphNetwork,
  GraphPeer,
  GraphSourceRoute,
  GraphTranslation,
  NetworkGraph,
} from '../../engine/network/network-graph.ts'

/** @returns lines, each with a newline */
export function renderGraphText(graph: NetworkGraph): string {
  const { ipv4, ipv6 } = graph.forwarding
  const head = `host  forwarding: IPv4 ${ipv4 ? 'on' : 'off'}, IPv6 ${ipv6 ? 'on' : 'off'}`
  const uplinks = graph.uplinks.map(link => [`${describe(link)}  default via ${link.gateways.join(', ')}`])
  const networks = graph.networks.map(network => networkBlock(network))
  return [head, ...branches([...uplinks, ...networks])].map(line => `${line}\n`).join('')
}

function networkBlock(network: GraphNetwork): string[] {
  const nature = [network.driver, ...network.subnets, ...(network.internal ? ['internal'] : [])]
  return [
    `network ${printable(network.name)}  ${nature.join('  ')}`,
    ...network.interfaces.map(describe),
    ...network.translations.map(wayOut),
    ...network.peers.map(wayToPeer),
    ...network.problems.map(wrong),
    ...branches([
      ...network.endpoints.map(endpointBlock),
      ...network.foreignPorts.map(name => [`${printable(name)}  (not tsrun's)`]),
    ]),
  ]
}

/** `10.1.0.0/24 leaves as 198.51.100.10 (masquerade)`. */
export function wayOut({ subnet, kind, addresses }: GraphTranslation): string {
  if (kind === 'none') return `${subnet} leaves as it is`
  return `${subnet} leaves as ${addresses.join(' or ') || 'the address of the interface'}${kind === 'masquerade' ? ' (masquerade)' : ''}`
}

/** `10.2.0.0/24 is at 198.51.100.21, by eth0`. */
export function wayToPeer({ subnet, address, device }: GraphPeer): string {
  return `${subnet} is at ${address}, by ${device === undefined ? '?' : printable(device)}`
}

function endpointBlock({ container, host, parent, inside, asksResolver, ports, problems }: GraphEndpoint): string[] {
  const far = inside === undefined ? '?' : end(inside)
  const shared = parent === undefined ? far : `${end(parent)} ≈≈ ${far}`
  const link = host === undefined ? shared : `${end(host)} ══ ${far}`
  const facts = [
    printable(container.name),
    ...(inside?.addresses ?? []),
    ...(inside?.gateways ?? []).map(gateway => `via ${gateway}`),
    ...(inside?.sourceRoutes ?? []).map(answer),
    ...(asksResolver ? ['names from 127.0.0.11'] : []),
    `pid ${container.pid}`,
  ]
  const addresses = (inside?.addresses ?? []).map(address => address.replace(/\/.*/, ''))
  // The monitor may carry from one family to the other.
  const target = (hostIp: string) => addresses.find(each => each.includes(':') === hostIp.includes(':')) ?? addresses[0]
  return [
    `${link}  ${facts.join('  ')}`,
    ...ports.map(
      ({ hostIp, hostPort, protocol, containerPort, carriedBy }) =>
        `   ${place(hostIp)}:${hostPort}/${protocol} → ${place(target(hostIp) ?? '?')}:${containerPort}${carriedBy === 'monitor' ? '  (through the monitor)' : ''}`,
    ),
    ...problems.map(wrong),
  ]
}

/** `from 10.1.0.2 via 10.1.0.1`: an `ip rule` and the default route of its table. */
export function answer({ address, table, gateway }: GraphSourceRoute): string {
  return `from ${address} via ${gateway ?? '?'} (table ${table})`
}

function describe(link: GraphInterface): string {
  return [end(link), ...link.addresses, `mtu ${link.mtu}`, link.mac, link.up ? 'up' : 'DOWN']
    .filter(part => part !== '')
    .join('  ')
}

function end({ name, index }: GraphInterface): string {
  return `${printable(name)} (${index})`
}

/** An address as it stands before a port. */
export function place(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

function wrong(problem: string): string {
  return `✗ ${printable(problem)}`
}

/** Blocks of lines below one another, joined by a trunk on their left. */
function branches(blocks: readonly (readonly string[])[]): string[] {
  return blocks.flatMap((block, index) => {
    const isLast = index === blocks.length - 1
    return block.map((line, at) => `${at === 0 ? (isLast ? '└─ ' : '├─ ') : isLast ? '   ' : '│  '}${line}`)
  })
}
