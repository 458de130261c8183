// Whether tsrun-dns lives: it holds a lock with flock(2), taken by whoever starts it and inherited, so that there is never a
// moment in which two believe to be the one, and none after its death in which it seems to live.

import { closeSync, rmSync } from 'node:fs'
import { lockIfFree } from '../flock.ts'

const LOCK_FILE = 'lock'

/** @returns a descriptor that holds the lock, or undefined when somebody else does, or there is no folder, or not any more */
export function lockResolver(folder: string): number | undefined {
  return lockIfFree(`${folder}/${LOCK_FILE}`, { flags: 'a' })
}

/** Whether its folder is there and nobody holds its lock: it has died, or is just ending. */
export function hasResolverDied(folder: string): boolean {
  const lock = lockResolver(folder)
  if (lock === undefined) return false
  closeSync(lock)
  return true
}

/** Removes the folder of a resolver that has ended. @returns false when one lives, or is being started */
export function removeResolverFolder(folder: string): boolean {
  const lock = lockResolver(folder)
  if (lock === undefined) return false
  try {
    rmSync(folder, { recursive: true, force: true })
    return true
  } finally {
    closeSync(lock)
  }
}
