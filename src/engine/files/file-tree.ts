// A tree of files in which paths are looked up: the host's, or a container's, where every name may be a trap. In a container's
// tree openat2(RESOLVE_IN_ROOT) ends each link inside, however it is changed meanwhile (CVE-2018-15664), and what has been
// found is used by its descriptor and never by its path again.

import { type BigIntStats, closeSync, constants, fstatSync, readlinkSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  cString,
  O_PATH,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../../ffi/file-at.ts'
import { byteString } from '../../lib/tar-entry.ts'
import { TsrunError } from '../../model/errors.ts'

/** As the kernel's own limit. */
const MAX_LINKS = 40
const AT_FDCWD = -100

/** A name in an open directory: what may be made, replaced or read there. Names are byte strings. */
export interface Spot {
  /** Opened for reading; the caller closes it. */
  readonly parentFd: number
  readonly name: string
  /** What stands there; undefined where nothing does. Never a link that should have been followed. */
  readonly stat: BigIntStats | undefined
}

export class FileTree {
  readonly #root: number
  readonly #resolve: number

  private constructor(root: number, resolve: number) {
    this.#root = root
    this.#resolve = resolve
  }

  /** The host's own. */
  static host(): FileTree {
    return new FileTree(openAt2(AT_FDCWD, cString('/'), O_PATH | constants.O_DIRECTORY, 0), 0)
  }

  /** A tree that nothing leads out of. @param directory its root, e.g. `/proc/<pid>/root` */
  static within(directory: string): FileTree {
    const root = openAt2(AT_FDCWD, cString(byteString(directory)), O_PATH | constants.O_DIRECTORY, 0)
    return new FileTree(root, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
  }

  /** The directory at `path`, opened for reading; the caller closes it. @throws SyscallError */
  openDirectory(path: string): number {
    return this.#open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  }

  /**
   * Finds the place that `path` names; where it ends in a link and `follow` is set, the place that the link means.
   * @returns undefined when the directory that it would be in does not exist
   */
  locate(path: string, options: { follow: boolean }): Spot | undefined {
    let rest = path
    for (let links = 0; ; links += 1) {
      const [parent, name] = splitPath(rest)
      const parentFd = this.#openIfThere(parent)
      if (parentFd === undefined) return undefined
      try {
        const { stat, target } = lookAt(parentFd, name)
        if (target === undefined || !options.follow) return { parentFd, name, stat }
        if (links >= MAX_LINKS)
          throw new TsrunError('invalid', 'too-many-links', `cannot follow "${path}": too many symbolic links`)
        rest = target.startsWith('/') ? target : `${parent}/${target}`
      } catch (error) {
        closeSync(parentFd)
        throw error
      }
      closeSync(parentFd)
    }
  }

  close(): void {
    closeSync(this.#root)
  }

  #openIfThere(path: string): number | undefined {
    try {
      return this.openDirectory(path)
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
      throw error
    }
  }

  #open(path: string, flags: number): number {
    // Relative to the root, which for openat2 an absolute path of the host's tree is not.
    return openAt2(this.#root, cString(`./${path}`), flags, this.#resolve)
  }
}

/** The directory and the name in it. Both `/` and `..` are directories without a name of their own: `.` in themselves. */
function splitPath(path: string): [parent: string, name: string] {
  const parts = path.split('/').filter(part => part !== '' && part !== '.')
  const name = parts.at(-1)
  if (name === undefined || name === '..') return [`/${parts.join('/')}`, '.']
  return [`/${parts.slice(0, -1).join('/')}`, name]
}

/** @returns no stat where nothing stands, and a target where it is a link */
function lookAt(parentFd: number, name: string): { stat: BigIntStats | undefined; target?: string } {
  let fd: number
  try {
    fd = openAt2(parentFd, cString(name), O_PATH | constants.O_NOFOLLOW, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { stat: undefined }
    throw error
  }
  try {
    const stat = fstatSync(fd, { bigint: true })
    if (!stat.isSymbolicLink()) return { stat }
    return { stat, target: readLinkOf(parentFd, name) }
  } finally {
    closeSync(fd)
  }
}

/** The target of a link in an open directory, as a byte string. */
export function readLinkOf(parentFd: number, name: string): string {
  return readlinkSync(pathIn(parentFd, name), 'buffer').toString('latin1')
}

/** A path for node:fs to a name in an open directory; only the name itself may be a link. */
export function pathIn(parentFd: number, name: string): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${parentFd}/`), Buffer.from(name, 'latin1')])
}

/** A directory in an open directory, never through a link; the caller closes it. */
export function openChild(parentFd: number, name: string): number {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
  return openAt2(parentFd, cString(name), flags, RESOLVE_NO_SYMLINKS)
}
