// What of the networks really stands in the kernel: the host's way out, each network's interface, each veth pair by both of
// its ends, addresses, ports and address translation. What the records say should be there and is not is a problem.

import { isRouted } from '../../drivers/firewall/network-elements.ts'
import { type PublishedPort, readPublishedPorts } from '../../drivers/firewall/read-ports.ts'
import { readSources } from '../../drivers/firewall/read-sources.ts'
import { inspectPeers } from '../../drivers/network/peer-routes.ts'
import { listSourceRoutes, type SourceWay, sourceRouteProblems } from '../../drivers/network/source-routes.ts'
import { listAddresses } from '../../kernel/netlink/address.ts'
import { getLink, type Link, listLinks } from '../../kernel/netlink/link.ts'
import { listRoutes, type Route } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { readSysctl } from '../../kernel/sysctl.ts'
import type { RunRecord } from '../../model/container.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'
import { withContainerSocket } from '../container/container-netns.ts'
import { isAlive } from '../container/container-store.ts'
import { shortId } from '../ids.ts'
import { heldPorts, kernelPorts } from './port-routes.ts'
import { sourceWays } from './source-ways.ts'

/** One interface, in whichever namespace. */
export interface GraphInterface {
  readonly name: string
  readonly index: number
  readonly kind: string
  readonly up: boolean
  readonly mtu: number
  readonly mac: string
  /** With prefix length. */
  readonly addresses: readonly string[]
}

/** A routing rule and its table, as they stand in a container: by which gateway it answers from an address. */
export interface GraphSourceRoute {
  readonly address: string
  readonly table: number
  /** Absent where the table has no default route. */
  readonly gateway?: string
}

/** One end of a container on a network. */
export interface GraphEndpoint {
  readonly container: { readonly id: string; readonly name: string; readonly pid: number }
  /** The end in the host's namespace; absent where the driver makes none, or where it is gone. */
  readonly host?: GraphInterface
  /** The host's interface that the container shares, where there is no end in the host's namespace (macvlan, ipvlan). */
  readonly parent?: GraphInterface
  /** Whether it asks tsrun's resolver for names. */
  readonly asksResolver: boolean
  /** The end in the container's namespace. */
  readonly inside?: GraphInterface & {
    /** Of the main table: the way out. */
    readonly gateways: readonly string[]
    /** Where the container has several ways out; else none. */
    readonly sourceRoutes: readonly GraphSourceRoute[]
  }
  /** `kernel`: translated by a rule; `monitor`: carried by the container's monitor. */
  readonly ports: readonly (PortMapping & { readonly carriedBy: 'kernel' | 'monitor' })[]
  readonly problems: readonly string[]
}

/** Address translation on the way out, as it stands in the kernel. */
export interface GraphTranslation {
  readonly subnet: string
  /**
   * `masquerade`: that of the interface by which they leave; `fixed`: `addresses`, whichever interface; `none`: the container's own.
   */
  readonly kind: 'masquerade' | 'fixed' | 'none'
  /** What the outside sees; with `masquerade` those of the interfaces with a default route. */
  readonly addresses: readonly string[]
}

/** A subnet on another host, and the way to it. */
export interface GraphPeer {
  readonly subnet: string
  /** Of that host, or of a router that leads to it. */
  readonly address: string
  /** The host's interface by which packets leave; absent where the route is missing. */
  readonly device?: string
}

/** A network in the graph. */
export interface GraphNetwork {
  readonly id: string
  readonly name: string
  readonly driver: string
  readonly subnets: readonly string[]
  readonly internal: boolean
  /** Under which address packets leave the host, for each subnet whose packets pass through it and may leave. */
  readonly translations: readonly GraphTranslation[]
  /** The host's interfaces of the network, e.g. its bridge; more than one where one bridge was not enough. */
  readonly interfaces: readonly GraphInterface[]
  readonly endpoints: readonly GraphEndpoint[]
  /** The networks on other hosts that it is joined with, and whether the route to each stands. */
  readonly peers: readonly GraphPeer[]
  /** Interfaces plugged into the bridge that are not tsrun's. */
  readonly foreignPorts: readonly string[]
  readonly problems: readonly string[]
}

/** Who is joined with whom. */
export interface NetworkGraph {
  /** Where packets for elsewhere leave the host. */
  readonly uplinks: readonly (GraphInterface & { readonly gateways: readonly string[] })[]
  readonly forwarding: { readonly ipv4: boolean; readonly ipv6: boolean }
  readonly networks: readonly GraphNetwork[]
}

