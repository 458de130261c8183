// `ip route`: the main routing table, and others where one is named. Numbers are from linux/rtnetlink.h.

import { hasCode } from '../../ffi/errno.ts'
import { ByteReader } from '../../lib/bytes.ts'
import { addressBytes, addressFromBytes, formatAddress, formatPrefix, parseAddress, parsePrefix } from '../../lib/ip.ts'
import { getLink } from './link.ts'
import {
  attributeU32,
  type NetlinkChange,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  PayloadWriter,
  parseAttributes,
} from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTM_GETROUTE = 26
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_MULTIPATH = 9
const RTA_TABLE = 15
const RT_TABLE_UNSPEC = 0
const RT_TABLE_MAIN = 254
/** Above it the header has no room, and an attribute says which. */
const largestShortTable = 255
const RTPROT_BOOT = 3
const RTN_UNICAST = 1
const RTN_UNREACHABLE = 7
const RT_SCOPE_LINK = 253
const RTNH_F_ONLINK = 4
const AF_INET = 2
const AF_INET6 = 10
const headerLength = 12

/** A route of the main table, or of another one. */
export interface RouteSpec {
  /** CIDR, or `default` where the family is the gateway's. */
  readonly destination: string
  /** Absent for a destination that is on the link. */
  readonly gateway?: string
  /** Who made it, as `ip route` shows it (RTPROT_*); default 3, boot. */
  readonly protocol?: number
  readonly index: number
  /** Name of the interface, for the printed command. */
  readonly interfaceName: string
  readonly metric?: number
  /** The host's own packets on this route leave under this address, which the host must have. */
  readonly source?: string
  /** The gateway is taken to be on the link, whatever the interface's addresses say. */
  readonly onlink?: boolean
  /** Default: main. */
  readonly table?: number
}

/** A unicast route as the kernel describes it. */
export interface Route {
  readonly family: 4 | 6
  /** CIDR; undefined for the default route. */
  readonly destination: string | undefined
  readonly gateway: string | undefined
  /** Interface, of a multipath route the first; undefined where the route names none. */
  readonly index: number | undefined
  readonly metric: number
  readonly source: string | undefined
  readonly onlink: boolean
  /** Who made it, e.g. 2 the kernel, 9 a router advertisement (RTPROT_*). */
  readonly protocol: number
}

/**
 * Equivalent to: `ip route add $destination via $gateway dev $name`.
 * Applying it fails with ENETUNREACH while the gateway is not on a link that is up, EEXIST when there is one.
 */
export function routeAdd(spec: RouteSpec): NetlinkChange {
  return routeChange(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, 'add', spec)
}

/** Equivalent to: `ip route replace ...`: of a route with the same destination and metric this is what stays. */
export function routeReplace(spec: RouteSpec): NetlinkChange {
  return routeChange(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 'replace', spec)
}

/** A destination that is answered with "unreachable" unless a more specific route leads there. */
export interface UnreachableSpec {
  /** CIDR. */
  readonly destination: string
  readonly protocol: number
}

/** Equivalent to: `ip route replace unreachable $destination proto $protocol`. */
export function unreachableAdd(spec: UnreachableSpec): NetlinkChange {
  return unreachableChange(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 'replace', spec)
}

/** Equivalent to: `ip route delete unreachable $destination proto $protocol`. Applying it fails with ESRCH where there is none. */
export function unreachableRemove(spec: UnreachableSpec): NetlinkChange {
  return unreachableChange(RTM_DELROUTE, 0, 'delete', spec)
}

/** Equivalent to: `ip route delete ...`. Applying it fails with ESRCH where there is none. */
export function routeRemove(spec: RouteSpec): NetlinkChange {
  return routeChange(RTM_DELROUTE, 0, 'delete', spec)
}

/** Equivalent to: `ip route show table $table` and `ip -6 route show table $table`. @param table default main */
export function listRoutes(socket: NetlinkSocket, family: 4 | 6, table = RT_TABLE_MAIN): Route[] {
  try {
    const payload = writeHeader({ family, table })
    if (table > largestShortTable) payload.attributeU32(RTA_TABLE, table)
    return socket.dump(RTM_GETROUTE, payload.finish(), message => parseRoute(message, table))
  } catch (error) {
    // ENOENT: there is no such table; of a namespace that never had an address not even the main one. EOPNOTSUPP: a kernel without IPv6.
    if (hasCode(error, 'ENOENT', 'EOPNOTSUPP')) return []
    throw error
  }
}

/** The default route in use: IPv4 before IPv6, then the lowest metric. */
export function findDefaultRoute(socket: NetlinkSocket): Route | undefined {
  for (const family of [4, 6] as const) {
    const defaults = listRoutes(socket, family).filter(route => route.destination === undefined)
    const [best] = defaults.sort((a, b) => a.metric - b.metric)
    if (best !== undefined) return best
  }
  return undefined
}

/** The MTU of the interface that the default route leads to; undefined without one. */
export function defaultRouteMtu(socket: NetlinkSocket): number | undefined {
  const index = findDefaultRoute(socket)?.index
  return index === undefined ? undefined : getLink(socket, index)?.mtu
}

