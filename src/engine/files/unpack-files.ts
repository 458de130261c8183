// tar -> files below an open directory, in which a container may be at work: whatever is made is opened anew without following
// links and then only touched by its descriptor, so that a name that is swapped for a link at the wrong moment leads nowhere.

import { chmodSync, chownSync, closeSync, constants, fstatSync, ftruncateSync, type Stats, writeSync } from 'node:fs'
import { isOverlayXattr } from '../../drivers/image/file-metadata.ts'
import { hasCode } from '../../ffi/errno.ts'
import {
  chownAt,
  cString,
  fchmod,
  fchown,
  fsetxattr,
  futimens,
  linkAt,
  mkdirAt,
  mknodAt,
  O_PATH,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkAt,
  utimensAt,
} from '../../ffi/file-at.ts'
import { withFileIds } from '../../kernel/fs-ids.ts'
import { faultPoint } from '../../lib/fault.ts'
import { displayName, type TarEntry, type TarTime } from '../../lib/tar-entry.ts'
import { type TarHandler, TarReader } from '../../lib/tar-reader.ts'
import { TsrunError } from '../../model/errors.ts'
import { type IdMaps, toHostId } from '../../model/id-maps.ts'
import { openChild } from './file-tree.ts'
import { openNew, replacing } from './replace-name.ts'

export interface UnpackOptions {
  /** Whom the files belong to; undefined: whom the archive says. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** What its ids mean where the files go: the users of a running container. */
  readonly idMaps?: IdMaps
}

/** Unpacks the archive into the directory `fd`. @throws TsrunError invalid (no archive), conflict (file for directory) */
export async function unpackFiles(fd: number, archive: AsyncIterable<Buffer>, options: UnpackOptions): Promise<void> {
  const unpacker = new Unpacker(fd, options)
  const reader = new TarReader(unpacker)
  const asOwner = options.idMaps === undefined ? run : asRootOf(options.idMaps)
  try {
    for await (const chunk of archive) asOwner(() => reader.write(chunk))
    asOwner(() => {
      reader.end()
      unpacker.finish()
    })
  } finally {
    unpacker.close()
  }
}

function run(task: () => void): void {
  task()
}

/** What is made first belongs to the container's root, since its mounts know nobody else. */
function asRootOf(maps: IdMaps): (task: () => void) => void {
  const ids = { uid: toHostId(maps.uid, 0) ?? 0, gid: toHostId(maps.gid, 0) ?? 0 }
  return task => withFileIds(ids, task)
}

class Unpacker implements TarHandler {
  readonly #root: number
  readonly #owner: UnpackOptions['owner']
  readonly #idMaps: IdMaps | undefined
  /** Set last: what is made in a directory changes its time. */
  readonly #directoryTimes = new Map<string, TarTime>()
  #parent: { readonly path: string; readonly fd: number } | undefined
  #file: { readonly fd: number; readonly entry: TarEntry } | undefined

  constructor(root: number, options: UnpackOptions) {
    this.#root = root
    this.#owner = options.owner
    this.#idMaps = options.idMaps
  }

  entry(entry: TarEntry): void {
    const path = normalise(entry.name)
    if (path === '') return
    const slash = path.lastIndexOf('/')
    const parentFd = this.#directory(slash < 0 ? '' : path.slice(0, slash))
    const name = cString(path.slice(slash + 1))
    try {
      if (entry.type === 'directory') this.#makeDirectory(parentFd, name, { path, entry })
      else if (entry.type === 'file') this.#file = { fd: openNew(parentFd, name, path), entry }
      else this.#makeOther(parentFd, name, { path, entry })
      faultPoint('file copied')
    } catch (error) {
      throw explain(error, path)
    }
  }

  data(bytes: Buffer, position: number): void {
    if (this.#file === undefined) return
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file.fd, bytes, at, bytes.length - at, position + at)
  }

