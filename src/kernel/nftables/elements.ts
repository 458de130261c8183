// Elements of nftables sets and maps as values: one description that is sent to the kernel and printed as `nft` text.
// Key and data formats: concatenated fields, each padded to four bytes.

import { type ByteReader, ByteWriter, readCString } from '../../lib/bytes.ts'
import {
  addressBytes,
  formatAddress,
  formatPrefix,
  type IpAddress,
  type IpPrefix,
  lastAddress,
  nextAddress,
} from '../../lib/ip.ts'
import {
  attribute,
  bytesAttribute,
  eachAttribute,
  nested,
  readAttributes,
  stringAttribute,
  u32At,
} from './attributes.ts'
import { NFPROTO_INET, type NfMessage, NLM_F_CREATE, NLM_F_EXCL, SUBSYS_NFTABLES } from './nfnetlink.ts'

const NEWSETELEM = (SUBSYS_NFTABLES << 8) | 12
const GETSETELEM = (SUBSYS_NFTABLES << 8) | 13
const DELSETELEM = (SUBSYS_NFTABLES << 8) | 14
const INTERVAL_END = 1
const KEY_END = 10

/** One part of a key or of data: what the kernel compares, and how `nft` writes it. */
export interface Field {
  readonly bytes: Uint8Array
  readonly text: string
  /** For intervals: the first key behind it; undefined where the interval ends with the key space. */
  readonly end?: Uint8Array | undefined
  /** For intervals that are part of a concatenation: the last key of it. */
  readonly last?: Uint8Array
  readonly interval?: boolean
}

/** An element of a set, or of a map when it has data. */
export interface SetElement {
  readonly set: string
  readonly key: readonly Field[]
  readonly data?: readonly Field[]
  /** At most 127 bytes; shown by `nft list`. */
  readonly comment?: string
}

/** An element as the kernel reports it. */
export interface StoredElement {
  readonly key: Buffer
  readonly data: Buffer | undefined
  readonly comment: string | undefined
}

/** An interface name, or any string of at most 15 bytes. */
export function nameField(name: string): Field {
  const bytes = Buffer.alloc(16)
  bytes.write(name, 0, 15, 'utf8')
  return { bytes, text: `"${name}"` }
}

export function addressField(address: IpAddress): Field {
  return { bytes: addressBytes(address), text: formatAddress(address) }
}

/** A whole subnet; for sets with `flags interval`. */
export function subnetField(prefix: IpPrefix): Field {
  const behind = nextAddress(lastAddress(prefix))
  const end = behind === undefined ? undefined : addressBytes(behind)
  const last = addressBytes(lastAddress(prefix))
  return { bytes: addressBytes(prefix), text: formatPrefix(prefix), end, last, interval: true }
}

const protocols = { tcp: 6, udp: 17, sctp: 132 } as const

export function protocolField(protocol: keyof typeof protocols): Field {
  return { bytes: Buffer.from([protocols[protocol]]), text: protocol }
}

/** The name of a protocol number that protocolField wrote. */
export function protocolOf(number: number | undefined): keyof typeof protocols {
  if (number === protocols.udp) return 'udp'
  return number === protocols.sctp ? 'sctp' : 'tcp'
}

export function portField(port: number): Field {
  return { bytes: Buffer.from([port >> 8, port & 255]), text: String(port) }
}

export function numberField(value: number): Field {
  const bytes = new Uint8Array(new Uint32Array([value]).buffer)
  return { bytes, text: String(value) }
}

/**
 * Adds an element. With `exclusive` an element with this key is an error (EEXIST); without, only one with other data
 * (EEXIST, or EBUSY on older kernels).
 * Equivalent to: `nft create element inet $table $set { $key : $data }`, or `nft add element`.
 */
export function addElement(table: string, element: SetElement, exclusive: boolean): NfMessage {
  return {
    type: NEWSETELEM,
    family: NFPROTO_INET,
    flags: NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0),
    body: writer => writeElement(writer, table, element, true),
  }
}

/** Deletes the element with this key, whatever its data. Equivalent to: `nft delete element inet $table $set { $key }`. */
export function deleteElement(table: string, element: SetElement): NfMessage {
  return {
    type: DELSETELEM,
    family: NFPROTO_INET,
    flags: 0,
    body: writer => writeElement(writer, table, element, false),
  }
}

/** Asks for the element with this key; a request that fails with ENOENT where there is none. */
export function getElement(table: string, element: SetElement): NfMessage {
  return {
    type: GETSETELEM,
    family: NFPROTO_INET,
    flags: 0,
    body: writer => writeElement(writer, table, element, false),
  }
}

