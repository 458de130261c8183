// Whether tsrun-dns lives: it holds a lock with flock(2), taken by whoever starts it and inherited, so that there is never a
// moment in which two believe to be the one, and none after its death in which it seems to live.

import { closeSync, fstatSync, openSync, rmSync, statSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { flock, LOCK_EX, LOCK_NB } from '../../ffi/libc.ts'

const LOCK_FILE = 'lock'

/** @returns a descriptor that holds the lock, or undefined when somebody else does, or there is no folder */
export function lockResolver(folder: string): number | undefined {
  let fd: number
  try {
    fd = openSync(`${folder}/${LOCK_FILE}`, 'a', 0o600)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    flock(fd, LOCK_EX | LOCK_NB)
    // The folder may have been removed between the open and the lock, by whoever held it.
    if (statSync(`${folder}/${LOCK_FILE}`, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd
    closeSync(fd)
    return undefined
  } catch (error) {
    closeSync(fd)
    if (hasCode(error, 'EAGAIN')) return undefined
    throw error
  }
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
