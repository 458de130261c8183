// The directory that a layer is unpacked into, and the one way to a place in it. Paths come from archives nobody vouches
// for: they are resolved by openat2(RESOLVE_IN_ROOT), so links, absolute or with "..", end inside; everything is then done
// relative to the descriptor of the parent directory. Directories that the archive does not bring are made as the layers
// below have them.

import { closeSync, constants, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  AT_REMOVEDIR,
  chmodAt,
  cString,
  type FileTime,
  mkdirAt,
  O_PATH,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  unlinkAt,
  utimensAt,
} from '../../ffi/file-at.ts'
import { copyMetadata, markOpaque } from './file-metadata.ts'
import { isWhiteout, type LowerLayers, linkTarget } from './lower-layers.ts'

const maxOpenDirectories = 64
const maxLinks = 40

/** A place for a name: the directory it goes in. */
export interface Place {
  /** Owned by the tree; good until the next call of place(). */
  readonly parentFd: number
  readonly name: Buffer
}

export class DirectoryTree {
  readonly #root: number
  readonly #lower: LowerLayers
  /** Open directories by the path the archive uses, least recently used first. */
  readonly #open = new Map<string, number>()
  /** The times of directories made as a lower layer has them: to be set last, since what is put in changes them. */
  readonly implicitTimes = new Map<string, FileTime>()

  /** @param path an existing directory, owned by the caller, that nobody else writes to */
  constructor(path: string, lower: LowerLayers) {
    this.#root = openAt2(-100, cString(path), O_PATH | constants.O_DIRECTORY, 0)
    this.#lower = lower
  }

  close(): void {
    this.#forget()
    closeSync(this.#root)
  }

  get rootFd(): number {
    return this.#root
  }

  /** The place of `path`; directories on the way are made. @param path normalised, not empty */
  place(path: string): Place {
    const slash = path.lastIndexOf('/')
    return { parentFd: this.#directory(slash < 0 ? '' : path.slice(0, slash)), name: cString(path.slice(slash + 1)) }
  }

  /** The path of a directory without links in it, seen through this layer and those below. Makes nothing. */
  resolve(path: string): string {
    return path === '' ? '' : this.#walk(path, false)
  }

  /** The same for a name in a directory: the name itself is not followed. */
  resolveName(path: string): string {
    const slash = path.lastIndexOf('/')
    return slash < 0 ? path : join(this.#walk(path.slice(0, slash), false), path.slice(slash + 1))
  }

  /** Sets the times of a directory, if it is still there. */
  setDirectoryTime(path: string, mtime: FileTime): void {
    const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0))
    try {
      const parentFd = parent === '' ? this.#root : (this.#open.get(parent) ?? openInRoot(this.#root, parent))
      const name = cString(path === '' ? '.' : path.slice(path.lastIndexOf('/') + 1))
      try {
        if (this.stat({ parentFd, name })?.isDirectory()) utimensAt(parentFd, name, mtime, mtime)
      } finally {
        if (parentFd !== this.#root && this.#open.get(parent) !== parentFd) closeSync(parentFd)
      }
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error
    }
  }

  /** What stands at a place; undefined if nothing does. */
  stat({ parentFd, name }: Place): Stats | undefined {
    try {
      return lstatSync(procPath(parentFd, name))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /** Removes what stands at a place, with all below it. */
  remove(place: Place): void {
    const stat = this.stat(place)
    // An open directory may have been reached through what goes away now.
    if (stat?.isDirectory() || stat?.isSymbolicLink()) {
      const parent = openAt2(place.parentFd, cString('.'), O_PATH | constants.O_DIRECTORY, 0)
      try {
        this.#forget()
        removeTreeAt(parent, place.name)
      } finally {
        closeSync(parent)
      }
      return
    }
    if (stat !== undefined) unlinkAt(place.parentFd, place.name, 0)
  }

  #directory(path: string): number {
    if (path === '') return this.#root
    const known = this.#open.get(path)
    if (known !== undefined) {
      this.#open.delete(path)
      this.#open.set(path, known)
      return known
    }
    const fd = this.#openDirectory(path)
    if (this.#open.size >= maxOpenDirectories) {
      const [oldest, oldestFd] = this.#open.entries().next().value ?? ['', -1]
      this.#open.delete(oldest)
      closeSync(oldestFd)
    }
    this.#open.set(path, fd)
    return fd
  }

  #openDirectory(path: string): number {
    try {
      return openInRoot(this.#root, path)
    } catch (error) {
      // Not in this layer, or through a link to what is not in this layer.
      if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error
    }
    return openInRoot(this.#root, this.#walk(path, true))
  }

  /** Follows `path` part by part through this layer and those below. Returns the path without links. */
  #walk(path: string, isMaking: boolean): string {
    const queue = path.split('/')
    let links = 0
    let at = ''
    const follow = (target: string): void => {
      if (++links > maxLinks) throw new Error(`too many symbolic links in "${path}"`)
      if (target.startsWith('/')) at = ''
      queue.unshift(...target.split('/'))
    }
    for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        at = at.slice(0, Math.max(at.lastIndexOf('/'), 0))
        continue
      }
      const here = this.#look(at, part)
      if (here?.isSymbolicLink()) {
        follow(this.#readlink(at, part))
        continue
      }
      const next = join(at, part)
      if (here === undefined) {
        const below = this.#lower.lookup(next)
        if (below?.stat.isSymbolicLink()) {
          follow(linkTarget(below))
          continue
        }
        if (isMaking) this.#make(at, part, next)
      } else if (isWhiteout(here) && isMaking) {
        this.#within(at, fd => {
          unlinkAt(fd, cString(part), 0)
          makeDirectory(fd, cString(part))
          markOpaque(fd, cString(part))
        })
      }
      at = next
    }
    return at
  }

