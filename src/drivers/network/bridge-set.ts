// All bridges of one network. A Linux bridge has 1023 ports; when they are taken a further bridge is joined to the first by
// a veth pair, so that one network it is: one subnet, one gateway, one broadcast domain. Ports that lost their bridge, because
// somebody deleted it, are plugged in again.

import { hasCode } from '../../ffi/errno.ts'
import { getLink, type Link, linkRemove, linkSet, listLinks } from '../../kernel/netlink/link.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { linkAddVeth } from '../../kernel/netlink/veth.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import { isolatedPortGroup, policyOf } from '../../model/network-policy.ts'
import { type BridgeNetwork, ensureBridge, findBridge, removeBridge } from './bridge-device.ts'
import { bridgeAlias, fallbackBridgeName, furtherBridgeName, isEndpointLink, jointNames } from './bridge-names.ts'
import { hostHasIpv6 } from './forwarding.ts'
import { hostInterfaceOf, isBridgeFull, portSettings } from './veth.ts'

/** More would need two digits in interface names; nine thousand containers are past what the neighbour table takes. */
const mostBridges = 9
const defaultMtu = 1500

/** The bridges that a network should have, the one with the gateway first. */
export function describeBridges(network: Network, engineId: string): [BridgeNetwork, ...BridgeNetwork[]] {
  const mtu = Number(network.options.mtu ?? defaultMtu)
  const first = network.hostInterface ?? fallbackBridgeName(network)
  const further = network.furtherInterfaces ?? []
  return [
    { network, bridge: first, number: 0, mtu, engineId },
    ...further.map((bridge, index) => ({ network, bridge, number: index + 1, mtu, engineId })),
  ]
}

/** The network with one bridge more, or undefined when it has as many as there can be. Changes nothing. */
export function withFurtherBridge(network: Network): Network | undefined {
  const further = network.furtherInterfaces ?? []
  const number = further.length + 2
  if (number > mostBridges) return undefined
  return { ...network, furtherInterfaces: [...further, furtherBridgeName(network, number)] }
}

/** Makes what is missing of all bridges. Idempotent. @returns them, first to last @throws TsrunError conflict, SyscallError */
export function ensureBridges(socket: NetlinkSocket, all: readonly BridgeNetwork[], undo: Undo): Link[] {
  const links: Link[] = []
  for (const wanted of all) {
    const link = ensureBridge(socket, wanted, undo)
    links.push(link)
    const [first] = links
    if (first !== undefined && wanted.number > 0) ensureJoint(socket, wanted, { first, further: link }, undo)
  }
  return links
}

/** The bridges, if a quick look finds nothing wrong with any. */
export function findHealthyBridges(socket: NetlinkSocket, all: readonly BridgeNetwork[]): Link[] | undefined {
  const links: Link[] = []
  for (const wanted of all) {
    const link = findBridge(socket, wanted)
    if (!link?.up || link.mtu !== wanted.mtu) return undefined
    if (wanted.number > 0 && getLink(socket, jointNames(wanted.network, wanted.number).inFurther)?.up !== true)
      return undefined
    links.push(link)
  }
  return links
}

/** Removes the bridges and what joins them. Idempotent. */
export function removeBridges(socket: NetlinkSocket, all: readonly BridgeNetwork[]): void {
  for (const wanted of [...all].reverse()) {
    if (wanted.number > 0) removeLink(socket, jointNames(wanted.network, wanted.number).inFirst)
    removeBridge(socket, wanted)
  }
}

/**
 * Plugs the veths of running containers in that are ports of no bridge of the network: somebody deleted it. The containers
 * notice nothing, for the new bridge has the MAC address of the old one. @returns how many there were
 */
export function replugEndpoints(
  socket: NetlinkSocket,
  bridges: readonly Link[],
  { network, engineId, endpoints }: { network: Network; engineId: string; endpoints: readonly Endpoint[] },
): number {
  const indexes = new Set(bridges.map(({ index }) => index))
  let count = 0
  for (const endpoint of endpoints) {
    const name = hostInterfaceOf(endpoint)
    const link = getLink(socket, name)
    if (link === undefined || !isEndpointLink(engineId, link)) continue
    if (link.master !== undefined && indexes.has(link.master)) continue
    try {
      const bridge = plugInto(socket, name, bridges)
      // The settings of a port go with its bridge.
      socket.apply(linkSet(name, { ...portSettings(network, bridge), up: true }))
      count++
    } catch (error) {
      // Its container has ended meanwhile.
      if (!hasCode(error, 'ENODEV')) throw error
    }
  }
  return count
}

/** @returns the bridge that had room */
function plugInto(socket: NetlinkSocket, name: string, bridges: readonly Link[]): Link {
  const [bridge, ...others] = bridges
  if (bridge === undefined) throw new Error('a network has a bridge')
  try {
    socket.apply(linkSet(name, { master: bridge }))
    return bridge
  } catch (error) {
    if (!isBridgeFull(error) || others.length === 0) throw error
    return plugInto(socket, name, others)
  }
}

/** The veth pair between the first bridge and a further one. */
function ensureJoint(
  socket: NetlinkSocket,
  { network, engineId, mtu, number }: BridgeNetwork,
  { first, further }: { first: Link; further: Link },
  undo: Undo,
): void {
  const { inFirst, inFurther } = jointNames(network, number)
  const alias = bridgeAlias(engineId, network)
  if (getLink(socket, inFirst) === undefined) {
    socket.apply(linkAddVeth({ name: inFirst, mtu, peer: { name: inFurther, mtu } }))
    undo.add('join bridges', () => withNetlinkSocket(again => removeLink(again, inFirst)))
  }
  // With icc=false a container behind the further bridge may reach the gateway, and nobody in the first bridge.
  const group = policyOf(network).icc ? {} : { group: isolatedPortGroup }
  const ends = [
    [inFirst, first, group],
    [inFurther, further, {}],
  ] as const
  for (const [name, bridge, settings] of ends) {
    socket.apply(linkSet(name, { alias, ...(hostHasIpv6(mtu) ? { ipv6AddressMode: 'none' as const } : {}) }))
    if (getLink(socket, name)?.master !== bridge.index) plugJoint(socket, { name, bridge, further, network, engineId })
    socket.apply(linkSet(name, { ...settings, up: true }))
  }
}

/** Into a full bridge too: then one of its ports moves to the further bridge, which its container notices by a lost packet. */
function plugJoint(
  socket: NetlinkSocket,
  joint: { name: string; bridge: Link; further: Link; network: Network; engineId: string },
): void {
  try {
    socket.apply(linkSet(joint.name, { master: joint.bridge }))
  } catch (error) {
    const moved = listLinks(socket, { master: joint.bridge.index }).find(link => isEndpointLink(joint.engineId, link))
    if (!isBridgeFull(error) || moved === undefined) throw error
    socket.apply(linkSet(moved.name, { master: joint.further }))
    socket.apply([
      linkSet(moved.name, portSettings(joint.network, joint.further)),
      linkSet(joint.name, { master: joint.bridge }),
    ])
  }
}

function removeLink(socket: NetlinkSocket, name: string): void {
  try {
    socket.apply(linkRemove(name))
  } catch (error) {
    if (!hasCode(error, 'ENODEV')) throw error
  }
}
