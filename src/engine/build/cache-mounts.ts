// The directories of RUN --mount=type=cache: `<root>/build/mounts/<hash of the id>/N/{data,lock}`. They are in no layer and in no
// key; a step has the lock of the one it uses: shared, or alone.

import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { sha256 } from '../../drivers/image/digest.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { lockIfFree } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { writeWhole } from '../../lib/state-file.ts'
import { digestHex } from '../../model/image.ts'
import type { CacheMount } from './mount-flags.ts'

/** A cache directory that a step uses. */
export interface HeldCache {
  readonly directory: string
  release(): void
}

const POLL_MS = 50

/** Waits where another step has it and sharing says so. @param root `<root>/build/mounts` */
export async function holdCache(root: string, mount: CacheMount, signal: AbortSignal): Promise<HeldCache> {
  const folder = join(root, digestHex(sha256(mount.id)))
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeWhole(join(folder, 'id'), `${mount.id}\n`)
  for (let number = 0; ; ) {
    signal.throwIfAborted()
    const place = join(folder, String(number))
    const fd = tryHold(place, mount.sharing === 'shared')
    if (fd !== undefined) {
      const directory = join(place, 'data')
      if (!existsSync(directory)) {
        mkdirSync(directory)
        chownSync(directory, mount.uid, mount.gid)
        chmodSync(directory, mount.mode)
      }
      return { directory, release: () => closeSync(fd) }
    }
    // Somebody else has it: another one of our own, or the same one later.
    if (mount.sharing === 'private') number += 1
    else await delay(POLL_MS, undefined, { signal })
  }
}

/**
 * Takes out the directories that no step uses. @returns how many
 * @param staging where they die @param measure told of each before it goes
 */
export function pruneCaches(root: string, staging: Staging, measure: (directory: string) => void): number {
  let count = 0
  for (const id of namesIfThere(root, 'ENOTDIR')) {
    for (const number of namesIfThere(join(root, id), 'ENOTDIR').filter(name => /^\d+$/.test(name))) {
      const place = join(root, id, number)
      const fd = tryHold(place, false)
      if (fd === undefined) continue
      try {
        measure(join(place, 'data'))
        // With its lock, at once: who waits for it finds it gone, and makes a new one.
        renameSync(place, staging.temporary('cache'))
        faultPoint('cache mount taken out')
        count += 1
      } finally {
        closeSync(fd)
      }
    }
  }
  return count
}

/** @returns a descriptor that holds the lock; undefined where somebody else does, or it is on its way out */
function tryHold(place: string, shared: boolean): number | undefined {
  mkdirSync(place, { recursive: true, mode: 0o700 })
  return lockIfFree(join(place, 'lock'), { flags: 'a', shared })
}
