// New inputs from old ones: bytes, words and JSON values are changed in the ways that parsers most often forget.

import type { Random } from '../helpers/random.ts'

const numbers = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 63, 64, 127, 128, 255, 256, 511, 512, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
  0x80000000, 0xffffffff,
]
const numerals = [
  '0',
  '-1',
  '1',
  '65535',
  '65536',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '18446744073709551616',
  '1e308',
  '0x10',
  '08',
  '١',
  '',
]
const words = [
  '\0',
  '\n',
  '\r\n',
  '\u001b[2J',
  '\u009b2J',
  '\u202e',
  '../',
  '/..//',
  '__proto__',
  'constructor',
  'prototype',
  '%',
  '$',
  '${',
  '{{',
  '}}',
  '"',
  "'",
  '\\',
  ':',
  ',',
  '=',
  '*',
  '**',
  '[',
  '\ufeff',
  'é',
  '\u{1f4a9}',
  '\ud800',
]

/** The most bytes that a mutation makes of an input; what is longer is a matter of each target's own limits. */
export const maxInputBytes = 1 << 17

/** How a target's inputs are to be changed. */
export type InputKind = 'bytes' | 'text' | 'json'

/** A mutant of `input`; `others` are what pieces are taken from. */
export function mutate(input: Buffer, others: readonly Buffer[], kind: InputKind, random: Random): Buffer {
  if (kind === 'json' && !random.oneIn(4)) {
    const value = parsed(input)
    if (value !== undefined) return Buffer.from(JSON.stringify(mutateJson(value, random)))
  }
  let bytes = input
  for (let round = 1 + random.below(4); round > 0; round--) {
    bytes = kind === 'bytes' ? mutateBytes(bytes, others, random) : mutateText(bytes, others, random)
  }
  return bytes.subarray(0, maxInputBytes)
}

function mutateBytes(input: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const bytes = Buffer.from(input)
  const at = random.below(bytes.length + 1)
  switch (random.below(8)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
      return bytes
    case 1:
      if (at < bytes.length) bytes[at] = random.below(256)
      return bytes
    case 2:
      return putNumber(bytes, at, random)
    case 3:
      return bytes.subarray(0, at)
    case 4:
      return without(bytes, at, random)
    case 5:
      return inserted(bytes, at, Buffer.from(random.pick(words)))
    case 6:
      return repeated(bytes, at, random)
    default:
      return spliced(bytes, at, others, random)
  }
}

function mutateText(input: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const at = random.below(input.length + 1)
  switch (random.below(6)) {
    case 0:
      return inserted(input, at, Buffer.from(random.pick(words)))
    case 1:
      return without(input, at, random)
    case 2:
      return repeated(input, at, random)
    case 3:
      return spliced(input, at, others, random)
    case 4:
      return Buffer.from(
        input.toString('latin1').replace(/[0-9]+/g, digits => (random.oneIn(3) ? random.pick(numerals) : digits)),
      )
    default:
      return mutateBytes(input, others, random)
  }
}

/** A number at the edge of its range, in either byte order. */
function putNumber(bytes: Buffer, at: number, random: Random): Buffer {
  const value = random.pick(numbers)
  const size = random.pick([1, 2, 4])
  if (at + size > bytes.length) return bytes
  const cut = value % 2 ** (8 * size)
  if (random.oneIn(2)) bytes.writeUIntLE(cut, at, size)
  else bytes.writeUIntBE(cut, at, size)
  return bytes
}

function without(bytes: Buffer, at: number, random: Random): Buffer {
  const length = 1 + random.below(random.oneIn(4) ? 512 : 8)
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
}

function inserted(bytes: Buffer, at: number, piece: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
}

/** A piece of it again and again: what is slower than it should be shows here. */
function repeated(bytes: Buffer, at: number, random: Random): Buffer {
  const piece = bytes.subarray(at, at + 1 + random.below(random.oneIn(3) ? 512 : 6))
  if (piece.length === 0) return bytes
  const most = Math.max(1, Math.floor((random.oneIn(20) ? maxInputBytes : 4096) / piece.length))
  const times = 1 + random.below(most)
  return inserted(bytes, at, Buffer.concat(Array.from({ length: times }, () => piece)))
}

function spliced(bytes: Buffer, at: number, others: readonly Buffer[], random: Random): Buffer {
  const other = random.pick(others)
  const from = random.below(other.length + 1)
  const piece = other.subarray(from, from + 1 + random.below(1024))
  return random.oneIn(2) ? inserted(bytes, at, piece) : Buffer.concat([bytes.subarray(0, at), piece])
}

function parsed(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString('utf8'))
  } catch {
    return undefined
  }
}

/** JSON that ends up as these texts: what JSON.parse makes of them cannot be written as a literal. */
function hostileValue(random: Random): unknown {
  const texts = [
    'null',
    'true',
    '[]',
    '{}',
    '""',
    '0',
    '-1',
    '1.5',
    '1e308',
    '9007199254740993',
    '[null]',
    '[[]]',
    '{"__proto__":{"polluted":1}}',
    '{"constructor":{"prototype":{"polluted":1}}}',
    '{"toString":1}',
    '"\\u0000"',
    '"\\u001b[2J\\u202e"',
    '"__proto__"',
    '"../../../etc"',
    '"sha256:"',
    '"\\ud800"',
  ]
  if (random.oneIn(30)) return 'x'.repeat(1 << (4 + random.below(12)))
  if (random.oneIn(30)) return JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`)
  return JSON.parse(random.pick(texts))
}

/** The value with one place in it changed, however deep. */
function mutateJson(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.oneIn(6)) return hostileValue(random)
  if (Array.isArray(value)) {
    const list = [...value]
    const at = random.below(list.length + 1)
    if (random.oneIn(6)) return Array.from({ length: random.below(2000) }, () => list[at])
    if (random.oneIn(6)) list.splice(at, 1)
    else list[at] = mutateJson(list[at], random)
    return list
  }
  const entries = Object.entries(value)
  const at = random.below(entries.length + 1)
  const [key, old] = entries[at] ?? [random.pick(words), undefined]
  const way = random.below(6)
  if (way === 0) entries.splice(at, 1)
  else if (way === 1) entries[at] = [random.pick(words), old]
  else entries[at] = [key, mutateJson(old, random)]
  return Object.fromEntries(entries)
}
