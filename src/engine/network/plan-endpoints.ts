// What each network gives a container: the name of the interface, the default routes, the ports. The user's word decides,
// and among what was left open the order of the attachments: never the networks' names, never chance. Pure.

import { isRouted } from '../../drivers/firewall/network-elements.ts'
import type { NetworkAttachment } from '../../model/container.ts'
import { interfaceNameOption } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { familyOf } from './address-text.ts'

/** One attachment with the network that it means. */
export interface ResolvedAttachment {
  readonly attachment: NetworkAttachment
  readonly network: Network
}

export interface EndpointPlan extends ResolvedAttachment {
  readonly containerInterface: string
  /** The families whose default route goes through this network. */
  readonly defaultRoutes: readonly (4 | 6)[]
  /** Published ports lead to this network. At most one endpoint has them. */
  readonly hasPorts: boolean
}

/** @throws TsrunError invalid when two interfaces are given one name, or a name that no interface can have */
export function planEndpoints(attachments: readonly ResolvedAttachment[]): EndpointPlan[] {
  const names = interfaceNames(attachments)
  const [v4, v6] = [gatewayIndex(attachments, 4), gatewayIndex(attachments, 6)]
  const ports = portIndex(attachments, [v4, v6])
  return attachments.map((each, index) => ({
    ...each,
    containerInterface: names[index] ?? '',
    defaultRoutes: [...(index === v4 ? [4 as const] : []), ...(index === v6 ? [6 as const] : [])],
    hasPorts: index === ports,
  }))
}

/** Whether `network` is no network that others can be joined beside. */
export function standsAlone(network: string): boolean {
  return network === 'host' || network === 'none' || network.startsWith('container:') || network.startsWith('ns:')
}

/** The addresses of the user's choice. */
export function staticIps({ ip, ip6 }: NetworkAttachment): string[] {
  return [ip, ip6].flatMap(address => address ?? [])
}

/**
 * The attachment that published ports lead to: the way out, or, where that is no network whose packets the host passes on
 * (macvlan), the first that is; its answers leave by it all the same (source-routes.ts). Without one there is none that can
 * have them, and the driver of the way out says so.
 */
function portIndex(attachments: readonly ResolvedAttachment[], [v4 = -1, v6 = -1]: readonly number[]): number {
  const canHave = (index: number) => {
    const network = attachments[index]?.network
    const isHere = network !== undefined && !network.internal && isRouted(network)
    return isHere && (hasFamily(network, 4) || hasFamily(network, 6))
  }
  const ways = [v4, v6, ...byPriority(attachments).map(({ index }) => index)]
  return ways.find(canHave) ?? (v4 >= 0 ? v4 : Math.max(v6, 0))
}

/** The attachment whose network is the container's way out for `family`; -1 where none has one. */
function gatewayIndex(attachments: readonly ResolvedAttachment[], family: 4 | 6): number {
  const leadsOut = ({ network }: ResolvedAttachment) => !network.internal && hasFamily(network, family)
  return byPriority(attachments).find(({ each }) => leadsOut(each))?.index ?? -1
}

/** The sort is stable: among equals the first attachment stays first. */
function byPriority(attachments: readonly ResolvedAttachment[]) {
  const priority = ({ attachment }: ResolvedAttachment) => attachment.gwPriority ?? 0
  return attachments.map((each, index) => ({ each, index })).sort((a, b) => priority(b.each) - priority(a.each))
}

/** Whether containers of the network have addresses of the family. Leased ones are IPv4. */
export function hasFamily({ pools, isLeased }: Network, family: 4 | 6): boolean {
  return (isLeased === true && family === 4) || pools.some(pool => familyOf(pool.subnet) === family)
}

function interfaceNames(attachments: readonly ResolvedAttachment[]): string[] {
  const given = attachments.flatMap(({ attachment }) => nameGivenTo(attachment) ?? [])
  const twice = given.find((name, index) => given.indexOf(name) !== index)
  if (twice !== undefined)
    throw new TsrunError('invalid', 'interface-twice', `cannot give two interfaces the name "${twice}"`, {
      hint: 'choose another interface= for one of the networks',
    })
  const bad = given.find(name => !isInterfaceName(name))
  if (bad !== undefined)
    throw new TsrunError('invalid', 'interface-name', `cannot call an interface "${bad}"`, {
      hint: '1 to 15 letters, digits, dots, dashes and underscores, but not lo, all or default',
    })
  const taken = new Set(given)
  return attachments.map(({ attachment, network }) => {
    const interfaceName = nameGivenTo(attachment)
    if (interfaceName !== undefined) return interfaceName
    const prefix = network.options['interface-prefix'] ?? 'eth'
    let number = 0
    while (taken.has(`${prefix}${number}`)) number += 1
    taken.add(`${prefix}${number}`)
    return `${prefix}${number}`
  })
}

function nameGivenTo({ interfaceName, driverOptions }: NetworkAttachment): string | undefined {
  return interfaceName ?? interfaceNameOption(driverOptions)
}

/** dev_valid_name() of the kernel, without the names that /proc/sys/net/ipv4/conf has for something else. */
function isInterfaceName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name) && !['all', 'default', 'lo'].includes(name)
}
