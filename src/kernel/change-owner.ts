// Gives a tree of files to somebody, while others may be at work in it: by descriptors, and no link is followed.

import { closeSync, constants, fstatSync, readdirSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { AT_FDCWD, chownPlace, cString, O_PATH, openAt, openAt2 } from '../ffi/file-at.ts'

/** `chown -R -h UID:GID PATH`; what has that owner already is left alone, and with it the set-user-ID bits that chown clears. */
export function changeOwner(path: string, uid: number, gid: number): void {
  const top = openAt2(AT_FDCWD, cString(Buffer.from(path).toString('latin1')), O_PATH, 0)
  try {
    change(top, uid, gid)
  } finally {
    closeSync(top)
  }
}

function change(place: number, uid: number, gid: number): void {
  const stat = fstatSync(place)
  if (stat.uid !== uid || stat.gid !== gid) chownPlace(place, uid, gid)
  if (!stat.isDirectory()) return
  for (const name of readdirSync(`/proc/self/fd/${place}`, 'buffer')) {
    const child = openIfThere(place, cString(name.toString('latin1')))
    if (child === undefined) continue
    try {
      change(child, uid, gid)
    } finally {
      closeSync(child)
    }
  }
}

function openIfThere(directory: number, name: Buffer): number | undefined {
  try {
    return openAt(directory, name, O_PATH | constants.O_NOFOLLOW, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
