// Advisory file locks, flock(2) (design decision D3). A lock belongs to an open file: the kernel drops it when the
// holder closes it or dies, and descriptors are close-on-exec, so no child inherits it.

import { closeSync, fstatSync, openSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../ffi/errno.ts'
import { flock, LOCK_EX, LOCK_NB, LOCK_SH } from '../ffi/libc.ts'
import { openIfThere } from '../lib/if-there.ts'
import { TsrunError } from '../model/errors.ts'

/** A lock that is held. */
export interface FileLock {
  readonly path: string
  /** Gives the lock back. Idempotent. */
  release(): void
  [Symbol.dispose](): void
}

export interface LockOptions {
  /** What the lock guards, for messages, e.g. `network "br"`. Default: the path. */
  readonly what?: string
  /** Together with other shared holders, instead of alone. Default false. */
  readonly shared?: boolean
  /** How long to wait for other holders. Default 30 s; 0 tries once. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** `path` is an existing folder. Default false. */
  readonly folder?: boolean
}

const longestPauseMs = 20
const defaultTimeoutMs = 30_000

/**
 * Locks the file `path`, which is made where it is missing (mode 0600; its folder must exist) and stays; or the folder
 * `path`, with `folder`. Whoever holds the lock may remove what it stands for: those who wait notice and start over.
 * Not reentrant: a second call in the same process waits for the first.
 * Waiting is polling with pauses from 1 to 20 ms: a blocking flock on a pool thread would hold that thread, and
 * the four of them together, and could not be given up.
 * @throws TsrunError unavailable after `timeoutMs`; the signal's reason when aborted; SyscallError; Error ENOENT for a
 * folder that is not there
 */
export async function lockFile(path: string, options: LockOptions = {}): Promise<FileLock> {
  const { what = `"${path}"`, shared = false, timeoutMs = defaultTimeoutMs, signal } = options
  signal?.throwIfAborted()
  const deadline = performance.now() + timeoutMs
  const fd = openSync(path, options.folder === true ? 'r' : 'a', 0o600)
  try {
    for (let pauseMs = 1; !tryLock(fd, shared); pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw lockedTooLong(what, path, timeoutMs)
      await sleep(Math.min(pauseMs, leftMs), undefined, signal === undefined ? {} : { signal })
    }
    if (isStill(path, fd)) return heldLock(path, fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  closeSync(fd)
  return lockFile(path, { ...options, timeoutMs: deadline - performance.now() })
}

/** Whether `fd` is what the name stands for, and not something removed between its opening and the lock. */
export function isStill(path: string, fd: number): boolean {
  return statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino
}

/** Runs `task` while holding the lock on `path`. @throws like lockFile(), and whatever `task` throws */
export async function withLock<T>(path: string, task: () => Promise<T> | T, options?: LockOptions): Promise<T> {
  const lock = await lockFile(path, options)
  try {
    return await task()
  } finally {
    lock.release()
  }
}

/**
 * Runs `task`, which awaits nothing, while holding the lock on the folder `path`, which must stay. For callers that cannot await:
 * where another process has the lock, this thread sleeps until it has done its own such task.
 * @throws TsrunError unavailable after 30 seconds; whatever `task` throws
 */
export function withLockNow<T>(path: string, task: () => T, what: string): T {
  const deadline = performance.now() + defaultTimeoutMs
  const fd = openSync(path, 'r')
  try {
    const never = new Int32Array(new SharedArrayBuffer(4))
    for (let pauseMs = 1; !tryLock(fd); pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      if (performance.now() >= deadline) throw lockedTooLong(what, path, defaultTimeoutMs)
      Atomics.wait(never, 0, 0, pauseMs)
    }
    return task()
  } finally {
    closeSync(fd)
  }
}

/**
 * Locks the file or folder `path` at once, or not at all.
 * @param options flags with which it is opened, default `r`; shared as in LockOptions
 * @returns a descriptor that holds the lock and is the caller's; undefined where somebody else holds it, or it is not there, or
 * not any more
 */
export function lockIfFree(
  path: string,
  { flags, shared = false }: { readonly flags?: string | number; readonly shared?: boolean } = {},
): number | undefined {
  const fd = openIfThere(path, flags)
  if (fd === undefined) return undefined
  try {
    if (tryLock(fd, shared) && isStill(path, fd)) return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
  closeSync(fd)
  return undefined
}

/** Locks an open file. @returns false when somebody else holds it */
export function tryLock(fd: number, shared = false): boolean {
  try {
    flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB)
    return true
  } catch (error) {
    if (hasCode(error, 'EAGAIN', 'EWOULDBLOCK')) return false
    throw error
  }
}

function heldLock(path: string, fd: number): FileLock {
  let held = true
  const release = () => {
    if (!held) return
    held = false
    closeSync(fd)
  }
  return { path, release, [Symbol.dispose]: release }
}

function lockedTooLong(what: string, path: string, timeoutMs: number): TsrunError {
  const waited = timeoutMs < 1000 ? `${timeoutMs} ms` : `${timeoutMs / 1000} s`
  return new TsrunError(
    'unavailable',
    'locked',
    `cannot lock ${what}: another process still holds it after ${waited}`,
    {
      hint: `\`fuser -v ${path}\` shows which one`,
    },
  )
}
