// directory -> tar: the upper directory of an overlay as a layer (whiteouts and opaque directories in the words of the image
// specification), or a whole root file system. Names are sorted by their bytes and nothing depends on when or where it is done,
// so the same tree gives the same digest. A container may be at work in the tree: no link is ever followed.

import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { cString, lgetxattr, openAt, openAt2, RESOLVE_NO_SYMLINKS } from '../../ffi/file-at.ts'
import type { TarEntry, TarEntryType, TarTime } from '../../lib/tar-entry.ts'
import { encodeTarHeader, tarEnd, tarEntry, tarPadding } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { fileTime, readXattrs } from './file-metadata.ts'
import { opaqueXattr } from './lower-layers.ts'
import { procPath } from './proc-path.ts'

export interface PackOptions {
  /** `upper`: the upper directory of an overlay, as a layer. `tree`: a root file system, as it is. Default `upper`. */
  readonly kind?: 'upper' | 'tree'
  /** SOURCE_DATE_EPOCH: no time is later than this, in seconds; and none has a fraction. */
  readonly epoch?: number
}

const chunkBytes = 1 << 20
const redirectXattr = cString('trusted.overlay.redirect')
const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** The tar of a directory, in chunks. @throws TsrunError unsupported: the overlay was mounted with redirect_dir */
export async function* packDirectory(directory: string, options: PackOptions = {}): AsyncGenerator<Buffer> {
  const packer = new Packer(options)
  const root = openAt2(-100, cString(Buffer.from(directory).toString('latin1')), directoryFlags, 0)
  let pending: Buffer[] = []
  let size = 0
  for (const bytes of packer.walk(root, '')) {
    pending.push(bytes)
    size += bytes.length
    if (size < chunkBytes) continue
    yield Buffer.concat(pending)
    pending = []
    size = 0
  }
  pending.push(tarEnd)
  yield Buffer.concat(pending)
}

class Packer {
  readonly #options: PackOptions
  /** Where a file with several names was first written. */
  readonly #links = new Map<string, string>()

  constructor(options: PackOptions) {
    this.#options = options
  }

  /** All that is in an open directory, which is closed at the end. @param path its name with a slash behind, or empty */
  *walk(fd: number, path: string): Generator<Buffer> {
    try {
      const names = readdirSync(`/proc/self/fd/${fd}`, 'buffer').map(name => name.toString('latin1'))
      // Plain comparison of byte strings is the order of the bytes.
      for (const name of names.sort((a, b) => (a < b ? -1 : 1))) yield* this.#member(fd, name, path)
    } finally {
      closeSync(fd)
    }
  }

  *#member(fd: number, name: string, folder: string): Generator<Buffer> {
    const real = procPath(fd, cString(name))
    const stat = lstat(real)
    if (stat === undefined) return
    const path = `${folder}${name}`
    if (this.#options.kind !== 'tree' && stat.isCharacterDevice() && stat.rdev === 0n) {
      yield encodeTarHeader(tarEntry({ type: 'file', name: `${folder}.wh.${name}`, mtime: this.#time(stat) }))
      return
    }
    const type = typeOf(stat)
    // A socket is of use only to the process that made it.
    if (type === undefined) return
    const linkName = stat.nlink > 1n && type !== 'directory' ? this.#firstName(stat, path) : undefined
    if (linkName !== undefined) {
      yield encodeTarHeader(this.#entry(stat, { type: 'hardlink', name: path, linkName }))
      return
    }
    const xattrs = readXattrs(real)
    if (type === 'file') yield* this.#file(fd, { name, path, stat, xattrs })
    else if (type === 'directory') yield* this.#directory(fd, { name, path, stat, xattrs })
    else if (type === 'symlink') {
      const target = readlinkSync(real, 'buffer').toString('latin1')
      yield encodeTarHeader(this.#entry(stat, { type, name: path, linkName: target, xattrs }))
    } else {
      yield encodeTarHeader(this.#entry(stat, { type, name: path, xattrs, ...deviceNumbers(stat.rdev) }))
    }
  }

  *#directory(fd: number, { name, path, stat, xattrs }: Member): Generator<Buffer> {
    yield encodeTarHeader(this.#entry(stat, { type: 'directory', name: `${path}/`, xattrs }))
    const child = openAt2(fd, cString(name), directoryFlags, RESOLVE_NO_SYMLINKS)
    if (this.#options.kind !== 'tree') {
      const self = Buffer.from(`/proc/self/fd/${child}/.\0`)
      if (lgetxattr(self, redirectXattr) !== undefined) {
        closeSync(child)
        throw new TsrunError(
          'unsupported',
          'overlay-redirect',
          `cannot make a layer: directory "${path}" was renamed in place`,
          {
            hint: 'the overlay must be mounted with redirect_dir=off',
          },
        )
      }
      if (lgetxattr(self, opaqueXattr)?.toString() === 'y') {
        yield encodeTarHeader(tarEntry({ type: 'file', name: `${path}/.wh..wh..opq`, mtime: this.#time(stat) }))
      }
    }
    yield* this.walk(child, `${path}/`)
  }

  *#file(fd: number, { name, path, stat, xattrs }: Member): Generator<Buffer> {
    const file = openAt(fd, cString(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0)
    try {
      const opened = fstatSync(file, { bigint: true })
      if (opened.ino !== stat.ino || !opened.isFile()) throw changed(path)
      const size = Number(opened.size)
      yield encodeTarHeader(this.#entry(stat, { type: 'file', name: path, size, xattrs }))
      for (let at = 0; at < size; ) {
        const buffer = Buffer.alloc(Math.min(chunkBytes, size - at))
        const length = readSync(file, buffer, 0, buffer.length, at)
        // Cut off while we read: the header has said how much there is, so the rest is zeros.
        const part = length === 0 ? buffer : buffer.subarray(0, length)
        yield part
        at += part.length
      }
      yield tarPadding(size)
    } finally {
      closeSync(file)
    }
  }

  #entry(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): TarEntry {
    const owner = { uid: Number(stat.uid), gid: Number(stat.gid), mode: Number(stat.mode) & 0o7777 }
    return tarEntry({ ...owner, mtime: this.#time(stat), ...init })
  }

  #firstName(stat: BigIntStats, path: string): string | undefined {
    const key = `${stat.dev}:${stat.ino}`
    const first = this.#links.get(key)
    if (first === undefined) this.#links.set(key, path)
    return first
  }

  #time(stat: BigIntStats): TarTime {
    const time = fileTime(stat.mtimeNs)
    const { epoch } = this.#options
    return epoch === undefined ? time : { seconds: Math.min(time.seconds, epoch), nanoseconds: 0 }
  }
}

interface Member {
  readonly name: string
  readonly path: string
  readonly stat: BigIntStats
  readonly xattrs: ReadonlyMap<string, Buffer>
}

function lstat(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true })
  } catch (error) {
    // Gone since its directory was read.
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function typeOf(stat: BigIntStats): TarEntryType | undefined {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isCharacterDevice()) return 'character-device'
  if (stat.isBlockDevice()) return 'block-device'
  return stat.isFIFO() ? 'fifo' : undefined
}

/** The inverse of makedev(3). */
function deviceNumbers(device: bigint): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: Number((device >> 8n) & 0xfffn),
    deviceMinor: Number((device & 0xffn) | ((device >> 12n) & 0xfff00n)),
  }
}

function changed(path: string): TsrunError {
  return new TsrunError('conflict', 'tree-changed', `cannot pack "${path}": it was replaced while it was being read`)
}
