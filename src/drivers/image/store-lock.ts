// The reader-writer lock of the image store, held for milliseconds: shared while an image is looked up and whoever uses it is
// written down, exclusive while the decision to remove is made. Never held across a pull, an unpacking or a wait.
// It is polled, not waited for in the kernel: the holder may be another task of this very process.

import { closeSync, openSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { tryLock } from '../../kernel/flock.ts'
import { TsrunError } from '../../model/errors.ts'

const timeoutMs = 30_000

/**
 * Locks the file at `path`, which is made. A writer first closes the turnstile (`<path>.turn`), so that new readers wait
 * behind it and it is not starved.
 * @returns what gives the lock back; to be called once
 * @throws TsrunError unavailable after 30 seconds
 */
export async function lockStore(path: string, kind: 'shared' | 'exclusive'): Promise<() => void> {
  const shared = kind === 'shared'
  const deadline = Date.now() + timeoutMs
  const turn = await lockFile(`${path}.turn`, shared, deadline)
  try {
    const fd = await lockFile(path, shared, deadline)
    return () => closeSync(fd)
  } finally {
    closeSync(turn)
  }
}

async function lockFile(path: string, shared: boolean, deadline: number): Promise<number> {
  const fd = openSync(path, 'a', 0o600)
  try {
    for (let wait = 1; !tryLock(fd, shared); wait = Math.min(wait * 2, 20)) {
      if (Date.now() > deadline) {
        throw new TsrunError('unavailable', 'store-busy', 'cannot lock the image store: another tsrun holds it', {
          hint: `see who has "${path}" open: fuser ${path}`,
        })
      }
      await delay(wait)
    }
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
