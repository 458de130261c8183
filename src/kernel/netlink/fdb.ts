// `bridge fdb` and fixed `ip neighbour` entries: which machine a MAC address is behind, and which MAC an address has, where nobody
// is to be asked. Numbers are from linux/neighbour.h.

import { ByteReader } from '../../lib/bytes.ts'
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from '../../lib/ip.ts'
import { formatMac, parseMac } from './link.ts'
import { type NetlinkChange, NLM_F_CREATE, NLM_F_REPLACE, PayloadWriter, parseAttributes } from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_NEWNEIGH = 28
const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30
const NDA_DST = 1
const NDA_LLADDR = 2
const NDA_MASTER = 9
const AF_INET = 2
const AF_INET6 = 10
const AF_BRIDGE = 7
const NTF_SELF = 2
const NTF_MASTER = 4
export const NTF_EXT_LEARNED = 0x10
const NUD_REACHABLE = 0x02
const NUD_STALE = 0x04
const NUD_NOARP = 0x40
const NUD_PERMANENT = 0x80
const headerLength = 12

/** The interface that an entry is of. */
export interface EntryLink {
  readonly index: number
  readonly name: string
}

/** Frames to `mac` go to the machine `address`. */
export interface FdbEntry {
  readonly mac: string
  readonly address: string
}

/** Equivalent to: `bridge fdb replace $mac dev $name dst $address self permanent`, on a vxlan interface. */
export function fdbReplace(link: EntryLink, { mac, address }: FdbEntry): NetlinkChange {
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: fdbPayload(link, { mac, address }),
    program: 'bridge',
    name: `send frames for ${mac} on "${link.name}" to ${address}`,
    command: () => `fdb replace ${mac} dev ${link.name} dst ${address} self permanent`,
  }
}

/** Equivalent to: `bridge fdb delete $mac dev $name dst $address self`. Applying it fails with ENOENT where there is none. */
export function fdbRemove(link: EntryLink, { mac, address }: FdbEntry): NetlinkChange {
  return {
    type: RTM_DELNEIGH,
    flags: 0,
    payload: fdbPayload(link, { mac, address }),
    program: 'bridge',
    name: `forget where frames for ${mac} on "${link.name}" go`,
    command: () => `fdb delete ${mac} dev ${link.name} dst ${address} self`,
  }
}

/**
 * Equivalent to: `bridge fdb replace $mac dev $name master static`. Frames for `mac` go to this port of a bridge and to no other,
 * until the port goes, or the MAC address is seen behind another port.
 */
export function portFdbReplace(port: EntryLink, mac: string): NetlinkChange {
  const payload = writeHeader(AF_BRIDGE, port.index, { state: NUD_NOARP | NUD_REACHABLE, flags: NTF_MASTER })
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: payload.attribute(NDA_LLADDR, parseMac(mac)).finish(),
    program: 'bridge',
    name: `send frames for ${mac} to "${port.name}"`,
    command: () => `fdb replace ${mac} dev ${port.name} master static`,
  }
}

/** Equivalent to: `bridge fdb show br $bridge`: which port each MAC address is behind, by the port's index. */
export function listPortFdb(socket: NetlinkSocket, bridge: number): Map<string, number> {
  const payload = writeHeader(AF_BRIDGE, 0, { state: 0, flags: 0 }).attributeU32(NDA_MASTER, bridge).finish()
  const entries = socket.dump(RTM_GETNEIGH, payload, ({ payload }) => {
    const mac = parseAttributes(payload, headerLength).get(NDA_LLADDR)
    return mac === undefined ? undefined : ([formatMac(mac), new ByteReader(payload).i32(4)] as const)
  })
  return new Map(entries)
}

/** Equivalent to: `bridge fdb show dev $name`: the entries that name a machine. */
export function listFdb(socket: NetlinkSocket, index: number): FdbEntry[] {
  const payload = writeHeader(AF_BRIDGE, index, { state: 0, flags: 0 }).finish()
  return socket.dump(RTM_GETNEIGH, payload, message => {
    const reader = new ByteReader(message.payload)
    const attributes = parseAttributes(message.payload, headerLength)
    const mac = attributes.get(NDA_LLADDR)
    const address = addressFromBytes(attributes.get(NDA_DST) ?? Buffer.alloc(0))
    if (reader.i32(4) !== index || mac === undefined || address === undefined) return undefined
    return { mac: formatMac(mac), address: formatAddress(address) }
  })
}

/** Equivalent to: `ip neighbour replace $address lladdr $mac dev $name nud permanent`. */
export function neighbourReplace(link: EntryLink, { mac, address }: FdbEntry): NetlinkChange {
  const to = parseAddress(address)
  const payload = writeHeader(familyOf(to.family), link.index, { state: NUD_PERMANENT, flags: 0 })
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: payload.attribute(NDA_DST, addressBytes(to)).attribute(NDA_LLADDR, parseMac(mac)).finish(),
    name: `fix neighbour ${address} of "${link.name}"`,
    command: () => `neighbour replace ${address} lladdr ${mac} dev ${link.name} nud permanent`,
  }
}

/**
 * Equivalent to: `ip neighbour replace $address lladdr $mac dev $name nud stale extern_learn`. Nobody has to be asked for `mac`,
 * and the entry does not count among those that the kernel keeps few of (gc_thresh3); but it is checked as soon as it is used, and
 * gives way to what the neighbours say.
 */
export function neighbourHint(link: EntryLink, { mac, address }: FdbEntry): NetlinkChange {
  const to = parseAddress(address)
  const payload = writeHeader(familyOf(to.family), link.index, { state: NUD_STALE, flags: NTF_EXT_LEARNED })
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: payload.attribute(NDA_DST, addressBytes(to)).attribute(NDA_LLADDR, parseMac(mac)).finish(),
    name: `tell "${link.name}" the neighbour ${address}`,
    command: () => `neighbour replace ${address} lladdr ${mac} dev ${link.name} nud stale extern_learn`,
  }
}

/** Equivalent to: `ip neighbour delete $address dev $name`. Applying it fails with ENOENT where there is none. */
export function neighbourRemove(link: EntryLink, address: string): NetlinkChange {
  const to = parseAddress(address)
  return {
    type: RTM_DELNEIGH,
    flags: 0,
    payload: writeHeader(familyOf(to.family), link.index, { state: 0, flags: 0 })
      .attribute(NDA_DST, addressBytes(to))
      .finish(),
    name: `forget neighbour ${address} of "${link.name}"`,
    command: () => `neighbour delete ${address} dev ${link.name}`,
  }
}

function fdbPayload(link: EntryLink, { mac, address }: FdbEntry): Buffer {
  return writeHeader(AF_BRIDGE, link.index, { state: NUD_PERMANENT | NUD_NOARP, flags: NTF_SELF })
    .attribute(NDA_DST, addressBytes(parseAddress(address)))
    .attribute(NDA_LLADDR, parseMac(mac))
    .finish()
}

function familyOf(family: 4 | 6): number {
  return family === 4 ? AF_INET : AF_INET6
}

/** struct ndmsg. */
function writeHeader(family: number, index: number, { state, flags }: { state: number; flags: number }): PayloadWriter {
  const writer = new PayloadWriter(64)
  writer.u8(family).u8(0).u16(0).u32(index).u16(state).u8(flags).u8(0)
  return writer
}