/** What the records say. */
export interface GraphFacts {
  /** All networks of this engine. */
  readonly all: readonly Network[]
  /** The engine's nftables table. */
  readonly tableName: string
  /** Whether a container was given tsrun's resolver. */
  readonly asksResolver: (id: string) => boolean
}

/**
 * @param networks those to look at
 * @param records of this engine's containers
 */
export function collectGraph(
  networks: readonly Network[],
  records: readonly RunRecord[],
  { all, tableName, asksResolver }: GraphFacts,
): NetworkGraph {
  const running = records.filter(isAlive)
  const published = readPublishedPorts(tableName)
  return withNetlinkSocket(host => {
    const links = listLinks(host)
    const uplinks = findUplinks(host, links)
    const scene = { host, links, uplinks, published, running, all, tableName, asksResolver }
    return {
      uplinks,
      forwarding: {
        ipv4: readSysctl(['net', 'ipv4', 'ip_forward']) === '1',
        ipv6: readSysctl(['net', 'ipv6', 'conf', 'all', 'forwarding']) === '1',
      },
      networks: networks.map(network => describeNetwork(scene, network)),
    }
  })
}

interface Scene extends GraphFacts {
  readonly host: NetlinkSocket
  readonly links: readonly Link[]
  readonly uplinks: NetworkGraph['uplinks']
  readonly published: readonly PublishedPort[]
  readonly running: readonly RunRecord[]
}

function findUplinks(host: NetlinkSocket, links: readonly Link[]): NetworkGraph['uplinks'] {
  const routes = defaultRoutes(host)
  return links.flatMap(link => {
    const gateways = gatewaysOf(link, routes)
    return gateways.length === 0 ? [] : [{ ...toInterface(host, link), gateways }]
  })
}

function defaultRoutes(socket: NetlinkSocket): Route[] {
  return [...listRoutes(socket, 4), ...listRoutes(socket, 6)].filter(route => route.destination === undefined)
}

function gatewaysOf(link: Link, routes: readonly Route[]): string[] {
  return routes.flatMap(({ index, gateway }) => (index === link.index ? [gateway ?? 'on the link'] : []))
}

function describeNetwork(scene: Scene, network: Network): GraphNetwork {
  const { host, links, running } = scene
  const names = [
    ...(network.hostInterface === undefined ? [] : [network.hostInterface]),
    ...(network.furtherInterfaces ?? []),
  ]
  const own = links.filter(link => names.includes(link.name))
  const endpoints = running.flatMap(run =>
    run.endpoints
      .filter(endpoint => endpoint.networkId === network.id)
      .map(endpoint => describeEndpoint(scene, network, { run, endpoint, own })),
  )
  const known = new Set(endpoints.flatMap(endpoint => endpoint.host?.name ?? []))
  const isPortOf = (link: Link) => own.some(bridge => bridge.index === link.master)
  const foreignPorts = links.filter(link => isPortOf(link) && !known.has(link.name))
  const missing = names.filter(name => !own.some(link => link.name === name))
  const { translations, unknown } = describeTranslations(scene, network)
  const peers = inspectPeers(host, network)
  const problems = [
    ...unknown.map(subnet => `no rules for ${subnet}`),
    ...peers.filter(({ route }) => route === 'missing').map(({ subnet }) => `no route to ${subnet}`),
    ...missing.map(name => `no interface "${name}"`),
    ...own.filter(link => !link.up).map(link => `"${link.name}" is down`),
  ]
  return {
    id: network.id,
    name: network.name,
    driver: network.driver,
    subnets: network.pools.map(pool => pool.subnet),
    internal: network.internal,
    translations,
    interfaces: own.map(link => toInterface(host, link)),
    endpoints,
    peers: peers.map(({ route: _route, ...peer }) => peer),
    foreignPorts: foreignPorts.map(link => link.name),
    problems,
  }
}

function describeTranslations(
  { uplinks, tableName }: Scene,
  network: Network,
): { translations: GraphTranslation[]; unknown: string[] } {
  if (!isRouted(network)) return { translations: [], unknown: [] }
  const subnets = network.pools.map(pool => pool.subnet)
  const found = readSources(tableName, subnets).map((source, at) => ({ subnet: subnets[at] ?? '', source }))
  const unknown = found.flatMap(({ subnet, source }) => (source === undefined ? [subnet] : []))
  if (network.internal) return { translations: [], unknown }
  const translations = found.flatMap(({ subnet, source }): GraphTranslation[] => {
    if (source === undefined) return []
    if (source === 'unchanged') return [{ subnet, kind: 'none', addresses: [] }]
    if (source !== 'masquerade') return [{ subnet, kind: 'fixed', addresses: [source.address] }]
    const ofFamily = (address: string) => address.includes(':') === subnet.includes(':') && !address.startsWith('fe80:')
    const addresses = uplinks.flatMap(uplink => uplink.addresses.filter(ofFamily).slice(0, 1))
    return [{ subnet, kind: 'masquerade', addresses: addresses.map(address => address.replace(/\/.*/, '')) }]
  })
  return { translations, unknown }
}

