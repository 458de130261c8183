// A file, or a directory with all below it -> tar. Others may be at work in it: no link is ever followed.

import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, readdirSync, readSync } from 'node:fs'
import { fileTime, readXattrs } from '../../drivers/image/file-metadata.ts'
import { hasCode } from '../../ffi/errno.ts'
import { cString, openAt } from '../../ffi/file-at.ts'
import { displayName, type TarEntry, type TarEntryType } from '../../lib/tar-entry.ts'
import { encodeTarHeader, tarEnd, tarEntry, tarPadding } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { type IdMaps, toContainerId } from '../../model/id-maps.ts'
import { openChild, pathIn, readLinkOf } from './file-tree.ts'

const CHUNK_BYTES = 1 << 20

/** What to pack: `name` in an open directory. */
export interface PackRequest {
  readonly parentFd: number
  /** Byte string. `.` is the directory itself. */
  readonly name: string
  /** What it is called in the archive; undefined: only what is in it, under their own names. */
  readonly as: string | undefined
  /** The users that the files belong to, where the host knows them by other ids than the archive shall have. */
  readonly idMaps?: IdMaps | undefined
  /** With `as` undefined, what the names begin with: empty, or with a slash at its end. Default empty. */
  readonly prefix?: string
  /**
   * Whether a name in the archive is wanted. `inside`: a directory that is wanted only if something in it is. It is not asked
   * for the directory whose content is packed. Default: all are.
   */
  readonly select?: (name: string, isDirectory: boolean) => 'take' | 'inside' | 'skip'
  /** What the archive says of a file instead. Default: what it is. */
  readonly describe?: (entry: TarEntry) => TarEntry
}

/** The archive, in chunks of about a megabyte. */
export async function* packFiles(request: PackRequest): AsyncGenerator<Buffer> {
  let pending: Buffer[] = []
  let size = 0
  for (const bytes of new Packer(request).start()) {
    pending.push(bytes)
    size += bytes.length
    if (size < CHUNK_BYTES) continue
    yield Buffer.concat(pending)
    pending = []
    size = 0
  }
  yield Buffer.concat([...pending, tarEnd])
}

class Packer {
  readonly #request: PackRequest
  /** Where a file with several names was first written. */
  readonly #links = new Map<string, string>()

  constructor(request: PackRequest) {
    this.#request = request
  }

  #header(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): Buffer {
    const { idMaps: maps, describe: change = entry => entry } = this.#request
    if (maps === undefined) return encodeTarHeader(change(describe(stat, init)))
    const ids = { uid: toContainerId(maps.uid, Number(stat.uid)), gid: toContainerId(maps.gid, Number(stat.gid)) }
    return encodeTarHeader(change(describe(stat, { ...init, ...ids })))
  }

  #firstName(stat: BigIntStats, as: string): string | undefined {
    const key = `${stat.dev}:${stat.ino}`
    const first = this.#links.get(key)
    if (first === undefined) this.#links.set(key, as)
    return first
  }

  *start(): Generator<Buffer> {
    const { parentFd, name, as, prefix = '' } = this.#request
    if (as !== undefined) yield* this.#member(parentFd, name, as)
    else yield* this.#content(openChild(parentFd, name), prefix)
  }

  /** Closes `fd`. @param prefix empty, or with a slash at its end */
  *#content(fd: number, prefix: string): Generator<Buffer> {
    try {
      const names = readdirSync(`/proc/self/fd/${fd}`, 'buffer').map(name => name.toString('latin1'))
      for (const name of names.sort()) yield* this.#member(fd, name, `${prefix}${name}`)
    } finally {
      closeSync(fd)
    }
  }

  *#member(parentFd: number, name: string, as: string): Generator<Buffer> {
    const path = pathIn(parentFd, name === '.' ? './' : name)
    const stat = lstatIfThere(path)
    const type = stat === undefined ? undefined : typeOf(stat)
    // A socket is of use only to the process that made it.
    if (stat === undefined || type === undefined) return
    const wish = this.#request.select?.(as, type === 'directory') ?? 'take'
    if (wish === 'skip') return
    const first = stat.nlink > 1n && type !== 'directory' ? this.#firstName(stat, as) : undefined
    if (first !== undefined) {
      yield this.#header(stat, { type: 'hardlink', name: as, linkName: first })
      return
    }
    const xattrs = readXattrs(path)
    if (type === 'directory') {
      const header = this.#header(stat, { type, name: `${as}/`, xattrs })
      yield* after(header, this.#content(openChild(parentFd, name), `${as}/`), wish === 'inside')
    } else if (type === 'file') yield* this.#file({ parentFd, name, as, stat, xattrs })
    else if (type === 'symlink')
      yield this.#header(stat, { type, name: as, linkName: readLinkOf(parentFd, name), xattrs })
    else yield this.#header(stat, { type, name: as, xattrs, ...deviceNumbers(stat.rdev) })
  }

  *#file({ parentFd, name, as, stat, xattrs }: Member): Generator<Buffer> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const fd = openAt(parentFd, cString(name), flags, 0)
    try {
      const opened = fstatSync(fd, { bigint: true })
      if (opened.ino !== stat.ino || !opened.isFile())
        throw new TsrunError('conflict', 'file-changed', `cannot copy "${displayName(as)}": it was replaced meanwhile`)
      const size = Number(opened.size)
      yield this.#header(opened, { type: 'file', name: as, size, xattrs })
      for (let at = 0; at < size; ) {
        const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, size - at))
        const length = readSync(fd, buffer, 0, buffer.length, at)
        // Cut off while we read: the header has said how much there is, so the rest is zeros.
        const part = length === 0 ? buffer : buffer.subarray(0, length)
        yield part
        at += part.length
      }
      yield tarPadding(size)
    } finally {
      closeSync(fd)
    }
  }
}

/** A directory's header and what is in it; with `isLazy` nothing where nothing is in it. */
function* after(header: Buffer, content: Iterable<Buffer>, isLazy: boolean): Generator<Buffer> {
  if (!isLazy) yield header
  let isDue = isLazy
  for (const bytes of content) {
    if (isDue) yield header
    isDue = false
    yield bytes
  }
}

interface Member {
  readonly parentFd: number
  readonly name: string
  readonly as: string
  readonly stat: BigIntStats
  readonly xattrs: ReadonlyMap<string, Buffer>
}

function describe(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): TarEntry {
  return tarEntry({
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode) & 0o7777,
    mtime: fileTime(stat.mtimeNs),
    ...init,
  })
}

function typeOf(stat: BigIntStats): TarEntryType | undefined {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isCharacterDevice()) return 'character-device'
  if (stat.isBlockDevice()) return 'block-device'
  return stat.isFIFO() ? 'fifo' : undefined
}

function lstatIfThere(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The inverse of makedev(3). */
function deviceNumbers(device: bigint): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: Number((device >> 8n) & 0xfffn),
    deviceMinor: Number((device & 0xffn) | ((device >> 12n) & 0xfff00n)),
  }
}
