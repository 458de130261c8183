// Whether a program of ours lives (tsrun-dns, the keeper of a lease): it holds a lock in its folder with flock(2), taken by whoever
// starts it and inherited, so that there is never a moment in which two believe to be the one, and none after its death in which it
// seems to live.

import { closeSync, rmSync } from 'node:fs'
import { lockIfFree } from './flock.ts'

/** In the folder. */
export const LOCK_FILE = 'lock'

/** @returns a descriptor that holds the lock, or undefined when somebody else does, or there is no folder, or not any more */
export function lockLife(folder: string): number | undefined {
  return lockIfFree(`${folder}/${LOCK_FILE}`, { flags: 'a' })
}

/** Whether its folder is there and nobody holds its lock: it has died, or is just ending. */
export function hasHolderDied(folder: string): boolean {
  const lock = lockLife(folder)
  if (lock === undefined) return false
  closeSync(lock)
  return true
}

/** Removes the folder of a program that has ended. @returns false when one lives, or is being started */
export function removeDeadFolder(folder: string): boolean {
  const lock = lockLife(folder)
  if (lock === undefined) return false
  try {
    rmSync(folder, { recursive: true, force: true })
    return true
  } finally {
    closeSync(lock)
  }
}
