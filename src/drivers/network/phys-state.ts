// What an interface of the host is like before it moves into a container, and how it becomes so again: name, MTU, MAC address,
// alias, addresses, routes, up or down. The kernel forgets addresses and routes when an interface changes namespace.

import { hasCode } from '../../ffi/errno.ts'
import { addressAdd, listAddressSpecs } from '../../kernel/netlink/address.ts'
import { type Link, linkRename, linkSet } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listRoutes, routeAdd } from '../../kernel/netlink/route.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { TsrunError } from '../../model/errors.ts'

/** An interface as it was on the host; on disk as JSON. */
export interface DeviceState {
  readonly name: string
  readonly kind?: string
  readonly mtu: number
  readonly mac: string
  readonly alias: string
  readonly up: boolean
  /** Without those that the kernel makes by itself. */
  readonly addresses: readonly { readonly address: string; readonly hasBroadcast: boolean }[]
  readonly routes: readonly DeviceRoute[]
}

interface DeviceRoute {
  readonly destination: string
  readonly gateway?: string
  readonly metric?: number
  readonly protocol: number
}

// linux/rtnetlink.h: routes that come with addresses.
const RTPROT_KERNEL = 2
const RTPROT_RA = 9

/** Reads it. */
export function readDeviceState(host: NetlinkSocket, link: Link): DeviceState {
  const routes = ([4, 6] as const)
    .flatMap(family => listRoutes(host, family))
    .filter(route => route.index === link.index && ![RTPROT_KERNEL, RTPROT_RA].includes(route.protocol))
  return {
    name: link.name,
    ...(link.kind === undefined ? {} : { kind: link.kind }),
    mtu: link.mtu,
    mac: link.mac,
    alias: link.alias ?? '',
    up: link.up,
    addresses: listAddressSpecs(host, link.index).filter(({ address }) => !address.startsWith('fe80:')),
    routes: routes.map(({ family, destination, gateway, metric, protocol }) => ({
      destination: destination ?? (family === 4 ? '0.0.0.0/0' : '::/0'),
      ...(gateway === undefined ? {} : { gateway }),
      // IPv6 routes have 1024 where nobody gave one.
      ...(metric === 0 ? {} : { metric }),
      protocol,
    })),
  }
}

/**
 * Makes the interface what it was. It goes on after having been cut off: what stands already is passed over, and the alias, by
 * which it is found, comes last. @throws TsrunError conflict when only its name was taken meanwhile, SyscallError
 */
export function restoreDevice(host: NetlinkSocket, link: Link, before: DeviceState): void {
  const { mtu, mac, alias, up, addresses, routes } = before
  const name = renameBack(host, link, before.name)
  host.apply(linkSet(name, { mtu, ...(mac === '' || mac === link.mac ? {} : { mac }) }))
  const { index } = link
  // IPv6 takes no addresses and routes on an interface that is down, and loses them when it goes down: nothing to put back.
  if (up) host.apply(linkSet(name, { up: true }))
  for (const address of addresses) applyUnlessThere(host, addressAdd({ index, interfaceName: name, ...address }))
  // On the link before those with a gateway, which needs one of them.
  const ordered = routes.toSorted((a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined))
  if (up) for (const route of ordered) applyUnlessThere(host, routeAdd({ ...route, index, interfaceName: name }))
  host.apply(linkSet(name, { alias }))
  if (name === before.name) return
  const message = `cannot give "${name}" its name "${before.name}" back: another interface has it`
  throw new TsrunError('conflict', 'interface-exists', message, {
    hint: `rename that one, then: ip link set dev ${name} down; ip link set dev ${name} name ${before.name}`,
  })
}

/** @returns the name that it has now: the old one where the new one is taken */
function renameBack(host: NetlinkSocket, link: Link, name: string): string {
  if (link.name === name) return name
  if (link.up) host.apply(linkSet(link.name, { up: false }))
  try {
    host.apply(linkRename(link, name))
    return name
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    return link.name
  }
}

function applyUnlessThere(host: NetlinkSocket, change: NetlinkChange): void {
  try {
    host.apply(change)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}
