// `ip link`: network interfaces. Builders make a NetlinkChange each; getLink() and listLinks() read.
// Numbers are from linux/rtnetlink.h, linux/if_link.h and linux/if.h.

import { hasCode } from '../../ffi/errno.ts'
import { ByteReader } from '../../lib/bytes.ts'
import { shellQuote } from '../explain.ts'
import {
  attributeString,
  attributeU8,
  attributeU32,
  type NetlinkChange,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  nestedAttributes,
  PayloadWriter,
  parseAttributes,
} from './message.ts'
import type { NetlinkSocket } from './socket.ts'

export const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
export const IFLA_ADDRESS = 1
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4
export const IFLA_LINK = 5
export const IFLA_MASTER = 10
export const IFLA_LINKINFO = 18
const IFLA_IFALIAS = 20
const IFLA_AF_SPEC = 26
export const IFLA_GROUP = 27
export const IFLA_NET_NS_FD = 28
const IFLA_EXT_MASK = 29
export const IFLA_INFO_KIND = 1
export const IFLA_INFO_DATA = 2
const IFLA_INFO_SLAVE_KIND = 4
const IFLA_INFO_SLAVE_DATA = 5
const IFLA_BRPORT_MODE = 4
const IFLA_INET6_ADDR_GEN_MODE = 8
const RTEXT_FILTER_SKIP_STATS = 8
const AF_INET6 = 10
const IFF_UP = 1
const IFF_RUNNING = 0x40
const addressModes = ['eui64', 'none', 'stable_secret', 'random'] as const
const headerLength = 16

/** How IPv6 link-local addresses are made on an interface: `none` for no address at all. */
export type Ipv6AddressMode = (typeof addressModes)[number]

/** An interface as the kernel describes it. */
export interface Link {
  readonly index: number
  readonly name: string
  readonly mtu: number
  /** Administratively up. */
  readonly up: boolean
  /** Up, and with a carrier: a bridge has one as long as a port has. */
  readonly running: boolean
  /** Lower case with colons; empty where there is none. */
  readonly mac: string
  readonly alias: string | undefined
  /** `bridge`, `veth` ..; undefined for hardware. */
  readonly kind: string | undefined
  /** Index of the bridge it is a port of. */
  readonly master: number | undefined
  /** Device group; 0 unless somebody set one. */
  readonly group: number
  readonly ipv6AddressMode: Ipv6AddressMode | undefined
}

/** Equivalent to: `ip link add name $name [address $mac] type bridge`. The bridge is down. */
export function linkAddBridge({ name, mac }: { name: string; mac?: string }): NetlinkChange {
  const payload = writeHeader({}).attributeString(IFLA_IFNAME, name)
  if (mac !== undefined) payload.attribute(IFLA_ADDRESS, parseMac(mac))
  payload.nest(IFLA_LINKINFO, () => payload.attributeString(IFLA_INFO_KIND, 'bridge'))
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: payload.finish(),
    name: `add bridge "${name}"`,
    command: () => words('link add name', name, mac && `address ${mac}`, 'type bridge'),
  }
}

/** What linkSet() changes; what is absent stays as it is. */
export interface LinkSettings {
  readonly mac?: string
  /** Free text of up to 255 bytes. */
  readonly alias?: string
  readonly mtu?: number
  readonly up?: boolean
  readonly ipv6AddressMode?: Ipv6AddressMode
  /** For a port of a bridge: whether frames may leave through the port they came in by. */
  readonly hairpin?: boolean
  /** The bridge to plug it into. */
  readonly master?: { readonly index: number; readonly name: string }
  /** A number that rules can match; 0 unless said otherwise. */
  readonly group?: number
}

/**
 * Equivalent to: `ip link set dev $name ...`.
 * The kernel takes `up` before `ipv6AddressMode`: where an interface has a carrier set the mode in a change before.
 */
export function linkSet(name: string, settings: LinkSettings): NetlinkChange {
  const { alias, mac, mtu, up, ipv6AddressMode, hairpin, master, group } = settings
  const payload = writeHeader(up === undefined ? {} : { flags: up ? IFF_UP : 0, change: IFF_UP })
  payload.attributeString(IFLA_IFNAME, name)
  if (mtu !== undefined) payload.attributeU32(IFLA_MTU, mtu)
  if (mac !== undefined) payload.attribute(IFLA_ADDRESS, parseMac(mac))
  if (alias !== undefined) payload.attribute(IFLA_IFALIAS, Buffer.from(alias))
  if (master !== undefined) payload.attributeU32(IFLA_MASTER, master.index)
  if (group !== undefined) payload.attributeU32(IFLA_GROUP, group)
  if (hairpin !== undefined) {
    payload.nest(IFLA_LINKINFO, () => {
      payload.attributeString(IFLA_INFO_SLAVE_KIND, 'bridge')
      payload.nest(IFLA_INFO_SLAVE_DATA, () => payload.attributeU8(IFLA_BRPORT_MODE, hairpin ? 1 : 0))
    })
  }
  if (ipv6AddressMode !== undefined) {
    payload.nest(IFLA_AF_SPEC, () =>
      payload.nest(AF_INET6, () =>
        payload.attributeU8(IFLA_INET6_ADDR_GEN_MODE, addressModes.indexOf(ipv6AddressMode)),
      ),
    )
  }
  return {
    type: RTM_NEWLINK,
    flags: 0,
    payload: payload.finish(),
    name: `set link "${name}"`,
    command: () =>
      words(
        [
          'link set dev',
          name,
          mtu && `mtu ${mtu}`,
          mac && `address ${mac}`,
          alias !== undefined && `alias ${shellQuote(alias)}`,
        ],
        [master && `master ${master.name}`, group !== undefined && `group ${group}`],
        [ipv6AddressMode && `addrgenmode ${ipv6AddressMode}`, up !== undefined && (up ? 'up' : 'down')],
        [hairpin !== undefined && `type bridge_slave hairpin ${hairpin ? 'on' : 'off'}`],
      ),
  }
}

