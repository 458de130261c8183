// Takes a tar archive apart as its bytes come in, synchronously: nothing is buffered but headers, and back-pressure is
// that write() has not returned yet. Understands ustar, GNU (long names, sparse) and PAX (also binary values, sparse 0.x and 1.0).
// PAX global headers are skipped, as docker and skopeo do.

import { type TarEntry, type TarEntryType, TarFormatError } from './tar-entry.ts'
import { BLOCK, decodeHeader, decodePax, isZeroBlock, number, parsePaxTime, type RawHeader } from './tar-header.ts'
import { checkSparseMap, paxSparseMap, readGnuSparseParts, type SparseMap, SparseTextReader } from './tar-sparse.ts'

/** Told what the archive holds, in order: entry, data, end, entry ... */
export interface TarHandler {
  entry(entry: TarEntry): void
  /** A part of the file's content; only valid during the call. `position` is where it belongs in the file. */
  data(bytes: Buffer, position: number): void
  end(): void
}

/** Bound on a PAX header or GNU long name, which must be held in memory. */
const maxMetaBytes = 1 << 20
const noXattrs: ReadonlyMap<string, Buffer> = new Map()

const types: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
}

/** Parser of one archive. */
export class TarReader {
  readonly #handler: TarHandler
  /** What the bytes being read are: a block of headers, or a body of `#remaining` bytes and `#padding`. */
  #mode: 'header' | 'gnu-sparse' | 'sparse-text' | 'meta' | 'data' | 'skip' = 'header'
  #remaining = 0
  #padding = 0
  #offset = 0
  readonly #carry = Buffer.alloc(BLOCK)
  #carried = 0
  #zeroBlocks = 0
  /** Headers that describe the next entry. */
  #metaType = ''
  #meta: Buffer[] = []
  #pax: [string, Buffer][] = []
  #longName: string | undefined
  #longLink: string | undefined
  /** The header whose sparse map is being read. */
  #raw: RawHeader | undefined
  #sparse: SparseMap | undefined
  #sparseText: SparseTextReader | undefined
  #part = 0
  /** Bytes of the file (of the part, in a sparse one) seen so far. */
  #taken = 0

  constructor(handler: TarHandler) {
    this.#handler = handler
  }

