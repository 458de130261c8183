// The netlink wire format: struct nlmsghdr (linux/netlink.h), attributes, acknowledgements with extended text.
// Pure functions on bytes. What is parsed here may come from anybody, so lengths are checked and every loop advances.

import { align4, ByteReader, ByteWriter, FormatError, readCString } from '../../lib/bytes.ts'

// linux/netlink.h
export const NLMSG_NOOP = 1
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const NLM_F_REQUEST = 0x1
export const NLM_F_MULTI = 0x2
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff
const NLMSGERR_ATTR_MSG = 1
const NLMSG_HEADER_LENGTH = 16

/** One change to the kernel as a value: made by the builders in this folder, performed by NetlinkSocket.apply(). */
export interface NetlinkChange {
  /** e.g. RTM_NEWLINK. */
  readonly type: number
  /** Beside NLM_F_REQUEST and NLM_F_ACK, which the socket adds. */
  readonly flags: number
  /** The family header and the attributes. */
  readonly payload: Buffer
  /** Of iproute2; default `ip`. */
  readonly program?: 'bridge'
  /** The arguments of `ip` that do the same, e.g. `link set dev br up`. Equivalent, pasteable, built from the same spec. */
  readonly command: () => string
  /** What it does, for errors: `cannot <name>`, e.g. `add link "br"`. */
  readonly name: string
}

/** A received message, its payload a view into the receive buffer. */
export interface NetlinkMessage {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  readonly payload: Buffer
}

/** Attributes by type (nested and byte-order flags removed); of repeated ones the last, as in the kernel. */
export type Attributes = ReadonlyMap<number, Buffer>

/** Writes a family header and attributes. */
export class PayloadWriter extends ByteWriter {
  /** An attribute with raw bytes. */
  attribute(type: number, value: Uint8Array): this {
    return this.u16(4 + value.length)
      .u16(type)
      .bytes(value)
      .align()
  }

  attributeU8(type: number, value: number): this {
    return this.u16(5).u16(type).u8(value).align()
  }

  attributeU16(type: number, value: number): this {
    return this.u16(6).u16(type).u16(value).align()
  }

  attributeU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value)
  }

  /** A zero-terminated string. */
  attributeString(type: number, value: string): this {
    return this.u16(5 + Buffer.byteLength(value))
      .u16(type)
      .cString(value)
      .align()
  }

  /** An attribute that holds what `write` writes. @param flag NLA_F_NESTED, which strictly checked types want */
  nest(type: number, write: () => void, flag = true): this {
    const start = this.length
    this.u16(0).u16(flag ? type | NLA_F_NESTED : type)
    write()
    this.patchU16(start, this.length - start)
    return this.align()
  }
}

/** One message: header and payload, padded to four bytes. */
export function encodeMessage(type: number, flags: number, sequence: number, payload: Uint8Array): Buffer {
  return new ByteWriter(NLMSG_HEADER_LENGTH + align4(payload.length))
    .u32(NLMSG_HEADER_LENGTH + payload.length)
    .u16(type)
    .u16(flags)
    .u32(sequence)
    .u32(0)
    .bytes(payload)
    .align()
    .finish()
}

/** Splits a received datagram. @throws FormatError when a length does not fit */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const reader = new ByteReader(datagram)
  const messages: NetlinkMessage[] = []
  for (let at = 0; at < reader.length; ) {
    const length = reader.u32(at)
    if (length < NLMSG_HEADER_LENGTH) throw new FormatError(`netlink message of ${length} bytes`)
    messages.push({
      type: reader.u16(at + 4),
      flags: reader.u16(at + 6),
      sequence: reader.u32(at + 8),
      payload: reader.slice(at + NLMSG_HEADER_LENGTH, at + length),
    })
    at += align4(length)
  }
  return messages
}

/** Reads the attributes behind the first `offset` bytes of `bytes`. @throws FormatError */
export function parseAttributes(bytes: Uint8Array, offset = 0): Attributes {
  const reader = new ByteReader(bytes)
  const attributes = new Map<number, Buffer>()
  if (offset > reader.length) throw new FormatError(`truncated: header of ${offset} bytes in ${reader.length}`)
  for (let at = offset; at < reader.length; ) {
    const length = reader.u16(at)
    if (length < 4) throw new FormatError(`netlink attribute of ${length} bytes`)
    attributes.set(reader.u16(at + 2) & NLA_TYPE_MASK, reader.slice(at + 4, at + length))
    at += align4(length)
  }
  return attributes
}

/** The attributes nested in attribute `type`; none when it is absent. @throws FormatError */
export function nestedAttributes(attributes: Attributes, type: number): Attributes {
  const value = attributes.get(type)
  return value === undefined ? new Map() : parseAttributes(value)
}

/** A 32-bit attribute. @throws FormatError when it is shorter */
export function attributeU32(attributes: Attributes, type: number): number | undefined {
  const value = attributes.get(type)
  return value === undefined ? undefined : new ByteReader(value).u32(0)
}

/** An 8-bit attribute. @throws FormatError when it is empty */
export function attributeU8(attributes: Attributes, type: number): number | undefined {
  const value = attributes.get(type)
  return value === undefined ? undefined : new ByteReader(value).u8(0)
}

export function attributeString(attributes: Attributes, type: number): string | undefined {
  const value = attributes.get(type)
  return value === undefined ? undefined : readCString(value)
}

/** What an NLMSG_ERROR or NLMSG_DONE message says. */
export interface Acknowledgement {
  /** 0 for success, else a positive errno. */
  readonly errno: number
  /** The kernel's own words, where it has any. */
  readonly text: string | undefined
}

/** Reads an NLMSG_ERROR payload (struct nlmsgerr and, with NETLINK_EXT_ACK, attributes). @throws FormatError */
export function parseAcknowledgement(message: NetlinkMessage): Acknowledgement {
  const reader = new ByteReader(message.payload)
  const errno = positive(reader.i32(0))
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: undefined }
  // With NETLINK_CAP_ACK only the header of our message is sent back, without it the whole.
  const echoed = message.flags & NLM_F_CAPPED ? NLMSG_HEADER_LENGTH : align4(reader.u32(4))
  return { errno, text: attributeString(parseAttributes(message.payload, 4 + echoed), NLMSGERR_ATTR_MSG) }
}

/** Reads the end of a dump: an errno where it failed half way. Kernels before 4.20 send no payload. @throws FormatError */
export function parseDone(message: NetlinkMessage): Acknowledgement {
  if (message.payload.length < 4) return { errno: 0, text: undefined }
  const errno = positive(new ByteReader(message.payload).i32(0))
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: undefined }
  return { errno, text: attributeString(parseAttributes(message.payload, 4), NLMSGERR_ATTR_MSG) }
}

function positive(kernelErrno: number): number {
  return kernelErrno === 0 ? 0 : Math.abs(kernelErrno)
}
