// `ip route get`: what the kernel would do with a packet, routing rules of every table included.

import { ByteReader } from '../../lib/bytes.ts'
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from '../../lib/ip.ts'
import { attributeU32, PayloadWriter, parseAttributes } from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_GETROUTE = 26
const RTA_DST = 1
const RTA_SRC = 2
const RTA_IIF = 3
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_TABLE = 15
const AF_INET = 2
const AF_INET6 = 10
const headerLength = 12
// RTN_* of linux/rtnetlink.h
const kinds = [
  '',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
] as const

/** Where a packet goes. */
export interface RouteDecision {
  readonly kind: (typeof kinds)[number]
  /** The interface it leaves by. */
  readonly index: number | undefined
  readonly gateway: string | undefined
  readonly table: number | undefined
}

/** The packet that is asked about. */
export interface RouteQuestion {
  readonly destination: string
  readonly source?: string
  /** It comes in by this interface, and is not the host's own; then `source` is needed. */
  readonly inputIndex?: number
}

/**
 * Equivalent to: `ip route get $destination [from $source iif $name]`.
 * @throws NetlinkError ENETUNREACH, EHOSTUNREACH (also when the host does not forward), EACCES (prohibit), EINVAL (blackhole),
 *   EXDEV (the reverse path filter)
 */
export function lookupRoute(socket: NetlinkSocket, { destination, source, inputIndex }: RouteQuestion): RouteDecision {
  const to = parseAddress(destination)
  const bits = to.family === 4 ? 32 : 128
  const payload = new PayloadWriter(64)
  payload.u8(to.family === 4 ? AF_INET : AF_INET6)
  payload.u8(bits)
  payload.u8(source === undefined ? 0 : bits)
  payload.u8(0).u8(0).u8(0).u8(0).u8(0).u32(0)
  payload.attribute(RTA_DST, addressBytes(to))
  if (source !== undefined) payload.attribute(RTA_SRC, addressBytes(parseAddress(source)))
  if (inputIndex !== undefined) payload.attributeU32(RTA_IIF, inputIndex)
  const answer = socket.get(RTM_GETROUTE, payload.finish())
  const attributes = parseAttributes(answer.payload, headerLength)
  const gateway = addressFromBytes(attributes.get(RTA_GATEWAY) ?? Buffer.alloc(0))
  return {
    kind: kinds[new ByteReader(answer.payload).u8(7)] ?? '',
    index: attributeU32(attributes, RTA_OIF),
    gateway: gateway === undefined ? undefined : formatAddress(gateway),
    table: attributeU32(attributes, RTA_TABLE),
  }
}
