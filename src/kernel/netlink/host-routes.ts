// What a new subnet must not overlap: where the host sends packets, and its own addresses.

import { hasCode } from '../../ffi/errno.ts'
import { bitsOf, contains, formatPrefix, parseAddress, parsePrefix } from '../../lib/ip.ts'
import { listAllAddresses } from './address.ts'
import { listLinks } from './link.ts'
import { listRoutes } from './route.ts'
import { listRules } from './rule.ts'
import type { NetlinkSocket } from './socket.ts'

const RT_TABLE_DEFAULT = 253
const RT_TABLE_MAIN = 254
const RT_TABLE_LOCAL = 255

/** A subnet of the host, and what it is called in messages. */
export interface HostRoute {
  readonly subnet: string
  /** `route 172.16.0.0/12 dev tun0`, `address 10.9.0.7/32 dev lo`. */
  readonly name: string
}

/**
 * The subnets that the host reaches by routes other than the default one, and addresses of its own that lie in none of them (VPNs
 * often have such). VPNs like Tailscale have their routes in a table of their own, before the main one.
 */
export function hostRoutes(socket: NetlinkSocket): HostRoute[] {
  const routes = ([4, 6] as const).flatMap(family => {
    const found = tablesForAll(socket, family).flatMap(table =>
      listRoutes(socket, family, table).map(route => ({
        ...route,
        where: table === RT_TABLE_MAIN ? '' : ` table ${table}`,
      })),
    )
    return found.filter(({ destination }) => destination !== undefined)
  })
  const addresses = listAllAddresses(socket)
  if (routes.length + addresses.length === 0) return []
  const names = new Map(listLinks(socket).map(link => [link.index, link.name]))
  const nameOf = (index: number | undefined) => {
    const device = index === undefined ? undefined : names.get(index)
    return device === undefined ? '' : ` dev ${device}`
  }
  const found = new Map<string, HostRoute>()
  for (const { destination: subnet = '', index, where } of routes) {
    // Every interface has the link-local range.
    if (subnet === 'fe80::/64') continue
    const name = `route ${subnet}${nameOf(index)}${where}`
    if (!found.has(name)) found.set(name, { subnet, name })
  }
  const reached = [...found.values()].map(({ subnet }) => parsePrefix(subnet))
  for (const { address, index } of addresses) {
    const bare = parseAddress(address.replace(/\/.*/, ''))
    if (isEverywhere(address) || reached.some(prefix => contains(prefix, bare))) continue
    found.set(address, {
      subnet: formatPrefix({ ...bare, length: bitsOf(bare.family) }),
      name: `address ${address}${nameOf(index)}`,
    })
  }
  return [...found.values()]
}

/** The loopback and link-local addresses, which no subnet may have anyway. */
function isEverywhere(address: string): boolean {
  return address.startsWith('127.') || address === '::1/128' || address.startsWith('fe80:')
}

/** The tables that all packets are looked up in, whatever they are. */
function tablesForAll(socket: NetlinkSocket, family: 4 | 6): number[] {
  try {
    const tables = listRules(socket, family).flatMap(({ isForAll, table }) =>
      isForAll && table !== undefined ? [table] : [],
    )
    return [...new Set([RT_TABLE_MAIN, ...tables])].filter(
      table => table !== RT_TABLE_LOCAL && table !== RT_TABLE_DEFAULT,
    )
  } catch (error) {
    // A kernel without rules.
    if (hasCode(error, 'EAFNOSUPPORT', 'EOPNOTSUPP')) return [RT_TABLE_MAIN]
    throw error
  }
}
