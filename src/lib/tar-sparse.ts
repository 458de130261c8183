// The three ways in which GNU tar writes down where the holes of a sparse file are.

import { TarFormatError } from './tar-entry.ts'
import { BLOCK, number } from './tar-header.ts'

export interface SparsePart {
  readonly offset: number
  readonly length: number
}

/** The parts of a sparse file that have data; all else is holes. */
export interface SparseMap {
  readonly parts: SparsePart[]
  /** Size with holes. */
  readonly size: number
  /** PAX 1.0: the map is still to come, in front of the data. */
  readonly isInData: boolean
}

const maxParts = 1_000_000

/** Adds to `parts` the pairs of an old GNU header or extension block; an empty one ends them. */
export function readGnuSparseParts(
  parts: SparsePart[],
  block: Buffer,
  { start, count, offset }: { start: number; count: number; offset: number },
): void {
  for (let i = 0; i < count; i++) {
    const at = start + 24 * i
    if ((block[at] ?? 0) === 0) return
    addPart(parts, number(block, at, 12, offset), number(block, at + 12, 12, offset), offset)
  }
}

/** The map that PAX records hold: versions 0.0 (repeated pairs), 0.1 (one list) or the announcement of 1.0. */
export function paxSparseMap(records: readonly (readonly [string, Buffer])[], offset: number): SparseMap | undefined {
  const parts: SparsePart[] = []
  let pending: number | undefined
  let size: number | undefined
  let isInData = false
  const take = (text: string): void => {
    const value = decimal(text, offset)
    if (pending !== undefined) addPart(parts, pending, value, offset)
    pending = pending === undefined ? value : undefined
  }
  for (const [key, value] of records) {
    const text = value.toString('latin1')
    if (key === 'GNU.sparse.size' || key === 'GNU.sparse.realsize') size = decimal(text, offset)
    else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') take(text)
    else if (key === 'GNU.sparse.map' && text !== '') text.split(',').forEach(take)
    else if (key === 'GNU.sparse.major') isInData = text === '1'
  }
  if (pending !== undefined) throw new TarFormatError('a sparse map has an odd count of numbers', offset)
  return size === undefined ? undefined : { parts, size, isInData }
}

/** Reads the map of PAX 1.0, block by block: a count, then that many pairs, one number a line. */
export class SparseTextReader {
  readonly #parts: SparsePart[]
  #line = ''
  #expected: number | undefined
  #pending: number | undefined
  /** Bytes read so far: whole blocks. */
  size = 0

  constructor(parts: SparsePart[]) {
    this.#parts = parts
  }

  /** @returns whether the map is complete */
  push(block: Buffer, offset: number): boolean {
    this.size += BLOCK
    for (const byte of block) {
      if (byte !== 0x0a) {
        this.#line += String.fromCharCode(byte)
        if (this.#line.length > 15) throw new TarFormatError('a sparse map holds something else than numbers', offset)
        continue
      }
      this.#take(decimal(this.#line, offset), offset)
      this.#line = ''
      if (this.#parts.length === this.#expected) return true
    }
    return false
  }

  #take(value: number, offset: number): void {
    if (this.#expected === undefined) {
      if (value > maxParts) throw new TarFormatError('a sparse file has too many parts', offset)
      this.#expected = value
    } else if (this.#pending === undefined) {
      this.#pending = value
    } else {
      addPart(this.#parts, this.#pending, value, offset)
      this.#pending = undefined
    }
  }
}

/** @throws TarFormatError when the map is out of order, out of the file, or not as long as the data */
export function checkSparseMap(map: SparseMap, dataSize: number, offset: number): void {
  let end = 0
  let total = 0
  for (const part of map.parts) {
    if (part.offset < end || part.offset + part.length > map.size) {
      throw new TarFormatError('a sparse map is out of order or out of the file', offset)
    }
    end = part.offset + part.length
    total += part.length
  }
  if (total !== dataSize) throw new TarFormatError('a sparse map does not fit its data', offset)
}

function addPart(parts: SparsePart[], offset: number, length: number, at: number): void {
  if (parts.length >= maxParts) throw new TarFormatError('a sparse file has too many parts', at)
  if (offset < 0 || length < 0) throw new TarFormatError('a sparse map holds a negative number', at)
  parts.push({ offset, length })
}

function decimal(text: string, offset: number): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new TarFormatError(`"${text}" in a sparse map is not a number`, offset)
  return Number(text)
}
