// Names and ownership marks of bridge networks in the kernel. The interface alias says whose an interface is: a name
// alone proves nothing, and an interface without our mark is never changed or removed.

import type { Link } from '../../kernel/netlink/link.ts'
import type { Endpoint, Network } from '../../model/network.ts'

const maximumAliasBytes = 255

/** The bridge's mark: `<engineId> network <name> <id12>`. */
export function bridgeAlias(engineId: string, network: Pick<Network, 'id' | 'name'>): string {
  const tail = ` ${network.id.slice(0, 12)}`
  const head = `${engineId} network `
  const room = maximumAliasBytes - Buffer.byteLength(head) - tail.length
  return `${head}${truncate(network.name, room)}${tail}`
}

/** The mark of a container's host interface: `<engineId> <containerName>/<interface>`. */
export function endpointAlias(
  engineId: string,
  endpoint: Pick<Endpoint, 'containerName' | 'containerInterface'>,
): string {
  const tail = `/${endpoint.containerInterface}`
  const room = maximumAliasBytes - Buffer.byteLength(engineId) - 1 - Buffer.byteLength(tail)
  return `${engineId} ${truncate(endpoint.containerName, room)}${tail}`
}

/** Whether `link` is a bridge of any tsrun engine on this machine. */
export function isTsrunBridge(link: Link): boolean {
  return link.kind === 'bridge' && /^tsrun(-[0-9a-f]{8})? network /.test(link.alias ?? '')
}

/** Whether `link` is the bridge of this network of this engine. */
export function isBridgeOf(engineId: string, network: Pick<Network, 'id'>, link: Link): boolean {
  if (link.kind !== 'bridge') return false
  // A process killed between making the bridge and marking it leaves the address, which nobody else makes.
  if (link.alias === undefined) return link.mac.slice(6) === bridgeMac(network).slice(6)
  return link.alias.startsWith(`${engineId} network `) && link.alias.endsWith(` ${network.id.slice(0, 12)}`)
}

/** Whether `link` is the host interface of a container of this engine. */
export function isEndpointLink(engineId: string, link: Link): boolean {
  return link.kind === 'veth' && (link.alias ?? '').startsWith(`${engineId} `)
}

/**
 * The bridge's MAC address, made from the network's id. It has to be pinned: left alone a bridge takes the lowest
 * address among its ports, so its own would change with each container that comes or goes, and every neighbour
 * would talk to a dead address until its ARP entry expires. Made from the id it even survives a new bridge.
 * @param number 0 for the network's bridge, 1 and on for the further ones
 */
export function bridgeMac(network: Pick<Network, 'id'>, number = 0): string {
  return ['02', (0x42 + number).toString(16), ...(network.id.slice(0, 8).match(/../g) ?? [])].join(':')
}

/** The interface of a network whose name cannot be one, or is taken: `br-` and 12 hex digits. */
export function fallbackBridgeName(network: Pick<Network, 'id'>): string {
  return `br-${network.id.slice(0, 12)}`
}

/** The interface of the `number`th further bridge of a network, 2 for the first: 15 bytes up to 9. */
export function furtherBridgeName(network: Pick<Network, 'id'>, number: number): string {
  return `b${number}-${network.id.slice(0, 12)}`
}

/** Both ends of the veth pair between the network's bridge and its `number`th further one. */
export function jointNames(network: Pick<Network, 'id'>, number: number): { inFirst: string; inFurther: string } {
  const tail = network.id.slice(0, 10)
  return { inFirst: `j${number}a-${tail}`, inFurther: `j${number}b-${tail}` }
}

/**
 * The host's end of an endpoint's veth: `veth` and 10 hex digits, in all 14 bytes of the 15 there are. They come from both
 * halves of the id, the container's and the network's: either alone is shared with other endpoints.
 */
export function endpointInterfaceName(endpointId: string): string {
  const digits = (from: number) => BigInt(`0x${endpointId.slice(from, from + 10) || '0'}`)
  return `veth${(digits(0) ^ digits(32)).toString(16).padStart(10, '0')}`
}

function truncate(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text
  // Cutting a character in half leaves a replacement character of three bytes.
  return Buffer.from(text)
    .subarray(0, bytes)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')
}
