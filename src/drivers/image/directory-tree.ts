// The directory that a layer is unpacked into, and the one way to a place in it. Paths come from archives nobody vouches
// for: they are resolved by openat2(RESOLVE_IN_ROOT), so links, absolute or with "..", end inside; everything is then done
// relative to the descriptor of the parent directory. Directories that the archive does not bring are made as the layers
// below have them.

import { closeSync, constants, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  AT_REMOVEDIR,
  cString,
  type FileTime,
  O_PATH,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  unlinkAt,
  utimensAt,
} from '../../ffi/file-at.ts'
import type { LowerLayers } from './lower-layers.ts'
import { joinPath, MergedWalk } from './merged-walk.ts'
import { procPath } from './proc-path.ts'

const maxOpenDirectories = 64
const directoryFlags = O_PATH | constants.O_DIRECTORY

/** A place for a name: the directory it goes in. */
export interface Place {
  /** Owned by the tree; good until the next call of place(). */
  readonly parentFd: number
  readonly name: Buffer
}

export class DirectoryTree {
  readonly #root: number
  readonly #walk: MergedWalk
  #rootPath: string | undefined
  /** Open directories by the path the archive uses, least recently used first. */
  readonly #open = new Map<string, number>()

  /** @param path an existing directory, owned by the caller, that nobody else writes to */
  constructor(path: string, lower: LowerLayers) {
    this.#root = openAt2(-100, cString(path), O_PATH | constants.O_DIRECTORY, 0)
    this.#walk = new MergedWalk(this.#root, lower)
  }

  close(): void {
    this.#forget()
    closeSync(this.#root)
  }

  get rootFd(): number {
    return this.#root
  }

  /** The times of directories made as a lower layer has them: to be set last, since what is put in changes them. */
  get implicitTimes(): ReadonlyMap<string, FileTime> {
    return this.#walk.implicitTimes
  }

  /**
   * To be told when a directory or a link is made: an open one may have been found through a lower layer's link of that
   * name, which is hidden now.
   */
  hideLower(): void {
    if (!this.#walk.hasFollowedLower) return
    this.#walk.hasFollowedLower = false
    this.#forget()
  }

  /** The place of `path`; directories on the way are made. @param path normalised, not empty */
  place(path: string): Place {
    const slash = path.lastIndexOf('/')
    return { parentFd: this.#directory(slash < 0 ? '' : path.slice(0, slash)), name: cString(path.slice(slash + 1)) }
  }

  /** The path of a directory without links in it, seen through this layer and those below. Makes nothing. */
  resolve(path: string): string {
    return path === '' ? '' : this.#walk.follow(path, false)
  }

  /** The same for a name in a directory: the name itself is not followed. */
  resolveName(path: string): string {
    const slash = path.lastIndexOf('/')
    return slash < 0 ? path : joinPath(this.#walk.follow(path.slice(0, slash), false), path.slice(slash + 1))
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
    return lstatSync(procPath(parentFd, name), { throwIfNoEntry: false })
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
    return this.#makeMissing(path) ?? openInRoot(this.#root, this.#walk.follow(path, true))
  }

  /** The usual case, in which only the last part is missing and no link is in the way; undefined where it is not that. */
  #makeMissing(path: string): number | undefined {
    const slash = path.lastIndexOf('/')
    const parentFd = this.#directory(slash < 0 ? '' : path.slice(0, slash))
    const parent = this.#canonical(parentFd)
    const name = path.slice(slash + 1)
    if (parent === undefined || !this.#walk.makeIn(parentFd, parent, name)) return undefined
    return openAt2(parentFd, cString(name), directoryFlags, RESOLVE_NO_SYMLINKS)
  }

  /** The path of an open directory below the root, without links; undefined where it is too long for the kernel to tell. */
  #canonical(fd: number): string | undefined {
    try {
      this.#rootPath ??= readlinkSync(`/proc/self/fd/${this.#root}`, 'buffer').toString('latin1')
      const path = readlinkSync(`/proc/self/fd/${fd}`, 'buffer').toString('latin1')
      return path === this.#rootPath ? '' : path.slice(this.#rootPath.length + 1)
    } catch (error) {
      if (hasCode(error, 'ENAMETOOLONG')) return undefined
      throw error
    }
  }

  #forget(): void {
    for (const fd of this.#open.values()) closeSync(fd)
    this.#open.clear()
  }
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

function openInRoot(root: number, path: string): number {
  return openAt2(root, cString(path), directoryFlags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}