/** Asks for all elements of a set. */
export function dumpElements(table: string, set: string): NfMessage {
  return {
    type: GETSETELEM,
    family: NFPROTO_INET,
    flags: 0,
    body: writer => {
      stringAttribute(writer, 1, table)
      stringAttribute(writer, 2, set)
    },
  }
}

/** Reads what getElement and dumpElements bring. Ends of intervals are left out. */
export function parseElements(replies: readonly ByteReader[]): StoredElement[] {
  const elements: StoredElement[] = []
  for (const reader of replies) {
    const list = readAttributes(reader, 0, reader.length).get(3)
    if (list === undefined) continue
    for (const [, from, to] of eachAttribute(reader, list[0], list[1])) {
      const parts = readAttributes(reader, from, to)
      const flags = parts.get(3)
      if (flags !== undefined && (u32At(reader, flags) & INTERVAL_END) !== 0) continue
      const key = valueIn(reader, parts.get(1))
      if (key === undefined) continue
      elements.push({ key, data: valueIn(reader, parts.get(2)), comment: commentIn(reader, parts.get(6)) })
    }
  }
  return elements
}

/** The fields as the kernel keeps them: each padded to a multiple of four bytes. */
export function concatenate(fields: readonly Field[]): Buffer {
  const writer = new ByteWriter(48)
  for (const field of fields) writer.bytes(field.bytes).align()
  return writer.finish()
}

/** `tcp . 80 comment "x" : 10.9.0.2 . 8000`. */
export function elementText({ key, data, comment }: SetElement): string {
  const text = (fields: readonly Field[]) => fields.map(field => field.text).join(' . ')
  const note = comment === undefined ? '' : ` comment ${JSON.stringify(comment)}`
  return `${text(key)}${note}${data === undefined ? '' : ` : ${text(data)}`}`
}

function writeElement(
  writer: ByteWriter,
  table: string,
  { set, key, data, comment }: SetElement,
  whole: boolean,
): void {
  stringAttribute(writer, 1, table)
  stringAttribute(writer, 2, set)
  nested(writer, 3, () => {
    nested(writer, 1, () => {
      nested(writer, 1, () => writeValue(writer, key))
      // Concatenated intervals have their ends beside them, in one element.
      if (key.length > 1 && key.some(field => field.last !== undefined))
        nested(writer, KEY_END, () =>
          writeValue(
            writer,
            key.map(({ bytes, last = bytes, text }) => ({ bytes: last, text })),
          ),
        )
      if (!whole) return
      if (data !== undefined) nested(writer, 2, () => writeValue(writer, data))
      if (comment !== undefined) bytesAttribute(writer, 6, commentData(comment))
    })
    // An interval of a single field is two elements, its first key and the first key behind it.
    const end = key.length === 1 ? key[0]?.end : undefined
    if (end === undefined) return
    nested(writer, 1, () => {
      nested(writer, 1, () => bytesAttribute(writer, 1, end))
      attribute(writer, 3, () => writer.u32be(INTERVAL_END))
    })
  })
}

function writeValue(writer: ByteWriter, fields: readonly Field[]): void {
  attribute(writer, 1, () => {
    for (const [i, field] of fields.entries()) {
      writer.bytes(field.bytes)
      if (fields.length > 1 || i > 0) writer.align()
    }
  })
}

let lastComment = { text: '', data: encodeComment('') }

/** NFTNL_UDATA_*_COMMENT of libnftnl: type 0, length, the text with its zero byte. The same for elements and rules. */
export function commentData(comment: string): Buffer {
  // The elements of one endpoint all have the same.
  if (comment !== lastComment.text) lastComment = { text: comment, data: encodeComment(comment) }
  return lastComment.data
}

function encodeComment(comment: string): Buffer {
  const text = Buffer.from(`${comment}\0`)
  return Buffer.concat([Buffer.from([0, text.length]), text])
}

/** The comment in user data as libnftnl writes it, or undefined where there is none. */
export function commentOf(userdata: Uint8Array): string | undefined {
  for (let at = 0; at + 2 <= userdata.length; at += 2 + (userdata[at + 1] ?? 0))
    if (userdata[at] === 0) return readCString(userdata.subarray(at + 2, at + 2 + (userdata[at + 1] ?? 0)))
  return undefined
}

function commentIn(reader: ByteReader, range: readonly [number, number] | undefined): string | undefined {
  return range === undefined ? undefined : commentOf(reader.slice(range[0], range[1]))
}

function valueIn(reader: ByteReader, range: readonly [number, number] | undefined): Buffer | undefined {
  if (range === undefined) return undefined
  const value = readAttributes(reader, range[0], range[1]).get(1)
  return value === undefined ? undefined : reader.slice(value[0], value[1])
}
