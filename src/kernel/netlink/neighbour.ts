// `ip neighbour`: which link-layer address the kernel knows for an address.

import { ByteReader } from '../../lib/bytes.ts'
import { addressFromBytes, formatAddress } from '../../lib/ip.ts'
import { NTF_EXT_LEARNED } from './fdb.ts'
import { formatMac } from './link.ts'
import { PayloadWriter, parseAttributes } from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_GETNEIGH = 30
const NDA_DST = 1
const NDA_LLADDR = 2
const NDA_IFINDEX = 8
const headerLength = 12
// NUD_* of linux/neighbour.h
const PERMANENT = 0x80
const FAILED = 0x20
const INCOMPLETE = 0x01

export interface Neighbour {
  readonly address: string
  /** Lower case with colons; undefined while nobody has answered. */
  readonly mac: string | undefined
  readonly state: 'known' | 'permanent' | 'failed'
  /** Made by neighbourHint(), whatever it has become since. */
  readonly isHint: boolean
}

/** Equivalent to: `ip neighbour show dev $name`, both families. */
export function listNeighbours(socket: NetlinkSocket, index: number): Neighbour[] {
  const payload = new PayloadWriter(32)
  payload.u8(0).u8(0).u16(0).u32(0).u16(0).u8(0).u8(0)
  payload.attributeU32(NDA_IFINDEX, index)
  return socket.dump(RTM_GETNEIGH, payload.finish(), message => {
    const reader = new ByteReader(message.payload)
    const attributes = parseAttributes(message.payload, headerLength)
    const address = addressFromBytes(attributes.get(NDA_DST) ?? Buffer.alloc(0))
    if (reader.i32(4) !== index || address === undefined) return undefined
    const state = reader.u16(8)
    const mac = attributes.get(NDA_LLADDR)
    const isUnknown = (state & (FAILED | INCOMPLETE)) !== 0 || mac === undefined
    return {
      address: formatAddress(address),
      mac: isUnknown ? undefined : formatMac(mac),
      state: isUnknown ? 'failed' : (state & PERMANENT) !== 0 ? 'permanent' : 'known',
      isHint: (reader.u8(10) & NTF_EXT_LEARNED) !== 0,
    }
  })
}
