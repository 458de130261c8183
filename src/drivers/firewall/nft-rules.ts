// What publishes the ports of endpoints, as elements of the sets in base-ruleset.ts, and all elements that should stand
// at once. Nothing here touches the kernel.

import {
  addressField,
  elementText,
  type Field,
  nameField,
  portField,
  protocolField,
  type SetElement,
} from '../../kernel/nftables/elements.ts'
import { type IpAddress, parseAddress, tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping } from '../../model/network.ts'
import { policyOf } from '../../model/network-policy.ts'
import { isRouted, networkElements } from './network-elements.ts'

/** What should stand: all networks, and the endpoints of all running containers. */
export interface FirewallSnapshot {
  readonly networks: readonly Network[]
  /** Of containers that run. */
  readonly endpoints: readonly Endpoint[]
  /** Of those whose connections or ports are just being changed: they may claim what another one has. */
  readonly changing: readonly Endpoint[]
  /** Of containers that are being started: theirs is only what they have published already. */
  readonly starting: readonly Endpoint[]
  /** False where the record of a container cannot be read: nobody can tell then that something has no owner. */
  readonly isComplete: boolean
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
  /** What lets clients in on the container's own address, where the network's mode is `routed`. */
  readonly opened: readonly SetElement[]
  /** Shared by all that publish a port on single addresses: they keep `0.0.0.0` off that port. */
  readonly shared: readonly PortElement[]
}

/** @throws TsrunError invalid when a port cannot be published for this endpoint */
export function endpointElements(network: Network, endpoint: Endpoint): PublishedElements {
  const comment = endpointComment(endpoint)
  const targets = new Map(endpoint.addresses.flatMap(withoutPrefix).map(to => [to.family, addressField(to)]))
  const { mode } = policyOf(network)
  const shared = new Map<string, PortElement>()
  const opened = new Map<string, SetElement>()
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
    if (mode[family] === 'routed') {
      const element = openedElement(family, target, mapping, comment)
      opened.set(identityOf(element), element)
    }
    return { element: { set, key, data: [target, portField(mapping.containerPort)], comment }, mapping }
  })
  return { owner: ownerElementOf(endpoint), ports, opened: [...opened.values()], shared: [...shared.values()] }
}

/** An element of opened4 or opened6: clients may come straight to this port of the container. */
export function openedElement(
  family: 4 | 6,
  container: Field,
  { protocol, containerPort }: Pick<PortMapping, 'protocol' | 'containerPort'>,
  comment?: string,
): SetElement {
  const key = [protocolField(protocol), container, portField(containerPort)]
  return { set: `opened${family}`, key, ...(comment === undefined ? {} : { comment }) }
}

/** The address in `192.168.0.2/24`, or nothing: whoever tears down may not know all addresses any more. */
function withoutPrefix(text: string): IpAddress[] {
  const address = tryParseAddress(text.replace(/\/.*/, ''))
  return address === undefined ? [] : [address]
}

/** The element that says that the endpoint's ports are there, and in its comment which. */
export function ownerElementOf(endpoint: Endpoint): SetElement {
  return { ...ownerElement(ownerOf(endpoint)), comment: `${endpointComment(endpoint)} #${fingerprint(endpoint)}` }
}

/** With the key alone: good for its deletion. @param owner as ownerOf() */
export function ownerElement(owner: string): SetElement {
  return { set: 'published', key: owner.split('.').map(part => nameField(part)) }
}

/**
 * Whose the elements of an endpoint are, as it is written in them: twelve digits of each half of its id. The engine makes the
 * halves from the container's and the network's id, so neither alone would tell a container's endpoints apart.
 */
export function ownerOf({ id }: Pick<Endpoint, 'id'>): string {
  return `${id.slice(0, 12)}.${id.slice(32, 44)}`
}

/** The same out of an element's comment; undefined for one that is not an endpoint's. */
export function ownerIn(comment: string | undefined): string | undefined {
  return comment?.match(/^tsrun:([0-9a-f]+\.[0-9a-f]+) /)?.[1]
}

function endpointComment(endpoint: Endpoint): string {
  return `tsrun:${ownerOf(endpoint)} ${endpoint.containerName}`.slice(0, 100)
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
export function snapshotElements({
  networks,
  endpoints,
}: Pick<FirewallSnapshot, 'networks' | 'endpoints'>): SetElement[] {
  const byId = new Map(networks.map(network => [network.id, network]))
  const elements = new Map<string, SetElement>()
  for (const network of networks)
    for (const element of networkElements(network)) elements.set(identityOf(element), element)
  for (const endpoint of endpoints) {
    const network = byId.get(endpoint.networkId)
    if (network === undefined || !isRouted(network)) continue
    const { owner, ports, opened, shared } = publishableElements(network, endpoint)
    if (ports.length === 0) continue
    const own = [owner, ...ports.map(port => port.element), ...opened, ...shared.map(held => held.element)]
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
      return { owner: ownerElementOf(endpoint), ports: [], opened: [], shared: [] }
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
