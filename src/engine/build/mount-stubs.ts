// Empty files and directories that a container's mounts needed to be mounted on: they are no part of what a step has done, so they
// do not go into its layer. What an image already had there is not touched.

import { closeSync, constants, fstatSync, readdirSync } from 'node:fs'
import { LowerLayers } from '../../drivers/image/lower-layers.ts'
import { hasCode } from '../../ffi/errno.ts'
import { AT_REMOVEDIR, cString, lgetxattr, O_PATH, openAt2, RESOLVE_NO_SYMLINKS, unlinkAt } from '../../ffi/file-at.ts'
import { byteString } from '../../lib/tar-entry.ts'

const ownMounts = ['dev', 'proc', 'sys', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf']

/** @param tree an upper directory @param layerDirs what is below it, top first @param targets absolute, of further mounts */
export function removeStubs(tree: string, layerDirs: readonly string[], targets: readonly string[]): void {
  const lower = new LowerLayers(layerDirs)
  const root = openAt2(-100, cString(byteString(tree)), O_PATH | constants.O_DIRECTORY, 0)
  try {
    for (const target of [...ownMounts, ...targets.map(path => byteString(path))]) {
      const path = target.split('/').filter(Boolean).join('/')
      if (path === '' || lower.lookup(path) !== undefined) continue
      if (!removeIfEmpty(root, path)) continue
      // Its folder is there only because of it: made for it, or copied up from below.
      for (let folder = above(path); folder !== ''; folder = above(folder)) {
        if (!isCopy(root, lower, folder) || !removeIfEmpty(root, folder)) break
      }
    }
  } finally {
    closeSync(root)
  }
}

/** Whether a directory is not what the step has made of it: the layers below have none, or the same one. */
function isCopy(root: number, lower: LowerLayers, path: string): boolean {
  const below = lower.lookup(path)
  if (below === undefined) return true
  const fd = openInside(root, path, O_PATH)
  if (fd === undefined) return false
  try {
    const { mode, uid, gid } = fstatSync(fd)
    const isOpaque = lgetxattr(Buffer.from(`/proc/self/fd/${fd}/.\0`), cString('trusted.overlay.opaque')) !== undefined
    return !isOpaque && below.stat.mode === mode && below.stat.uid === uid && below.stat.gid === gid
  } finally {
    closeSync(fd)
  }
}

function removeIfEmpty(root: number, path: string): boolean {
  const parent = openInside(root, above(path), O_PATH | constants.O_DIRECTORY)
  if (parent === undefined) return false
  try {
    const name = path.slice(path.lastIndexOf('/') + 1)
    const fd = openInside(parent, name, constants.O_NOFOLLOW | O_PATH)
    if (fd === undefined) return false
    try {
      const stat = fstatSync(fd)
      const isStub = stat.isDirectory()
        ? readdirSync(`/proc/self/fd/${fd}`).length === 0
        : stat.isFile() && stat.size === 0
      if (isStub) unlinkAt(parent, cString(name), stat.isDirectory() ? AT_REMOVEDIR : 0)
      return isStub
    } finally {
      closeSync(fd)
    }
  } finally {
    closeSync(parent)
  }
}

function openInside(folder: number, path: string, flags: number): number | undefined {
  try {
    return openAt2(folder, cString(path === '' ? '.' : path), flags, RESOLVE_NO_SYMLINKS)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}

function above(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}
