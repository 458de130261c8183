// What every way to pack files has in common: what a file is in the words of tar, its content while somebody may be at work on it,
// and the pieces as chunks of a good size. Which files, and under which names, is for the packers to say.

import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, readdirSync, readSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { cString, openAt } from '../../ffi/file-at.ts'
import { displayName, type TarEntry, type TarEntryType } from '../../lib/tar-entry.ts'
import { tarEnd, tarEntry, tarPadding } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { fileTime } from './file-metadata.ts'

const chunkBytes = 1 << 20

/** Members as an archive with its end mark, in chunks of about a megabyte. */
export async function* inChunks(members: Iterable<Buffer>): AsyncGenerator<Buffer> {
  let pending: Buffer[] = []
  let size = 0
  for (const bytes of members) {
    pending.push(bytes)
    size += bytes.length
    if (size < chunkBytes) continue
    yield Buffer.concat(pending)
    pending = []
    size = 0
  }
  yield Buffer.concat([...pending, tarEnd])
}

/** Where a file with several names was first written. */
export class FirstNames {
  readonly #names = new Map<string, string>()

  /** The name it already has in the archive; undefined for a file with one name only, and the first time, which is noted. */
  of(stat: BigIntStats, name: string): string | undefined {
    if (stat.nlink < 2n || stat.isDirectory()) return undefined
    const key = `${stat.dev}:${stat.ino}`
    const first = this.#names.get(key)
    if (first === undefined) this.#names.set(key, name)
    return first
  }
}

/** The names in an open directory as byte strings, in the order of their bytes. */
export function sortedNames(fd: number): string[] {
  return readdirSync(`/proc/self/fd/${fd}`, 'buffer')
    .map(name => name.toString('latin1'))
    .sort()
}

/** undefined: gone since its directory was read. */
export function lstatIfThere(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** undefined for a socket: it is of use only to the process that made it. */
export function typeOf(stat: BigIntStats): TarEntryType | undefined {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isCharacterDevice()) return 'character-device'
  if (stat.isBlockDevice()) return 'block-device'
  return stat.isFIFO() ? 'fifo' : undefined
}

/** Owner, mode and time of a file, and what `init` says; the numbers of a device. */
export function entryOf(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): TarEntry {
  const isDevice = init.type === 'character-device' || init.type === 'block-device'
  return tarEntry({
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode) & 0o7777,
    mtime: fileTime(stat.mtimeNs),
    ...(isDevice ? deviceNumbers(stat.rdev) : {}),
    ...init,
  })
}

/**
 * A regular file: its header, then its content, never through a link.
 * @param header of what was opened, of that many bytes
 * @param as what messages call it
 * @throws TsrunError conflict: it was replaced since `stat`
 */
export function* packFile(
  { parentFd, name, as, stat }: { parentFd: number; name: string; as: string; stat: BigIntStats },
  header: (opened: BigIntStats, size: number) => Buffer,
): Generator<Buffer> {
  const fd = openAt(parentFd, cString(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0)
  try {
    const opened = fstatSync(fd, { bigint: true })
    if (opened.ino !== stat.ino || !opened.isFile())
      throw new TsrunError('conflict', 'file-changed', `cannot copy "${displayName(as)}": it was replaced meanwhile`)
    const size = Number(opened.size)
    yield header(opened, size)
    for (let at = 0; at < size; ) {
      const buffer = Buffer.alloc(Math.min(chunkBytes, size - at))
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

/** The inverse of makedev(3). */
function deviceNumbers(device: bigint): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: Number((device >> 8n) & 0xfffn),
    deviceMinor: Number((device & 0xffn) | ((device >> 12n) & 0xfff00n)),
  }
}
