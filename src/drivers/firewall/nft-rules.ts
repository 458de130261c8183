// The rules, as text and elements; nothing here touches the kernel. The chains are the same for every network and
// never change: a network or a published port is nothing but elements of their sets, so that ten thousand networks
// cost a packet no more than one. docs/design/firewall.md explains each rule and lists the attacks they are there for.

import {
  addressField,
  elementText,
  type Field,
  nameField,
  numberField,
  portField,
  protocolField,
  type SetElement,
  subnetField,
} from '../../kernel/nftables/elements.ts'
import { type IpAddress, parseAddress, parsePrefix, tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'

/** Set on every packet that our forward chain admits. One rule in a foreign chain lets them pass. */
export const admittedMark = 0x02000000

/** Changes whenever the base rules do: tables with other rules are replaced. */
export const layoutSet = 'layout_1'

/** The chains and sets of a table, as an nft script that fails if the table exists. */
export function baseRuleset(table: string): string {
  const mark = `0x${admittedMark.toString(16).padStart(8, '0')}`
  return `create table inet ${table}
table inet ${table} {
  set ${layoutSet} { type mark; }
  set bridges { type ifname; }
  set same { type ifname . ifname; }
  set internal { type ifname; }
  set subnets4 { type ipv4_addr; flags interval; }
  set subnets6 { type ipv6_addr; flags interval; }

  set published { type ifname . ifname; }
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map addr4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
  map addr6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
  set held4 { type inet_proto . inet_service; }
  set held6 { type inet_proto . inet_service; }

  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname "lo" accept
    ip daddr 127.0.0.0/8 drop comment "loopback addresses from outside: bridges have route_localnet"
    iifname @bridges accept
    ip daddr @subnets4 drop comment "straight to a container, not through a published port"
    ip6 daddr @subnets6 drop comment "straight to a container, not through a published port"
  }

  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp, sctp } fib daddr type local goto publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    meta l4proto { tcp, udp, sctp } fib daddr type local goto publish
  }
  chain publish {
    meta nfproto ipv6 goto publish6
    dnat ip to meta l4proto . ip daddr . th dport map @addr4
    meta l4proto . th dport @held4 return
    dnat ip to meta l4proto . th dport map @any4
  }
  chain publish6 {
    ip6 daddr ::1 return
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @addr6
    meta l4proto . th dport @held6 return
    dnat ip6 to meta l4proto . th dport map @any6
  }

  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    iifname @bridges goto from_bridge
    oifname @bridges goto to_bridge
  }
  chain from_bridge {
    iifname . oifname @same goto admit
    iifname @internal drop
    oifname @bridges goto to_bridge
    ct state invalid drop
    goto admit
  }
  chain to_bridge {
    oifname @internal drop
    ct state established,related goto admit
    ct status dnat goto admit
    drop
  }
  chain admit {
    meta mark set meta mark | ${mark} accept
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges goto enter_bridge
    oifname "lo" accept
    ip saddr @subnets4 ip daddr != 224.0.0.0/4 masquerade
    ip6 saddr @subnets6 ip6 daddr != ff00::/8 masquerade
  }
  chain enter_bridge {
    ip saddr 127.0.0.0/8 masquerade comment "the host to a port on 127.0.0.1"
    ct status dnat ip saddr @subnets4 masquerade comment "a container to a port of itself or of a peer"
    ct status dnat ip6 saddr @subnets6 masquerade comment "a container to a port of itself or of a peer"
  }
}
add element inet ${table} ${layoutSet} { 1 }
`
}

/** What makes the chains know a network. The first element is the one that says whether it is known already. */
export function networkElements(network: Network): SetElement[] {
  const { hostInterface: bridge } = network
  if (bridge === undefined) return []
  const comment = `tsrun:${network.id.slice(0, 12)} ${network.name}`.slice(0, 100)
  return [
    { set: 'bridges', key: [nameField(bridge)], comment },
    { set: 'same', key: [nameField(bridge), nameField(bridge)], comment },
    ...(network.internal ? [{ set: 'internal', key: [nameField(bridge)], comment }] : []),
    ...network.pools.map(pool => {
      const prefix = parsePrefix(pool.subnet)
      return { set: prefix.family === 4 ? 'subnets4' : 'subnets6', key: [subnetField(prefix)], comment }
    }),
  ]
}

/** The element that a script or transaction touches to make sure of the layout. */
export const layoutElement: SetElement = { set: layoutSet, key: [numberField(1)] }

/** What should stand: all networks, and the endpoints of all running containers. */
export interface FirewallSnapshot {
  readonly networks: readonly Network[]
  readonly endpoints: readonly Endpoint[]
}

/** An element and the mapping it is there for. */
export interface PortElement {
  readonly element: SetElement
  readonly mapping: PortMapping
}

/** What publishes an endpoint's ports. */
export interface PublishedElements {
  /** One for the endpoint: whoever deletes it owns the rest. Added only with ports. */
  readonly owner: SetElement
  /** One for each mapping. A second one with the same key is a clash. */
  readonly ports: readonly PortElement[]
  /** Shared by all that publish a port on single addresses: they keep `0.0.0.0` off that port. */
  readonly shared: readonly PortElement[]
}

/** @throws TsrunError invalid when a port cannot be published for this endpoint */
export function endpointElements(network: Network, endpoint: Endpoint): PublishedElements {
  const comment = endpointComment(endpoint)
  const targets = new Map(endpoint.addresses.flatMap(withoutPrefix).map(to => [to.family, addressField(to)]))
  const shared = new Map<string, PortElement>()
  const ports = endpoint.ports.map(mapping => {
    if (network.internal)
      throw cannotPublish(endpoint, mapping, `network "${network.name}" is internal`, {
        hint: 'connect the container to a network that is not internal as well',
      })
    const { set, key, family } = mappingKey(mapping)
    const target = targets.get(family)
    if (target === undefined)
      throw cannotPublish(endpoint, mapping, `it has no IPv${family} address on network "${network.name}"`)
    for (const element of heldElements(mapping)) shared.set(identityOf(element), { element, mapping })
    return { element: { set, key, data: [target, portField(mapping.containerPort)], comment }, mapping }
  })
  return { owner: ownerElement(endpoint), ports, shared: [...shared.values()] }
}

/** The address in `192.168.0.2/24`, or nothing: whoever tears down may not know all addresses any more. */
function withoutPrefix(text: string): IpAddress[] {
  const address = tryParseAddress(text.replace(/\/.*/, ''))
  return address === undefined ? [] : [address]
}

/** The element that says that the endpoint's ports are there, and in its comment which. */
function ownerElement(endpoint: Endpoint): SetElement {
  const key = endpointKey(endpoint.id).map(part => nameField(part))
  return { set: 'published', key, comment: `${endpointComment(endpoint)} #${fingerprint(endpoint)}` }
}

/**
 * An endpoint's id as it is written in elements: twelve digits of each half. The engine makes the halves from the
 * container's and the network's id, so neither alone would tell a container's endpoints apart.
 */
export function endpointKey(id: string): [string, string] {
  return [id.slice(0, 12), id.slice(32, 44)]
}

function endpointComment(endpoint: Endpoint): string {
  return `tsrun:${endpointKey(endpoint.id).join('.')} ${endpoint.containerName}`.slice(0, 100)
}

/** FNV-1a over what is published and where it leads: a restarted container may have the same id and other ports. */
function fingerprint({ addresses, ports }: Endpoint): string {
  const text = `${addresses} ${ports.map(port => `${formatMapping(port)}:${port.containerPort}`)}`
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}

function cannotPublish(endpoint: Endpoint, mapping: PortMapping, why: string, options?: { hint: string }): TsrunError {
  const message = `cannot publish ${formatMapping(mapping)} for "${endpoint.containerName}": ${why}`
  return new TsrunError('invalid', 'cannot-publish', message, options)
}

/** Map and key of a mapping, e.g. any4 and `tcp . 80`. */
export function mappingKey({ protocol, hostIp, hostPort }: PortMapping): { set: string; key: Field[]; family: 4 | 6 } {
  if (isAnyAddress(hostIp)) {
    const family = hostIp === '::' ? 6 : 4
    return { set: `any${family}`, key: [protocolField(protocol), portField(hostPort)], family }
  }
  const host = parseAddress(hostIp)
  const key = [protocolField(protocol), addressField(host), portField(hostPort)]
  return { set: `addr${host.family}`, key, family: host.family }
}

function isAnyAddress(hostIp: string): boolean {
  return hostIp === '0.0.0.0' || hostIp === '::'
}

/**
 * A port published on one address takes, beside its own element, the same port of "any address" with a target that
 * says "held": the kernel then refuses 0.0.0.0 on that port, and refuses the holder if 0.0.0.0 is published, since the
 * data differ, while several holders agree. A set keeps the chains from following it.
 */
export function heldElements(mapping: PortMapping): SetElement[] {
  if (isAnyAddress(mapping.hostIp)) return []
  const host = parseAddress(mapping.hostIp)
  const key = [protocolField(mapping.protocol), portField(mapping.hostPort)]
  const nowhere = addressField({ family: host.family, value: 0n })
  const comment = 'tsrun: held by single addresses'
  return [
    { set: `any${host.family}`, key, data: [nowhere, portField(0)], comment },
    { set: `held${host.family}`, key, comment },
  ]
}

/** `0.0.0.0:80/tcp`, `[::]:80/tcp`. */
export function formatMapping({ protocol, hostIp, hostPort }: PortMapping): string {
  return `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:${hostPort}/${protocol}`
}

/** Everything that should stand, each element once. Of two endpoints that claim one port the first has it. */
export function snapshotElements({ networks, endpoints }: FirewallSnapshot): SetElement[] {
  const byId = new Map(networks.map(network => [network.id, network]))
  const elements = new Map<string, SetElement>()
  for (const network of networks)
    for (const element of networkElements(network)) elements.set(identityOf(element), element)
  for (const endpoint of endpoints) {
    const network = byId.get(endpoint.networkId)
    if (network?.hostInterface === undefined) continue
    const { owner, ports, shared } = publishableElements(network, endpoint)
    if (ports.length === 0) continue
    const own = [owner, ...ports.map(port => port.element), ...shared.map(held => held.element)]
    const found = own.map(element => ({ element, standing: elements.get(identityOf(element)) }))
    // What several endpoints hold together is the same for each of them; anything else is a clash.
    if (found.some(({ element, standing }) => standing !== undefined && !isSame(element, standing))) continue
    for (const { element } of found) elements.set(identityOf(element), element)
  }
  return [...elements.values()]
}

function isSame(a: SetElement, b: SetElement): boolean {
  return elementText(a) === elementText(b)
}

/** As endpointElements, but nothing for an endpoint that is about to be refused: it must not keep the others out. */
export function publishableElements(network: Network, endpoint: Endpoint): PublishedElements {
  try {
    return endpointElements(network, endpoint)
  } catch (error) {
    if (error instanceof TsrunError && error.code === 'cannot-publish')
      return { owner: ownerElement(endpoint), ports: [], shared: [] }
    throw error
  }
}

/** Set and key: what makes an element the same element. */
function identityOf({ set, key }: SetElement): string {
  return `${set} ${elementText({ set, key })}`
}

/** nft commands that add elements, one for each set. */
export function addElementsText(table: string, elements: readonly SetElement[]): string {
  const bySet = new Map<string, string[]>()
  for (const element of elements) {
    const list = bySet.get(element.set) ?? []
    list.push(elementText(element))
    bySet.set(element.set, list)
  }
  return [...bySet].map(([set, list]) => `add element inet ${table} ${set} { ${list.join(', ')} }\n`).join('')
}

/** The container's name in the comment of a port, or undefined. */
export function ownerName(comment: string | undefined): string | undefined {
  return comment?.match(/^tsrun:[0-9a-f.]+ (.+)$/)?.[1]
}
