// `ip address`: addresses of interfaces. Numbers are from linux/rtnetlink.h and linux/if_addr.h.

import { ByteReader } from '../../lib/bytes.ts'
import { addressBytes, addressFromBytes, broadcastOf, formatPrefix, parsePrefix } from '../../lib/ip.ts'
import {
  type NetlinkChange,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  PayloadWriter,
  parseAttributes,
} from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_BROADCAST = 4
const IFA_F_NODAD = 2
const AF_INET = 2
const AF_INET6 = 10
const headerLength = 8

/** An address on an interface, with its prefix length, e.g. `192.168.0.2/24`. */
export interface AddressSpec {
  readonly index: number
  /** Name of the interface, for the printed command. */
  readonly interfaceName: string
  readonly address: string
  /** Whether it has a broadcast address; default true, for IPv6 it has none. */
  readonly hasBroadcast?: boolean
}

/**
 * Equivalent to: `ip address add $address brd + dev $name`, for IPv6 `ip address add $address dev $name nodad`:
 * the address is ours to give, and duplicate address detection would keep it unusable for a second or two.
 * Applying it fails with EEXIST when the interface has it.
 */
export function addressAdd({ index, interfaceName, address, hasBroadcast = true }: AddressSpec): NetlinkChange {
  const prefix = parsePrefix(address)
  const bytes = addressBytes(prefix)
  const broadcast = hasBroadcast ? broadcastOf(prefix) : undefined
  const payload = writeHeader(prefix.family, prefix.length, prefix.family === 6 ? IFA_F_NODAD : 0, index)
  payload.attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes)
  if (broadcast !== undefined) payload.attribute(IFA_BROADCAST, addressBytes(broadcast))
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: payload.finish(),
    name: `add address ${address} to "${interfaceName}"`,
    command: () => {
      const more = broadcast === undefined ? '' : ' brd +'
      return `address add ${address}${more} dev ${interfaceName}${prefix.family === 6 ? ' nodad' : ''}`
    },
  }
}

/** Equivalent to: `ip address delete $address dev $name`. Applying it fails with EADDRNOTAVAIL where it is not. */
export function addressRemove({ index, interfaceName, address }: AddressSpec): NetlinkChange {
  const prefix = parsePrefix(address)
  const bytes = addressBytes(prefix)
  const payload = writeHeader(prefix.family, prefix.length, 0, index)
  return {
    type: RTM_DELADDR,
    flags: 0,
    payload: payload.attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes).finish(),
    name: `remove address ${address} from "${interfaceName}"`,
    command: () => `address delete ${address} dev ${interfaceName}`,
  }
}

/** Equivalent to: `ip address show dev $name`. @returns addresses with prefix length in canonical text */
export function listAddresses(socket: NetlinkSocket, index: number): string[] {
  return listAddressSpecs(socket, index).map(found => found.address)
}

/** As listAddresses(), with what addressAdd() needs to make the same again. */
export function listAddressSpecs(
  socket: NetlinkSocket,
  index: number,
): { readonly address: string; readonly hasBroadcast: boolean }[] {
  return socket
    .dump(RTM_GETADDR, writeHeader(0, 0, 0, index).finish(), parseInterfaceAddress)
    .filter(found => found.index === index)
    .map(({ address, hasBroadcast }) => ({ address, hasBroadcast }))
}

/** Equivalent to: `ip address show`. */
export function listAllAddresses(socket: NetlinkSocket): { readonly index: number; readonly address: string }[] {
  return socket.dump(RTM_GETADDR, writeHeader(0, 0, 0, 0).finish(), parseInterfaceAddress)
}

/** Reads an RTM_NEWADDR message. @returns undefined for families other than IPv4 and IPv6 @throws FormatError */
export function parseInterfaceAddress(
  message: Pick<NetlinkMessage, 'payload'>,
): { readonly index: number; readonly address: string; readonly hasBroadcast: boolean } | undefined {
  const reader = new ByteReader(message.payload)
  const attributes = parseAttributes(message.payload, headerLength)
  // IFA_ADDRESS is the far end on point-to-point links; IPv6 has IFA_LOCAL only there.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
  const address = bytes === undefined ? undefined : addressFromBytes(bytes)
  if (address === undefined) return undefined
  return {
    index: reader.u32(4),
    address: formatPrefix({ ...address, length: reader.u8(1) }),
    hasBroadcast: attributes.has(IFA_BROADCAST),
  }
}

/** struct ifaddrmsg. */
function writeHeader(family: 0 | 4 | 6, prefixLength: number, flags: number, index: number): PayloadWriter {
  const writer = new PayloadWriter(64)
  writer.u8(family === 0 ? 0 : family === 4 ? AF_INET : AF_INET6)
  writer.u8(prefixLength).u8(flags).u8(0).u32(index)
  return writer
}