function describeEndpoint(
  scene: Scene,
  network: Network,
  { run, endpoint, own }: { readonly run: RunRecord; readonly endpoint: Endpoint; readonly own: readonly Link[] },
): GraphEndpoint {
  const { host, links, published } = scene
  const problems: string[] = []
  const outer = links.find(link => link.name === endpoint.hostInterface)
  const { inside, ...found } = lookInside(run, endpoint, sourceWays(run.endpoints, scene.all))
  const parent = links.find(link => link.name === network.options.parent)
  if (network.options.parent !== undefined && parent === undefined)
    problems.push(`no interface "${network.options.parent}" on the host`)
  if (inside === undefined) problems.push(`no interface "${endpoint.containerInterface}" in the container`)
  else if (!inside.up) problems.push(`"${inside.name}" is down in the container`)
  for (const address of endpoint.addresses)
    if (inside?.addresses.includes(address) === false) problems.push(`address ${address} is missing in the container`)
  problems.push(...found.problems.map(problem => `${problem} in the container`))
  const bridges = own.filter(link => link.kind === 'bridge')
  if (endpoint.hostInterface !== undefined && bridges.length > 0) {
    const [first] = bridges
    if (outer === undefined) problems.push(`no interface "${endpoint.hostInterface}" on the host`)
    else if (!bridges.some(bridge => bridge.index === outer.master))
      problems.push(`"${outer.name}" is not plugged into "${first?.name}"`)
    else if (!outer.up) problems.push(`"${outer.name}" is down`)
  }
  const byKernel = kernelPorts(endpoint).ports
  const ports = heldPorts(endpoint).map(({ proxyTo: _target, optional: _optional, ...port }) => ({
    ...port,
    // Of `::` the monitor carries what comes to ::1, and the kernel the rest.
    carriedBy: byKernel.some(each => isSamePlace(each, port)) ? ('kernel' as const) : ('monitor' as const),
  }))
  for (const port of ports)
    if (port.carriedBy === 'kernel' && !published.some(found => isSame(found, port, endpoint)))
      problems.push(`no rule for ${port.hostIp}:${port.hostPort}/${port.protocol}`)
  return {
    container: { id: endpoint.containerId, name: endpoint.containerName, pid: run.pid },
    ...(outer === undefined ? {} : { host: toInterface(host, outer) }),
    ...(parent === undefined ? {} : { parent: toInterface(host, parent) }),
    asksResolver: scene.asksResolver(endpoint.containerId),
    ...(inside === undefined ? {} : { inside }),
    ports,
    problems,
  }
}

function isSamePlace(a: PortMapping, b: PortMapping): boolean {
  return a.hostIp === b.hostIp && a.hostPort === b.hostPort && a.protocol === b.protocol
}

function isSame(found: PublishedPort, port: PortMapping, endpoint: Endpoint): boolean {
  return (
    found.owner.container === shortId(endpoint.containerId) &&
    found.protocol === port.protocol &&
    found.hostIp === port.hostIp &&
    found.hostPort === port.hostPort &&
    found.containerPort === port.containerPort
  )
}

function lookInside(
  run: RunRecord,
  endpoint: Endpoint,
  ways: readonly SourceWay[],
): { readonly inside?: GraphEndpoint['inside']; readonly problems: readonly string[] } {
  return withContainerSocket(run, endpoint.containerName, socket => {
    const link = getLink(socket, endpoint.containerInterface)
    if (link === undefined) return { problems: [] }
    const gateways = gatewaysOf(link, defaultRoutes(socket))
    return {
      inside: { ...toInterface(socket, link), gateways, sourceRoutes: listSourceRoutes(socket, link.index) },
      problems: sourceRouteProblems(socket, ways, link.name),
    }
  })
}

function toInterface(socket: NetlinkSocket, link: Link): GraphInterface {
  return {
    name: link.name,
    index: link.index,
    kind: link.kind ?? 'device',
    up: link.up,
    mtu: link.mtu,
    mac: link.mac,
    addresses: listAddresses(socket, link.index),
  }
}
