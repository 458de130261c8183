// Host-endian fields one after the other: what both directions on fd 3 are made of. Pure.

import { FormatError } from '../../lib/bytes.ts'

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** Host-endian fields, one after the other, without padding. */
export class Writer {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  u32(value: number): this {
    const at = this.#grow(4)
    if (littleEndian) this.#buffer.writeUInt32LE(value >>> 0, at)
    else this.#buffer.writeUInt32BE(value >>> 0, at)
    return this
  }

  u64(value: bigint): this {
    const at = this.#grow(8)
    const bits = BigInt.asUintN(64, value)
    if (littleEndian) this.#buffer.writeBigUInt64LE(bits, at)
    else this.#buffer.writeBigUInt64BE(bits, at)
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length)
    this.#buffer.set(bytes, at)
    return this
  }

  /** {u32 length without the NUL, bytes, NUL}. */
  str(text: string): this {
    const bytes = textBytes(text)
    return this.u32(bytes.length - 1).raw(bytes)
  }

  /** Overwrites the u32 at `at`: a length that is known only now. */
  patch(at: number, value: number): void {
    if (littleEndian) this.#buffer.writeUInt32LE(value, at)
    else this.#buffer.writeUInt32BE(value, at)
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  #grow(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    return at
  }
}

function textBytes(text: string): Buffer {
  if (text.includes('\0')) throw new Error(`a NUL byte in ${JSON.stringify(text)}`)
  return Buffer.from(`${text}\0`, 'utf8')
}

export class AttributeWriter {
  #out = new Writer()

  u32(tag: number, value: number): void {
    this.record(tag, r => r.u32(value))
  }

  /** The text and its NUL. */
  text(tag: number, value: string): void {
    this.record(tag, r => r.raw(textBytes(value)))
  }

  texts(tag: number, values: readonly string[]): void {
    for (const value of values) this.text(tag, value)
  }

  record(tag: number, fill: (out: Writer) => unknown): void {
    const at = this.#out.length
    this.#out.u32(0).u32(tag)
    fill(this.#out)
    this.#out.patch(at, this.#out.length - at - 8)
  }

  bytes(): Buffer {
    return this.#out.bytes()
  }
}

/** Reads them; @throws FormatError past the end. */
export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  u32(): number {
    const at = this.#at
    this.#at += 4
    if (this.#at > this.#bytes.length) throw new FormatError('a truncated message from tsrun-init')
    return littleEndian ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at)
  }

  str(): string {
    const length = this.u32()
    const start = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw new FormatError('a truncated message from tsrun-init')
    return this.#bytes.toString('utf8', start, this.#at)
  }
}