  /** @throws TarFormatError, or whatever the handler throws */
  write(chunk: Buffer): void {
    let at = 0
    // What follows the end mark is of no interest.
    while (at < chunk.length && this.#zeroBlocks < 2) at += this.#consume(chunk, at)
  }

  /** The last byte has been written. @throws TarFormatError when the archive stops in the middle */
  end(): void {
    if (this.#zeroBlocks > 0) return
    const isBetween = this.#mode === 'header' && this.#carried === 0 && this.#metaType === ''
    if (!isBetween) throw new TarFormatError('the archive is cut off', this.#offset)
  }

  #consume(chunk: Buffer, at: number): number {
    const available = chunk.length - at
    if (this.#remaining > 0) {
      const length = Math.min(this.#remaining, available)
      this.#remaining -= length
      this.#offset += length
      this.#body(chunk.subarray(at, at + length))
      if (this.#remaining === 0) this.#bodyDone()
      return length
    }
    if (this.#padding > 0) {
      const length = Math.min(this.#padding, available)
      this.#padding -= length
      this.#offset += length
      return length
    }
    if (this.#carried === 0 && available >= BLOCK) {
      this.#offset += BLOCK
      this.#block(chunk.subarray(at, at + BLOCK))
      return BLOCK
    }
    const length = Math.min(BLOCK - this.#carried, available)
    chunk.copy(this.#carry, this.#carried, at, at + length)
    this.#carried += length
    this.#offset += length
    if (this.#carried === BLOCK) {
      this.#carried = 0
      this.#block(this.#carry)
    }
    return length
  }

  #block(block: Buffer): void {
    if (this.#mode === 'header') this.#header(block)
    else if (this.#mode === 'gnu-sparse') this.#gnuSparse(block, 0, 21, 504)
    else if (this.#sparseText?.push(block, this.#offset)) this.#emit(this.#sparseText.size)
  }

  #header(block: Buffer): void {
    const start = this.#offset - BLOCK
    if (block[0] === 0 && isZeroBlock(block)) {
      this.#zeroBlocks++
      return
    }
    if (this.#zeroBlocks > 0) throw new TarFormatError('there is something behind the end mark', start)
    const raw = decodeHeader(block, start)
    if (raw.size < 0) throw new TarFormatError('a size is negative', start)
    if ('xXLK'.includes(raw.type)) {
      if (raw.size > maxMetaBytes) throw new TarFormatError(`a name or PAX header has ${raw.size} bytes`, start)
      this.#metaType = raw.type
      this.#startBody('meta', raw.size)
      return
    }
    if (raw.type === 'g' || raw.type === 'V') {
      this.#startBody('skip', raw.size)
      return
    }
    this.#metaType = 'entry'
    this.#raw = raw
    this.#sparse = undefined
    if (raw.type === 'S') {
      this.#sparse = { parts: [], size: number(block, 483, 12, start), isInData: false }
      this.#gnuSparse(block, 386, 4, 482)
      return
    }
    if (types[raw.type] === 'file') this.#sparse = paxSparseMap(this.#pax, start)
    if (this.#sparse?.isInData) {
      this.#mode = 'sparse-text'
      this.#sparseText = new SparseTextReader(this.#sparse.parts)
    } else {
      this.#emit(0)
    }
  }

  /** `more` is where the block says whether another one of the map follows. */
  #gnuSparse(block: Buffer, start: number, count: number, more: number): void {
    if (this.#sparse === undefined) throw new Error('no sparse file is open')
    readGnuSparseParts(this.#sparse.parts, block, { start, count, offset: this.#offset })
    this.#mode = 'gnu-sparse'
    if (block[more] === 0) this.#emit(0)
  }

  /** @param mapBytes how much of the body was a sparse map and is read already */
  #emit(mapBytes: number): void {
    const { entry, bodySize } = this.#build()
    const dataSize = bodySize - mapBytes
    if (dataSize < 0) throw new TarFormatError('a sparse map is longer than its file', this.#offset)
    if (this.#sparse !== undefined) checkSparseMap(this.#sparse, dataSize, this.#offset)
    this.#pax = []
    this.#longName = undefined
    this.#longLink = undefined
    this.#metaType = ''
    this.#taken = 0
    this.#part = 0
    this.#handler.entry(entry)
    this.#startBody('data', dataSize)
  }

  /** The entry after PAX records and long names have had their say. Links and devices have no body, whatever they claim. */
  #build(): { entry: TarEntry; bodySize: number } {
    const offset = this.#offset
    const raw = this.#raw
    const flagType = raw === undefined ? undefined : types[raw.type]
    if (raw === undefined || flagType === undefined) {
      throw new TarFormatError(`an entry has the unknown type ${JSON.stringify(raw?.type)}`, offset)
    }
    let name = this.#longName ?? raw.name
    let linkName = this.#longLink ?? raw.linkName
    let { uid, gid, size } = raw
    let mtime: TarEntry['mtime'] = { seconds: raw.mtime, nanoseconds: 0 }
    let atime: TarEntry['atime']
    let sparseName: string | undefined
    let xattrs: Map<string, Buffer> | undefined
    for (const [key, value] of this.#pax) {
      if (key.startsWith('SCHILY.xattr.')) {
        xattrs ??= new Map()
        xattrs.set(key.slice(13), value)
        continue
      }
      // An empty value takes the record back.
      if (value.length === 0) continue
      if (key === 'path') name = value.toString('latin1')
      else if (key === 'linkpath') linkName = value.toString('latin1')
      else if (key === 'size') size = paxNumber(value, offset)
      else if (key === 'uid') uid = paxNumber(value, offset)
      else if (key === 'gid') gid = paxNumber(value, offset)
      else if (key === 'mtime') mtime = parsePaxTime(value.toString('latin1'), offset)
      else if (key === 'atime') atime = parsePaxTime(value.toString('latin1'), offset)
      else if (key === 'GNU.sparse.name') sparseName = value.toString('latin1')
    }
    name = sparseName ?? name
    if (name.includes('\0') || linkName.includes('\0')) throw new TarFormatError('a name holds a NUL byte', offset)
    // V7 archives mark directories by the slash alone.
    const type = flagType === 'file' && raw.type !== 'S' && name.endsWith('/') ? 'directory' : flagType
    const isLink = type === 'symlink' || type === 'hardlink'
    const entry: TarEntry = {
      type,
      name,
      linkName: isLink ? linkName : '',
      mode: raw.mode & 0o7777,
      uid,
      gid,
      size: type === 'file' ? (this.#sparse?.size ?? size) : 0,
      mtime,
      ...(atime === undefined ? {} : { atime }),
      deviceMajor: raw.deviceMajor,
      deviceMinor: raw.deviceMinor,
      xattrs: xattrs ?? noXattrs,
      isSparse: this.#sparse !== undefined,
    }
    return { entry, bodySize: type === 'file' ? size : 0 }
  }

  #startBody(mode: 'meta' | 'data' | 'skip', size: number): void {
    this.#mode = mode
    this.#remaining = size
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK
    if (size === 0) this.#bodyDone()
  }

  #body(bytes: Buffer): void {
    if (this.#mode === 'data') this.#data(bytes)
    else if (this.#mode === 'meta') this.#meta.push(Buffer.from(bytes))
  }

  #data(bytes: Buffer): void {
    if (this.#sparse === undefined) {
      this.#handler.data(bytes, this.#taken)
      this.#taken += bytes.length
      return
    }
    let at = 0
    while (at < bytes.length) {
      const part = this.#sparse.parts[this.#part]
      if (part === undefined) throw new Error('data beyond the sparse map')
      const length = Math.min(part.length - this.#taken, bytes.length - at)
      if (length > 0) this.#handler.data(bytes.subarray(at, at + length), part.offset + this.#taken)
      at += length
      this.#taken += length
      if (this.#taken < part.length) continue
      this.#part++
      this.#taken = 0
    }
  }

  #bodyDone(): void {
    const mode = this.#mode
    this.#mode = 'header'
    if (mode === 'data') this.#handler.end()
    if (mode !== 'meta') return
    const body = this.#meta.length === 1 && this.#meta[0] !== undefined ? this.#meta[0] : Buffer.concat(this.#meta)
    this.#meta = []
    if (this.#metaType === 'L') this.#longName = untilNul(body)
    else if (this.#metaType === 'K') this.#longLink = untilNul(body)
    else this.#pax = decodePax(body, this.#offset)
  }
}

function paxNumber(value: Buffer, offset: number): number {
  const text = value.toString('latin1')
  if (!/^[0-9]{1,15}$/.test(text)) throw new TarFormatError(`"${text}" is not a number`, offset)
  return Number(text)
}

function untilNul(body: Buffer): string {
  const end = body.indexOf(0)
  return body.toString('latin1', 0, end < 0 ? body.length : end)
}
