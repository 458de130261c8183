// Follows a path through the layer that is being unpacked and those below it, as a container will see them together. Slower than
// openat2, and only needed where that finds nothing: directories that only lower layers have, and links to such.

import { closeSync, constants, lstatSync, readlinkSync, type Stats } from 'node:fs'
import { errno, hasCode, SyscallError } from '../../ffi/errno.ts'
import {
  chmodAt,
  cString,
  type FileTime,
  mkdirAt,
  O_PATH,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
  unlinkAt,
} from '../../ffi/file-at.ts'
import { copyMetadata, markOpaque } from './file-metadata.ts'
import { isWhiteout, type LowerLayers, linkTarget } from './lower-layers.ts'
import { procPath } from './proc-path.ts'

const maxLinks = 40
const directoryFlags = O_PATH | constants.O_DIRECTORY

export class MergedWalk {
  readonly #root: number
  readonly #lower: LowerLayers
  readonly implicitTimes = new Map<string, FileTime>()
  /** A link of a lower layer was followed since this was last set to false. */
  hasFollowedLower = false

  /** @param root stays the caller's */
  constructor(root: number, lower: LowerLayers) {
    this.#root = root
    this.#lower = lower
  }

  /** @returns the path without links; with `isMaking`, every directory on it is in this layer then */
  follow(path: string, isMaking: boolean): string {
    // Last part first: links put their parts on top.
    const stack = path.split('/').reverse()
    let links = 0
    let at = ''
    const enter = (target: string): void => {
      if (++links > maxLinks) throw new SyscallError('openat2', errno.ELOOP, 'too many symbolic links')
      if (target.startsWith('/')) at = ''
      stack.push(...target.split('/').reverse())
    }
    for (let part = stack.pop(); part !== undefined; part = stack.pop()) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        at = at.slice(0, Math.max(at.lastIndexOf('/'), 0))
        continue
      }
      const target = this.#within(at, fd => this.#linkAt(fd, at, part))
      if (target !== undefined) {
        enter(target)
        continue
      }
      if (isMaking) this.#within(at, fd => this.makeIn(fd, at, part))
      at = joinPath(at, part)
    }
    return at
  }

  /**
   * Makes sure that a directory is in this layer, as the layers below have it; what is no directory is left.
   * @param parent the path of the open directory `fd`, without links
   * @returns false where a link is in the way
   */
  makeIn(fd: number, parent: string, name: string): boolean {
    const here = statAt(fd, name)
    if (here?.isSymbolicLink()) return false
    const bytes = cString(name)
    if (here === undefined) {
      const path = joinPath(parent, name)
      const below = this.#lower.lookup(path)
      if (below?.stat.isSymbolicLink()) return false
      makeDirectory(fd, bytes)
      if (below?.stat.isDirectory()) this.implicitTimes.set(path, copyMetadata(below, fd, bytes).mtime)
    } else if (isWhiteout(here)) {
      // This layer removes the lower directory and yet has something in it.
      unlinkAt(fd, bytes, 0)
      makeDirectory(fd, bytes)
      markOpaque(fd, bytes)
    }
    return true
  }

  /** The target of a link, in this layer or, where it has nothing of that name, below. */
  #linkAt(fd: number, parent: string, name: string): string | undefined {
    const here = statAt(fd, name)
    if (here?.isSymbolicLink()) return readlinkSync(procPath(fd, cString(name)), 'buffer').toString('latin1')
    if (here !== undefined) return undefined
    const below = this.#lower.lookup(joinPath(parent, name))
    if (!below?.stat.isSymbolicLink()) return undefined
    this.hasFollowedLower = true
    return linkTarget(below)
  }

  /** Runs `task` in a directory of this layer; -1 stands for one that is not there. To find a link is an error. */
  #within<T>(directory: string, task: (fd: number) => T): T {
    if (directory === '') return task(this.#root)
    const fd = this.#open(directory)
    try {
      return task(fd)
    } finally {
      if (fd !== -1) closeSync(fd)
    }
  }

  #open(directory: string): number {
    try {
      return openAt2(this.#root, cString(directory), directoryFlags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return -1
      throw error
    }
  }
}

/** Paths below the root; the root itself is empty. */
export function joinPath(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`
}

function statAt(fd: number, name: string): Stats | undefined {
  return fd === -1 ? undefined : lstatSync(procPath(fd, cString(name)), { throwIfNoEntry: false })
}

/** Mode 0755 whatever the umask of the process. */
function makeDirectory(fd: number, name: Buffer): void {
  mkdirAt(fd, name, 0o755)
  chmodAt(fd, name, 0o755)
}
