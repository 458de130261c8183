// Owner, mode, times and extended attributes of one file in a tree, set in the order in which the kernel does not undo them:
// chown clears setuid and security.capability, so it comes first.

import { lstatSync, readSync, writeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  chmodAt,
  chownAt,
  cString,
  type FileTime,
  fsetxattr,
  lgetxattr,
  llistxattr,
  lsetxattr,
  utimensAt,
} from '../../ffi/file-at.ts'
import { type LowerFile, opaqueXattr } from './lower-layers.ts'

/** What a file is to look like. */
export interface FileMetadata {
  readonly uid: number
  readonly gid: number
  readonly mode: number
  readonly atime: FileTime
  readonly mtime: FileTime
  readonly xattrs: ReadonlyMap<string, Buffer>
}

/** Sets owner, mode (not of a symbolic link: it has none), attributes and times of `name` in an open directory. */
export function applyMetadata(parentFd: number, name: Buffer, metadata: FileMetadata, isSymlink: boolean): void {
  chownAt(parentFd, name, metadata.uid, metadata.gid)
  if (!isSymlink) chmodAt(parentFd, name, metadata.mode)
  if (metadata.xattrs.size > 0) setXattrs(parentFd, name, metadata.xattrs)
  utimensAt(parentFd, name, metadata.atime, metadata.mtime)
}

/** Sets attributes, the ones of overlayfs excepted: those would let an archive say what lies in other layers. */
export function setXattrs(parentFd: number, name: Buffer, xattrs: ReadonlyMap<string, Buffer>): void {
  const path = attributePath(parentFd, name)
  for (const [key, value] of xattrs) {
    if (isOverlayXattr(key)) continue
    try {
      lsetxattr(path, cString(key), value)
    } catch (error) {
      // The file system has no such kind (as docker, podman and containerd do); all else is a failure.
      if (!hasCode(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
    }
  }
}

/** Whether an attribute is overlayfs' own note about a layer. */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.')
}

/** Nothing of this directory's name shows through from the layers below. */
export function markOpaque(parentFd: number, name: Buffer): void {
  lsetxattr(attributePath(parentFd, name), opaqueXattr, Buffer.from('y'))
}

/** Gives `name` the metadata of a file of a lower layer, and returns it. */
export function copyMetadata(source: LowerFile, parentFd: number, name: Buffer): FileMetadata {
  const metadata = readMetadata(source.path)
  applyMetadata(parentFd, name, metadata, source.stat.isSymbolicLink())
  return metadata
}

/** The metadata of the file at `path`; a link is not followed. */
export function readMetadata(path: Buffer): FileMetadata {
  const stat = lstatSync(path, { bigint: true })
  return {
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode) & 0o7777,
    atime: fileTime(stat.atimeNs),
    mtime: fileTime(stat.mtimeNs),
    xattrs: readXattrs(path),
  }
}

/** The attributes of the file at `path` by name, sorted, without those of overlayfs. */
export function readXattrs(path: Buffer): Map<string, Buffer> {
  const terminated = Buffer.concat([path, Buffer.alloc(1)])
  const xattrs = new Map<string, Buffer>()
  for (const name of llistxattr(terminated)) {
    if (isOverlayXattr(name)) continue
    const value = lgetxattr(terminated, cString(name))
    if (value !== undefined) xattrs.set(name, value)
  }
  return xattrs
}

/** Nanoseconds since 1970, split; the remainder is never negative. */
export function fileTime(ns: bigint): FileTime {
  const nanoseconds = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return { seconds: Number((ns - nanoseconds) / 1_000_000_000n), nanoseconds: Number(nanoseconds) }
}

function attributePath(parentFd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${parentFd}/`), name])
}

/** Sets an attribute of an open file, as setXattrs() does. */
export function setFileXattr(fd: number, name: string, value: Buffer): void {
  if (isOverlayXattr(name)) return
  try {
    fsetxattr(fd, cString(name), value)
  } catch (error) {
    if (!hasCode(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
  }
}

/** Copies all that is in one open file to another. */
export function copyContent(from: number, to: number): void {
  const buffer = Buffer.allocUnsafe(1 << 20)
  for (let length = readSync(from, buffer); length > 0; length = readSync(from, buffer)) {
    for (let at = 0; at < length; ) at += writeSync(to, buffer, at, length - at)
  }
}