  #make(parent: string, name: string, path: string): void {
    this.#within(parent, fd => {
      makeDirectory(fd, cString(name))
      const below = this.#lower.lookup(path)
      if (!below?.stat.isDirectory()) return
      const metadata = copyMetadata(below, fd, cString(name))
      this.implicitTimes.set(path, metadata.mtime)
    })
  }

  #look(directory: string, name: string): Stats | undefined {
    try {
      return this.#within(directory, fd => lstatSync(procPath(fd, cString(name))))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  #readlink(directory: string, name: string): string {
    return this.#within(directory, fd => readlinkSync(procPath(fd, cString(name)), 'buffer').toString('latin1'))
  }

  /** `directory` has no links; to find one is an error. */
  #within<T>(directory: string, task: (fd: number) => T): T {
    const fd =
      directory === ''
        ? this.#root
        : openAt2(this.#root, cString(directory), directoryFlags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    try {
      return task(fd)
    } finally {
      if (fd !== this.#root) closeSync(fd)
    }
  }

  #forget(): void {
    for (const fd of this.#open.values()) closeSync(fd)
    this.#open.clear()
  }
}

const directoryFlags = O_PATH | constants.O_DIRECTORY

/** A path for node:fs to a name in an open directory; only the name itself may be a link. */
export function procPath(fd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name.subarray(0, -1)])
}

/** Removes a file or a directory with all below it, never through a link. */
export function removeTreeAt(parentFd: number, name: Buffer): void {
  try {
    unlinkAt(parentFd, name, 0)
    return
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EISDIR', 'EPERM')) throw error
  }
  const fd = openAt2(
    parentFd,
    name,
    constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
    RESOLVE_NO_SYMLINKS,
  )
  try {
    for (const child of readdirSync(`/proc/self/fd/${fd}`, 'buffer')) {
      removeTreeAt(fd, Buffer.concat([child, Buffer.alloc(1)]))
    }
  } finally {
    closeSync(fd)
  }
  unlinkAt(parentFd, name, AT_REMOVEDIR)
}

/** Mode 0755 whatever the umask of the process. */
function makeDirectory(fd: number, name: Buffer): void {
  mkdirAt(fd, name, 0o755)
  chmodAt(fd, name, 0o755)
}

function openInRoot(root: number, path: string): number {
  return openAt2(root, cString(path), directoryFlags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

function join(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`
}
