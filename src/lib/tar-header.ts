// The 512-byte header block of tar (POSIX ustar, GNU, V7) and the records of a PAX header, decoded and encoded.
// Values of PAX records stay bytes: security.capability is binary, which is why no package is used (see HACKING.md).

import { TarFormatError, type TarTime } from './tar-entry.ts'

export const BLOCK = 512

/** A header block as it stands, before PAX records and GNU long names change it. */
export interface RawHeader {
  readonly name: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  /** The type flag as a character; '\0' in V7 archives. */
  readonly type: string
  readonly linkName: string
  readonly deviceMajor: number
  readonly deviceMinor: number
  readonly isGnu: boolean
}

/** Decodes a header block. @throws TarFormatError when the checksum or a number is wrong */
export function decodeHeader(block: Buffer, offset: number): RawHeader {
  verifyChecksum(block, offset)
  const magic = block.toString('latin1', 257, 265)
  const isGnu = magic === 'ustar  \0'
  const isUstar = magic.startsWith('ustar\0') || isGnu
  const prefix = isUstar && !isGnu ? field(block, 345, 155) : ''
  const name = field(block, 0, 100)
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    mode: number(block, 100, 8, offset),
    uid: number(block, 108, 8, offset),
    gid: number(block, 116, 8, offset),
    size: number(block, 124, 12, offset),
    mtime: number(block, 136, 12, offset),
    type: String.fromCharCode(block[156] ?? 0),
    linkName: field(block, 157, 100),
    deviceMajor: isUstar ? number(block, 329, 8, offset) : 0,
    deviceMinor: isUstar ? number(block, 337, 8, offset) : 0,
    isGnu,
  }
}

/** A number as tar writes it: octal text, or base 256 where the first bit is set. */
export function number(block: Buffer, start: number, length: number, offset: number): number {
  const first = block[start] ?? 0
  if (first >= 0x80) {
    let value = first === 0xff ? -1 : first & 0x7f
    for (let i = start + 1; i < start + length; i++) value = value * 256 + (block[i] ?? 0)
    if (!Number.isSafeInteger(value)) throw new TarFormatError('a number in the header is too large', offset)
    return value
  }
  let value = 0
  let seen = false
  for (let i = start; i < start + length; i++) {
    const byte = block[i] ?? 0
    if (byte >= 0x30 && byte <= 0x37) {
      value = value * 8 + (byte - 0x30)
      seen = true
    } else if (byte === 0 || byte === 0x20) {
      if (seen) break
    } else {
      throw new TarFormatError('a number in the header is not octal', offset)
    }
  }
  return value
}

/** Whether a block is all zeros, as at the end of an archive. */
export function isZeroBlock(block: Buffer): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false
  return true
}

/** The records of a PAX header body in order; keys and values are bytes as latin1 and Buffer. */
export function decodePax(body: Buffer, offset: number): [string, Buffer][] {
  const records: [string, Buffer][] = []
  let at = 0
  while (at < body.length) {
    const space = body.indexOf(0x20, at)
    const digits = space < 0 ? '' : body.toString('latin1', at, space)
    const length = /^[0-9]{1,8}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length === 0 || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) {
      throw new TarFormatError('a PAX record has a wrong length', offset)
    }
    const equals = body.indexOf(0x3d, space + 1)
    if (equals < 0 || equals >= end) throw new TarFormatError('a PAX record has no "="', offset)
    records.push([body.toString('latin1', space + 1, equals), body.subarray(equals + 1, end - 1)])
    at = end
  }
  return records
}

/** One PAX record: its length counts itself. */
export function encodePaxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')])
  let length = rest.length
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** A PAX time, e.g. `1700000000.25` or `-1.5`. */
export function parsePaxTime(text: string, offset: number): TarTime {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text)
  if (match === null) throw new TarFormatError(`"${text}" is not a time`, offset)
  const whole = Number(match[2])
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'))
  if (match[1] !== '-') return { seconds: whole, nanoseconds }
  return nanoseconds === 0
    ? { seconds: whole === 0 ? 0 : -whole, nanoseconds: 0 }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds }
}

/** The inverse of parsePaxTime. */
export function formatPaxTime({ seconds, nanoseconds }: TarTime): string {
  if (nanoseconds === 0) return String(seconds)
  const negative = seconds < 0
  const whole = negative ? -seconds - 1 : seconds
  const fraction = String(negative ? 1_000_000_000 - nanoseconds : nanoseconds).padStart(9, '0')
  return `${negative ? '-' : ''}${whole}.${fraction.replace(/0+$/, '')}`
}

/** The sum over the block with the checksum field read as spaces; old writers summed signed bytes. */
function verifyChecksum(block: Buffer, offset: number): void {
  const wanted = number(block, 148, 8, offset)
  let unsigned = 256
  let negatives = 0
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156
    const byte = block[i] ?? 0
    unsigned += byte
    if (byte >= 0x80) negatives++
  }
  if (wanted === unsigned || wanted === unsigned - 256 * negatives) return
  throw new TarFormatError('this is not a tar header: the checksum is wrong', offset)
}

/** A text field: up to the first NUL. */
function field(block: Buffer, start: number, length: number): string {
  let end = start
  while (end < start + length && block[end] !== 0) end++
  return block.toString('latin1', start, end)
}
