// Reading and writing C structs: host-endian integers with the alignment rules of the kernel's binary interfaces.
// A reader never reads past its end: whatever it is fed, it throws FormatError and nothing else.

import { endianness } from 'node:os'

/** Whether this machine is little-endian. */
export const littleEndian = endianness() === 'LE'

/** Bytes that are not what they should be: truncated, or with a length that lies. */
export class FormatError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FormatError'
  }
}

/** `length` rounded up to a multiple of four. */
export function align4(length: number): number {
  return (length + 3) & ~3
}

/** A growing buffer with a write position. Methods return the writer, for chains. */
export class ByteWriter {
  #bytes: Buffer
  #view: DataView
  #length = 0

  /** @param capacity bytes to start with; grows by doubling */
  constructor(capacity = 256) {
    this.#bytes = Buffer.alloc(Math.max(capacity, 16))
    this.#view = viewOf(this.#bytes)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const at = this.#take(1)
    this.#view.setUint8(at, value)
    return this
  }

  u16(value: number): this {
    const at = this.#take(2)
    this.#view.setUint16(at, value, littleEndian)
    return this
  }

  /** Network byte order. */
  u16be(value: number): this {
    const at = this.#take(2)
    this.#view.setUint16(at, value, false)
    return this
  }

  u32(value: number): this {
    const at = this.#take(4)
    this.#view.setUint32(at, value, littleEndian)
    return this
  }

  /** Network byte order. */
  u32be(value: number): this {
    const at = this.#take(4)
    this.#view.setUint32(at, value, false)
    return this
  }

  u64(value: bigint): this {
    const at = this.#take(8)
    this.#view.setBigUint64(at, value, littleEndian)
    return this
  }

  bytes(value: Uint8Array): this {
    const at = this.#take(value.length)
    this.#bytes.set(value, at)
    return this
  }

  /** UTF-8 with a terminating zero byte. */
  cString(value: string): this {
    const length = Buffer.byteLength(value)
    const at = this.#take(length + 1)
    this.#bytes.write(value, at, length, 'utf8')
    return this
  }

  /** Zero bytes up to the next multiple of four. */
  align(): this {
    this.#take(align4(this.#length) - this.#length)
    return this
  }

  /** Overwrites two bytes written before: lengths that are known only at the end. */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, littleEndian)
  }

  /** Overwrites four bytes written before. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, littleEndian)
  }

  /** The bytes written, not copied: the writer is done with after this. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Makes room. The view is another one afterwards, so it is looked at only behind this call. */
  #take(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(this.#length, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
      this.#view = viewOf(grown)
    }
    return at
  }
}

/** Reads integers out of bytes that nobody has checked. All methods throw FormatError past the end. */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = viewOf(bytes)
  }

  get length(): number {
    return this.#bytes.length
  }

  u8(at: number): number {
    return this.#view.getUint8(this.#check(at, 1))
  }

  u16(at: number): number {
    return this.#view.getUint16(this.#check(at, 2), littleEndian)
  }

  u16be(at: number): number {
    return this.#view.getUint16(this.#check(at, 2), false)
  }

  u32(at: number): number {
    return this.#view.getUint32(this.#check(at, 4), littleEndian)
  }

  /** Network byte order. */
  u32be(at: number): number {
    return this.#view.getUint32(this.#check(at, 4), false)
  }

  i32(at: number): number {
    return this.#view.getInt32(this.#check(at, 4), littleEndian)
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(this.#check(at, 8), littleEndian)
  }

  /** Network byte order. */
  u64be(at: number): bigint {
    return this.#view.getBigUint64(this.#check(at, 8), false)
  }

  /** The bytes from `from` up to `to`, not copied. */
  slice(from: number, to: number): Buffer {
    this.#check(from, to - from)
    return this.#bytes.subarray(from, to)
  }

  #check(at: number, count: number): number {
    if (at < 0 || count < 0 || at + count > this.#bytes.length)
      throw new FormatError(`truncated: ${count} bytes at ${at} of ${this.#bytes.length}`)
    return at
  }
}

/** A string that ends at the first zero byte, or at the end. */
export function readCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.buffer, bytes.byteOffset, end < 0 ? bytes.length : end).toString('utf8')
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
