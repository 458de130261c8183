// Netlink attributes as nfnetlink wants them: numbers in network byte order, unlike rtnetlink.
// https://docs.kernel.org/userspace-api/netlink/intro.html; layout in <linux/netlink.h>.

import { align4, type ByteReader, type ByteWriter, FormatError, readCString } from '../../lib/bytes.ts'

const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff

/** Writes one attribute around what `payload` writes. */
export function attribute(writer: ByteWriter, type: number, payload: () => void): void {
  const at = writer.length
  writer.u16(0).u16(type)
  payload()
  writer.patchU16(at, writer.length - at)
  writer.align()
}

/** Writes an attribute that holds attributes. */
export function nested(writer: ByteWriter, type: number, payload: () => void): void {
  attribute(writer, type | NLA_F_NESTED, payload)
}

export function stringAttribute(writer: ByteWriter, type: number, value: string): void {
  attribute(writer, type, () => writer.cString(value))
}

export function bytesAttribute(writer: ByteWriter, type: number, value: Uint8Array): void {
  attribute(writer, type, () => writer.bytes(value))
}

export function u32Attribute(writer: ByteWriter, type: number, value: number): void {
  attribute(writer, type, () => writer.u32be(value))
}

/** Attributes by type, each with where its payload begins and ends. The last of equal types wins. */
export type AttributeMap = ReadonlyMap<number, readonly [from: number, to: number]>

/** Splits the attributes between `from` and `to`. @throws FormatError when a length lies */
export function readAttributes(reader: ByteReader, from: number, to: number): AttributeMap {
  const found = new Map<number, readonly [number, number]>()
  for (const [type, begin, end] of eachAttribute(reader, from, to)) found.set(type, [begin, end])
  return found
}

/** The attributes between `from` and `to` in order. @throws FormatError when a length lies */
export function* eachAttribute(
  reader: ByteReader,
  from: number,
  to: number,
): Generator<readonly [type: number, from: number, to: number]> {
  let at = from
  while (at + 4 <= to) {
    const length = reader.u16(at)
    const type = reader.u16(at + 2) & NLA_TYPE_MASK
    const payload = reader.slice(at + 4, at + length)
    yield [type, at + 4, at + 4 + payload.length]
    at += align4(length)
  }
}

/** The string in attribute `type`, or undefined where it is missing. */
export function stringIn(reader: ByteReader, attributes: AttributeMap, type: number): string | undefined {
  const range = attributes.get(type)
  return range === undefined ? undefined : readCString(reader.slice(range[0], range[1]))
}

/** The big-endian number between `from` and `to`. @throws FormatError where there is less */
export function u32At(reader: ByteReader, [from, to]: readonly [from: number, to: number]): number {
  if (to - from < 4) throw new FormatError(`a number of ${to - from} bytes`)
  return reader.u32be(from)
}

/** The big-endian number in attribute `type`, or undefined where it is missing. @throws FormatError where it is cut short */
export function u32In(reader: ByteReader, attributes: AttributeMap, type: number): number | undefined {
  const range = attributes.get(type)
  return range === undefined ? undefined : u32At(reader, range)
}
