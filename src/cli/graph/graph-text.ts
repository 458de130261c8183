// `tsrun network graph` as a tree for the terminal. Pure.

import { printable } from '../../engine/ids.ts'
import type { GraphEndpoint, GraphInterface, GraphNetwork, NetworkGraph } from '../../engine/network/network-graph.ts'

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
    ...network.problems.map(wrong),
    ...branches([
      ...network.endpoints.map(endpointBlock),
      ...network.foreignPorts.map(name => [`${printable(name)}  (not tsrun's)`]),
    ]),
  ]
}

function endpointBlock({ container, host, inside, ports, problems }: GraphEndpoint): string[] {
  const far = inside === undefined ? '?' : end(inside)
  const link = host === undefined ? far : `${end(host)} ══ ${far}`
  const facts = [
    printable(container.name),
    ...(inside?.addresses ?? []),
    ...(inside?.gateways ?? []).map(gateway => `via ${gateway}`),
    `pid ${container.pid}`,
  ]
  const address = inside?.addresses[0]?.replace(/\/.*/, '') ?? '?'
  return [
    `${link}  ${facts.join('  ')}`,
    ...ports.map(
      ({ hostIp, hostPort, protocol, containerPort, carriedBy }) =>
        `   ${place(hostIp)}:${hostPort}/${protocol} → ${place(address)}:${containerPort}${carriedBy === 'monitor' ? '  (through the monitor)' : ''}`,
    ),
    ...problems.map(wrong),
  ]
}

function describe(link: GraphInterface): string {
  return [end(link), ...link.addresses, `mtu ${link.mtu}`, link.mac, link.up ? 'up' : 'DOWN']
    .filter(part => part !== '')
    .join('  ')
}

function end({ name, index }: GraphInterface): string {
  return `${printable(name)} (${index})`
}

function place(address: string): string {
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