/**
 * Moves an interface to another network namespace and renames it there; it is down afterwards, without addresses and routes.
 * Equivalent to: `ip link set dev $link netns $netns name $name`. Applying it fails with EEXIST where the name is taken there.
 */
export function linkMove(
  link: Pick<Link, 'index' | 'name'>,
  to: { readonly netnsFd: number; readonly netnsLabel: string; readonly name: string },
): NetlinkChange {
  // By its index: the kernel takes the name for the new one only then.
  const payload = writeHeader({ index: link.index }).attributeString(IFLA_IFNAME, to.name)
  return {
    type: RTM_NEWLINK,
    flags: 0,
    payload: payload.attributeU32(IFLA_NET_NS_FD, to.netnsFd).finish(),
    name: `move link "${link.name}"`,
    command: () => words('link set dev', link.name, `netns ${shellQuote(to.netnsLabel)}`, 'name', to.name),
  }
}

/** Equivalent to: `ip link set dev $link name $name`. The interface has to be down. */
export function linkRename(link: Pick<Link, 'index' | 'name'>, name: string): NetlinkChange {
  return {
    type: RTM_NEWLINK,
    flags: 0,
    payload: writeHeader({ index: link.index }).attributeString(IFLA_IFNAME, name).finish(),
    name: `rename link "${link.name}"`,
    command: () => words('link set dev', link.name, 'name', name),
  }
}

/** Equivalent to: `ip link delete dev $name`. Applying it fails with ENODEV where there is none. */
export function linkRemove(name: string): NetlinkChange {
  return {
    type: RTM_DELLINK,
    flags: 0,
    payload: writeHeader({}).attributeString(IFLA_IFNAME, name).finish(),
    name: `remove link "${name}"`,
    command: () => words('link delete dev', name),
  }
}

/** Equivalent to: `ip link show dev $name`. @returns undefined where there is none */
export function getLink(socket: NetlinkSocket, nameOrIndex: string | number): Link | undefined {
  const payload = writeHeader(typeof nameOrIndex === 'number' ? { index: nameOrIndex } : {})
  if (typeof nameOrIndex === 'string') payload.attributeString(IFLA_IFNAME, nameOrIndex)
  payload.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
  try {
    return parseLink(socket.get(RTM_GETLINK, payload.finish()))
  } catch (error) {
    if (hasCode(error, 'ENODEV')) return undefined
    throw error
  }
}

/** Equivalent to: `ip link show [type $kind] [master $master]`. @param filter applied by the kernel */
export function listLinks(socket: NetlinkSocket, filter: { kind?: string; master?: number } = {}): Link[] {
  const { kind, master } = filter
  const payload = writeHeader({}).attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
  if (master !== undefined) payload.attributeU32(IFLA_MASTER, master)
  if (kind !== undefined) payload.nest(IFLA_LINKINFO, () => payload.attributeString(IFLA_INFO_KIND, kind))
  // A kind that no loaded module knows is no filter to the kernel: it lists everything then.
  return socket
    .dump(RTM_GETLINK, payload.finish(), parseLink)
    .filter(link => (kind === undefined || link.kind === kind) && (master === undefined || link.master === master))
}

/** Reads an RTM_NEWLINK message. @throws FormatError */
export function parseLink(message: Pick<NetlinkMessage, 'payload'>): Link {
  const reader = new ByteReader(message.payload)
  const attributes = parseAttributes(message.payload, headerLength)
  const flags = reader.u32(8)
  const inet6 = nestedAttributes(nestedAttributes(attributes, IFLA_AF_SPEC), AF_INET6)
  const mode = attributeU8(inet6, IFLA_INET6_ADDR_GEN_MODE)
  return {
    index: reader.i32(4),
    name: attributeString(attributes, IFLA_IFNAME) ?? '',
    mtu: attributeU32(attributes, IFLA_MTU) ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_RUNNING) !== 0,
    mac: formatMac(attributes.get(IFLA_ADDRESS)),
    alias: attributeString(attributes, IFLA_IFALIAS),
    kind: attributeString(nestedAttributes(attributes, IFLA_LINKINFO), IFLA_INFO_KIND),
    master: attributeU32(attributes, IFLA_MASTER),
    group: attributeU32(attributes, IFLA_GROUP) ?? 0,
    ipv6AddressMode: mode === undefined ? undefined : addressModes[mode],
  }
}

/** The bytes of `02:42:0a:00:00:02`. @throws Error when `mac` is none */
export function parseMac(mac: string): Buffer {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) throw new Error(`not a MAC address: "${mac}"`)
  return Buffer.from(mac.split(':').map(byte => Number.parseInt(byte, 16)))
}

export function formatMac(bytes: Buffer | undefined): string {
  return Array.from(bytes ?? [], byte => byte.toString(16).padStart(2, '0')).join(':')
}

/** struct ifinfomsg. */
export function writeHeader(
  { index = 0, flags = 0, change = 0 }: { index?: number; flags?: number; change?: number },
  writer = new PayloadWriter(),
): PayloadWriter {
  writer.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(change)
  return writer
}

type Word = string | number | false | undefined

/** Joins what there is of the words of a command. */
export function words(...parts: (Word | readonly Word[])[]): string {
  return parts
    .flat()
    .filter(part => typeof part === 'string' && part !== '')
    .join(' ')
}
