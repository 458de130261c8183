// A folder for work in progress: blobs that are being written, layers that are being unpacked, and what is on its way out.
// It is locked (flock) as long as its process lives; one that can be locked by another is a dead process's and is removed.
// `keep/<hex>` files in it name the blobs and layers that the work needs: prune leaves those alone.

import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { cString } from '../../ffi/file-at.ts'
import { lockIfFree } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { byteString } from '../../lib/tar-entry.ts'
import { type Digest, digestHex } from '../../model/image.ts'
import { removeTreeAt } from './directory-tree.ts'

let counter = 0

export class Staging {
  readonly path: string
  /** What is made here must survive a power loss: it is synced. */
  readonly isDurable: boolean
  readonly #fd: number
  readonly #syncs: Promise<void>[] = []

  private constructor(path: string, fd: number, isDurable: boolean) {
    this.path = path
    this.#fd = fd
    this.isDurable = isDurable
    mkdirSync(join(path, 'keep'))
    faultPoint('staging folder')
  }

  /** Makes and locks a new one. The caller closes it. @param isDurable false for what can be had again at any time */
  static open(folder: string, isDurable = true): Staging {
    for (;;) {
      const path = join(folder, `${process.pid}-${Date.now().toString(36)}-${counter++}`)
      mkdirSync(path, { mode: 0o700 })
      const fd = lockFolder(path)
      if (fd === undefined) continue
      try {
        return new Staging(path, fd, isDurable)
      } catch (error) {
        removeTree(path)
        closeSync(fd)
        throw error
      }
    }
  }

  /** For keep(): from now on prune leaves this blob or layer alone. The caller has the shared lock of the store. */
  keep(digest: Digest): void {
    writeFileSync(join(this.path, 'keep', digestHex(digest)), '')
    faultPoint('staging keeps')
  }

  /** A path in here that nobody has used. */
  temporary(kind: string): string {
    return join(this.path, `${kind}-${counter++}`)
  }

  /** Registers a sync that must be done before a name may point to what is synced. */
  defer(sync: Promise<void>): void {
    // Its failure is told by synced(); until then it must not end the process.
    sync.catch(() => {})
    this.#syncs.push(sync)
  }

  async synced(): Promise<void> {
    await Promise.all(this.#syncs)
  }

  /** Removes it and all that is left in it. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#syncs)
    try {
      removeTree(this.path)
    } finally {
      closeSync(this.#fd)
    }
  }
}

/**
 * Takes what dead processes left, into `own`, to die with it: that is quick, however much it is.
 * @returns what live ones keep: hex digests of blobs and layers
 */
export function sweepStaging(folder: string, own: Staging): Set<string> {
  const kept = new Set<string>()
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const fd = lockFolder(path)
    if (fd === undefined) {
      for (const hex of namesIfThere(join(path, 'keep'))) kept.add(hex)
      continue
    }
    try {
      renameSync(path, own.temporary('dead'))
    } finally {
      closeSync(fd)
    }
  }
  return kept
}

/** Whether the process whose work this is still lives. */
export function isStagingHeld(path: string): boolean {
  const fd = lockFolder(path)
  if (fd === undefined) return existsSync(path)
  closeSync(fd)
  return false
}

/** Removes a file or folder with all below it, whatever names it holds. Idempotent. */
export function removeTree(path: string): void {
  let parent: number
  try {
    parent = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  try {
    removeTreeAt(parent, cString(byteString(basename(path))))
  } finally {
    closeSync(parent)
  }
}

/** undefined when somebody else has it or it is gone. The caller owns the descriptor. */
function lockFolder(path: string): number | undefined {
  return lockIfFree(path, { flags: constants.O_RDONLY | constants.O_DIRECTORY })
}