  end(): void {
    if (this.#file === undefined) return
    const { fd, entry } = this.#file
    this.#file = undefined
    try {
      if (entry.isSparse) ftruncateSync(fd, entry.size)
      this.#describe(fd, entry)
      futimens(fd, entry.atime ?? entry.mtime, entry.mtime)
    } finally {
      closeSync(fd)
    }
  }

  finish(): void {
    for (const [path, mtime] of this.#directoryTimes) {
      try {
        const fd = openAt2(this.#root, cString(path), directoryFlags, RESOLVE_NO_SYMLINKS)
        futimens(fd, mtime, mtime)
        closeSync(fd)
      } catch (error) {
        if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EPERM')) throw error
      }
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    if (this.#parent !== undefined) closeSync(this.#parent.fd)
  }

  /** The directory of the next entry; made where the archive has said nothing of it. */
  #directory(path: string): number {
    if (path === '') return this.#root
    if (this.#parent?.path === path) return this.#parent.fd
    const fd = openInside(this.#root, path) ?? this.#makeParents(path)
    if (this.#parent !== undefined) closeSync(this.#parent.fd)
    this.#parent = { path, fd }
    return fd
  }

  #makeParents(path: string): number {
    let made = ''
    for (const part of path.split('/')) {
      const parent = made === '' ? this.#root : openInside(this.#root, made)
      made = made === '' ? part : `${made}/${part}`
      if (parent === undefined) break
      try {
        mkdirAt(parent, cString(part), 0o755)
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error
      } finally {
        if (parent !== this.#root) closeSync(parent)
      }
    }
    const fd = openInside(this.#root, path)
    if (fd !== undefined) return fd
    throw new TsrunError('conflict', 'no-directory', `cannot make the folder "${displayName(path)}"`)
  }

  #makeDirectory(parentFd: number, name: Buffer, { path, entry }: Member): void {
    try {
      mkdirAt(parentFd, name, 0o700)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    let fd: number
    try {
      fd = openChild(parentFd, name.toString('latin1', 0, name.length - 1))
    } catch (error) {
      if (!hasCode(error, 'ENOTDIR', 'ELOOP')) throw error
      throw new TsrunError('conflict', 'not-a-directory', `cannot overwrite "${displayName(path)}" with a directory`)
    }
    try {
      this.#describe(fd, entry)
      this.#directoryTimes.set(path, entry.mtime)
    } finally {
      closeSync(fd)
    }
  }

  /** Links, devices and fifos. */
  #makeOther(parentFd: number, name: Buffer, { path, entry }: Member): void {
    replacing(parentFd, name, path, () => this.#create(parentFd, name, entry))
    if (entry.type === 'hardlink') return
    const fd = openAt2(parentFd, name, O_PATH | constants.O_NOFOLLOW, 0)
    try {
      const stat = fstatSync(fd)
      if (!isOfType(stat, entry)) return
      const own = `/proc/self/fd/${fd}`
      const { uid, gid } = this.#ownerOf(entry)
      if (entry.type === 'symlink') {
        chownAt(parentFd, name, uid, gid)
        utimensAt(parentFd, name, entry.mtime, entry.mtime)
        return
      }
      // Through the descriptor's link, which leads to this very file whatever stands at its name now.
      chownSync(own, uid, gid)
      chmodSync(own, entry.mode)
    } finally {
      closeSync(fd)
    }
  }

  #create(parentFd: number, name: Buffer, entry: TarEntry): void {
    if (entry.type === 'symlink') symlinkAt(cString(entry.linkName), parentFd, name)
    else if (entry.type === 'hardlink') this.#link(parentFd, name, entry)
    else {
      const kind = entry.type === 'fifo' ? S_IFIFO : entry.type === 'block-device' ? S_IFBLK : S_IFCHR
      const device =
        entry.type === 'fifo' ? { major: 0, minor: 0 } : { major: entry.deviceMajor, minor: entry.deviceMinor }
      mknodAt(parentFd, name, kind | 0o600, device)
    }
  }

  #link(parentFd: number, name: Buffer, entry: TarEntry): void {
    const target = normalise(entry.linkName)
    const slash = target.lastIndexOf('/')
    const folder = slash < 0 ? this.#root : openInside(this.#root, target.slice(0, slash))
    if (folder === undefined)
      throw new TsrunError('invalid', 'bad-archive', `hard link to "${displayName(target)}", which is not there`)
    try {
      linkAt(folder, cString(target.slice(slash + 1)), parentFd, name)
    } finally {
      if (folder !== this.#root) closeSync(folder)
    }
  }

  #ownerOf(entry: TarEntry): { readonly uid: number; readonly gid: number } {
    const { uid, gid } = this.#owner ?? entry
    const maps = this.#idMaps
    if (maps === undefined) return { uid, gid }
    const [hostUid, hostGid] = [toHostId(maps.uid, uid), toHostId(maps.gid, gid)]
    if (hostUid !== undefined && hostGid !== undefined) return { uid: hostUid, gid: hostGid }
    throw new TsrunError(
      'invalid',
      'not-mapped',
      `cannot write "${displayName(entry.name)}": its owner ${uid}:${gid} is not mapped in the container`,
    )
  }

  /** Owner first: chown clears setuid and capabilities. */
  #describe(fd: number, entry: TarEntry): void {
    const { uid, gid } = this.#ownerOf(entry)
    fchown(fd, uid, gid)
    fchmod(fd, entry.mode)
    for (const [key, value] of entry.xattrs) {
      if (isOverlayXattr(key)) continue
      try {
        fsetxattr(fd, cString(key), value)
      } catch (error) {
        if (!hasCode(error, 'EOPNOTSUPP', 'ENOTSUP', 'EPERM')) throw error
      }
    }
  }
}

interface Member {
  readonly path: string
  readonly entry: TarEntry
}

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

function openInside(root: number, path: string): number | undefined {
  try {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY
    return openAt2(root, cString(path), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}

function normalise(name: string): string {
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (parts.includes('..'))
    throw new TsrunError('invalid', 'bad-archive', `the name "${displayName(name)}" leads out of its directory`)
  return parts.join('/')
}

function isOfType(stat: Stats, { type }: TarEntry): boolean {
  if (type === 'symlink') return stat.isSymbolicLink()
  if (type === 'fifo') return stat.isFIFO()
  return type === 'block-device' ? stat.isBlockDevice() : stat.isCharacterDevice()
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof TsrunError || !(error instanceof Error)) return error
  const kind = hasCode(error, 'EROFS', 'EACCES', 'EPERM') ? 'denied' : 'system'
  const reason = hasCode(error, 'EROFS') ? `the file system is read-only ${error.message}` : error.message
  return new TsrunError(kind, 'unpack', `cannot write "${displayName(path)}": ${reason}`, { cause: error })
}