/** Reads an RTM_NEWROUTE message. @returns undefined unless it is a unicast route of the table @throws FormatError */
export function parseRoute(message: Pick<NetlinkMessage, 'payload'>, table = RT_TABLE_MAIN): Route | undefined {
  const reader = new ByteReader(message.payload)
  const attributes = parseAttributes(message.payload, headerLength)
  const family = reader.u8(0)
  if (family !== AF_INET && family !== AF_INET6) return undefined
  if ((attributeU32(attributes, RTA_TABLE) ?? reader.u8(4)) !== table) return undefined
  if (reader.u8(7) !== RTN_UNICAST) return undefined
  const destination = addressFromBytes(attributes.get(RTA_DST) ?? Buffer.alloc(0))
  const gateway = addressFromBytes(attributes.get(RTA_GATEWAY) ?? Buffer.alloc(0))
  const source = addressFromBytes(attributes.get(RTA_PREFSRC) ?? Buffer.alloc(0))
  const multipath = attributes.get(RTA_MULTIPATH)
  return {
    family: family === AF_INET ? 4 : 6,
    destination: destination === undefined ? undefined : formatPrefix({ ...destination, length: reader.u8(1) }),
    gateway: gateway === undefined ? undefined : formatAddress(gateway),
    // struct rtnexthop: length, flags, hops, then the interface.
    index: attributeU32(attributes, RTA_OIF) ?? (multipath && new ByteReader(multipath).u32(4)),
    metric: attributeU32(attributes, RTA_PRIORITY) ?? 0,
    source: source === undefined ? undefined : formatAddress(source),
    onlink: (reader.u32(8) & RTNH_F_ONLINK) !== 0,
    protocol: reader.u8(5),
  }
}

function routeChange(type: number, flags: number, verb: string, spec: RouteSpec): NetlinkChange {
  const { destination, gateway, index, interfaceName, metric, protocol, source, onlink = false, table } = spec
  const to = destination === 'default' ? undefined : parsePrefix(destination)
  const via = gateway === undefined ? undefined : parseAddress(gateway)
  const family = via?.family ?? to?.family ?? 4
  const scope = via === undefined && family === 4 ? RT_SCOPE_LINK : 0
  const payload = writeHeader({
    family,
    length: to?.length ?? 0,
    table: table ?? RT_TABLE_MAIN,
    type: RTN_UNICAST,
    scope,
    protocol,
    flags: onlink ? RTNH_F_ONLINK : 0,
  })
  if (to !== undefined) payload.attribute(RTA_DST, addressBytes(to))
  if (via !== undefined) payload.attribute(RTA_GATEWAY, addressBytes(via))
  payload.attributeU32(RTA_OIF, index)
  if (metric !== undefined) payload.attributeU32(RTA_PRIORITY, metric)
  if (source !== undefined) payload.attribute(RTA_PREFSRC, addressBytes(parseAddress(source)))
  if (table !== undefined) payload.attributeU32(RTA_TABLE, table)
  const words = [
    `route ${verb} ${destination}${gateway === undefined ? '' : ` via ${gateway}`} dev ${interfaceName}`,
    ...(metric === undefined ? [] : [`metric ${metric}`]),
    ...(protocol === undefined ? [] : [`proto ${protocol}`]),
    ...(source === undefined ? [] : [`src ${source}`]),
    ...(onlink ? ['onlink'] : []),
    ...(table === undefined ? [] : [`table ${table}`]),
  ]
  return {
    type,
    flags,
    payload: payload.finish(),
    name: `${verb} route ${words[0]?.slice(`route ${verb} `.length)}`,
    command: () => words.join(' '),
  }
}

function unreachableChange(type: number, flags: number, verb: string, spec: UnreachableSpec): NetlinkChange {
  const { destination, protocol } = spec
  const to = parsePrefix(destination)
  const payload = writeHeader({
    family: to.family,
    length: to.length,
    table: RT_TABLE_MAIN,
    type: RTN_UNREACHABLE,
    protocol,
  })
  return {
    type,
    flags,
    payload: payload.attribute(RTA_DST, addressBytes(to)).finish(),
    name: `${verb} route unreachable ${destination}`,
    command: () => `route ${verb} unreachable ${destination} proto ${protocol}`,
  }
}

/** struct rtmsg. */
function writeHeader(header: {
  family: 4 | 6
  table: number
  length?: number
  scope?: number
  /** Of a route to be made; absent in a question. */
  type?: number
  protocol?: number | undefined
  /** RTNH_F_* */
  flags?: number
}): PayloadWriter {
  const writer = new PayloadWriter(64)
  writer.u8(header.family === 4 ? AF_INET : AF_INET6)
  writer.u8(header.length ?? 0)
  writer
    .u8(0)
    .u8(0)
    .u8(header.table > largestShortTable ? RT_TABLE_UNSPEC : header.table)
  writer.u8(header.type === undefined ? 0 : (header.protocol ?? RTPROT_BOOT))
  writer.u8(header.scope ?? 0)
  writer.u8(header.type ?? 0)
  return writer.u32(header.flags ?? 0)
}
