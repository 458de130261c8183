// File system calls relative to a directory descriptor, for trees whose names nobody vouches for: a path that node:fs
// resolves may lead through a symbolic link, these do so only where openat2 is told to. Names are bytes ended by NUL (see cString).

import { errno, SyscallError } from './errno.ts'
import { koffi } from './koffi.ts'
import { call, SYS } from './libc.ts'
import { onPoolThread } from './pool-thread.ts'

export const AT_FDCWD = -100
export const AT_REMOVEDIR = 0x200
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_SYMLINK_FOLLOW = 0x400
const AT_EMPTY_PATH = 0x1000

export const O_PATH = 0o10000000
/** A file without a name, in the directory that is opened. */
export const O_TMPFILE = 0o20200000
export const O_CLOEXEC = 0o2000000

/** A directory may not be left upwards, and absolute links start at the directory: what chroot would do. */
export const RESOLVE_IN_ROOT = 0x10
export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04

export const S_IFCHR = 0o020000
export const S_IFBLK = 0o060000
export const S_IFIFO = 0o010000

/** The bytes of a byte string (one character per byte), ended by NUL. @throws SyscallError EINVAL when it holds a NUL */
export function cString(name: string): Buffer {
  if (name.includes('\0')) throw new SyscallError('open', errno.EINVAL, 'a name holds a NUL byte')
  return Buffer.from(`${name}\0`, 'latin1')
}

const openHow = new BigUint64Array(3)
const openHowBytes = new Uint8Array(openHow.buffer)

/** openat2(2) with O_CLOEXEC; the caller owns the descriptor. */
export function openAt2(fd: number, path: Buffer, flags: number, resolve: number): number {
  openHow[0] = BigInt(flags | O_CLOEXEC)
  openHow[1] = 0n
  openHow[2] = BigInt(resolve)
  const declaration = 'long syscall(long, int, const void *, const void *, size_t)'
  for (;;) {
    try {
      return call('openat2', declaration, [SYS.openat2, fd, path, openHowBytes, openHowBytes.length])
    } catch (error) {
      // Somebody renamed a directory while ".." was resolved: the kernel asks to try again.
      if (!(error instanceof SyscallError && error.errno === errno.EAGAIN)) throw error
    }
  }
}

/** openat(2) with O_CLOEXEC; the caller owns the descriptor. */
export function openAt(fd: number, name: Buffer, flags: number, mode: number): number {
  return call('openat', 'int openat(int, const void *, int, unsigned int)', [fd, name, flags | O_CLOEXEC, mode])
}

/** mkdirat(2). */
export function mkdirAt(fd: number, name: Buffer, mode: number): void {
  call('mkdirat', 'int mkdirat(int, const void *, unsigned int)', [fd, name, mode])
}

/** symlinkat(2). */
export function symlinkAt(target: Buffer, fd: number, name: Buffer): void {
  call('symlinkat', 'int symlinkat(const void *, int, const void *)', [target, fd, name])
}

/** linkat(2); a symbolic link at `name` is linked itself. */
export function linkAt(fd: number, name: Buffer, newFd: number, newName: Buffer): void {
  call('linkat', 'int linkat(int, const void *, int, const void *, int)', [fd, name, newFd, newName, 0])
}

/** linkat(2): gives a file that has no name one. */
export function linkDescriptor(fd: number, path: string): void {
  const declaration = 'int linkat(int, const void *, int, const void *, int)'
  const source = cString(`/proc/self/fd/${fd}`)
  call('linkat', declaration, [AT_FDCWD, source, AT_FDCWD, Buffer.from(`${path}\0`), AT_SYMLINK_FOLLOW])
}

/** mknodat(2); `mode` with one of the S_IF constants. */
export function mknodAt(fd: number, name: Buffer, mode: number, device: { major: number; minor: number }): void {
  call('mknodat', 'int mknodat(int, const void *, unsigned int, unsigned long)', [
    fd,
    name,
    mode,
    makeDevice(device.major, device.minor),
  ])
}

/** unlinkat(2); AT_REMOVEDIR for a directory. */
export function unlinkAt(fd: number, name: Buffer, flags: number): void {
  call('unlinkat', 'int unlinkat(int, const void *, int)', [fd, name, flags])
}

/** renameat(2). */
export function renameAt(fd: number, name: Buffer, newFd: number, newName: Buffer): void {
  call('renameat', 'int renameat(int, const void *, int, const void *)', [fd, name, newFd, newName])
}

/** fchown(2). */
export function fchown(fd: number, uid: number, gid: number): void {
  call('fchown', 'int fchown(int, unsigned int, unsigned int)', [fd, uid, gid])
}

/** fchmod(2). */
export function fchmod(fd: number, mode: number): void {
  call('fchmod', 'int fchmod(int, unsigned int)', [fd, mode])
}

/** fchownat(2), of a symbolic link itself. */
export function chownAt(fd: number, name: Buffer, uid: number, gid: number): void {
  const declaration = 'int fchownat(int, const void *, unsigned int, unsigned int, int)'
  call('fchownat', declaration, [fd, name, uid, gid, AT_SYMLINK_NOFOLLOW])
}

/** fchownat(2) of what an O_PATH descriptor is, a symbolic link itself included. */
export function chownPlace(fd: number, uid: number, gid: number): void {
  const declaration = 'int fchownat(int, const void *, unsigned int, unsigned int, int)'
  call('fchownat', declaration, [fd, cString(''), uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH])
}

/** fchmodat(2): follows a symbolic link, so only for what is known to be none. */
export function chmodAt(fd: number, name: Buffer, mode: number): void {
  call('fchmodat', 'int fchmodat(int, const void *, unsigned int, int)', [fd, name, mode, 0])
}

export interface FileTime {
  readonly seconds: number
  readonly nanoseconds: number
}

const timespecs = new BigInt64Array(4)
const timespecBytes = new Uint8Array(timespecs.buffer)

/** futimens(3). */
export function futimens(fd: number, atime: FileTime, mtime: FileTime): void {
  setTimespecs(atime, mtime)
  call('futimens', 'int futimens(int, const void *)', [fd, timespecBytes])
}

/** utimensat(2), of a symbolic link itself. */
export function utimensAt(fd: number, name: Buffer, atime: FileTime, mtime: FileTime): void {
  setTimespecs(atime, mtime)
  const declaration = 'int utimensat(int, const void *, const void *, int)'
  call('utimensat', declaration, [fd, name, timespecBytes, AT_SYMLINK_NOFOLLOW])
}

/** fsetxattr(2). */
export function fsetxattr(fd: number, name: Buffer, value: Buffer): void {
  const declaration = 'int fsetxattr(int, const void *, const void *, size_t, int)'
  call('fsetxattr', declaration, [fd, name, value, value.length, 0])
}

/** lsetxattr(2): a symbolic link at the end of `path` is not followed. */
export function lsetxattr(path: Buffer, name: Buffer, value: Buffer): void {
  const declaration = 'int lsetxattr(const void *, const void *, const void *, size_t, int)'
  call('lsetxattr', declaration, [path, name, value, value.length, 0])
}

/** lgetxattr(2); undefined where there is no such attribute, or the file system knows none. */
export function lgetxattr(path: Buffer, name: Buffer): Buffer | undefined {
  const declaration = 'long lgetxattr(const void *, const void *, void *, size_t)'
  return sized(size => {
    const value = Buffer.alloc(size)
    return { value, length: call('lgetxattr', declaration, [path, name, value, size]) }
  })
}

/** llistxattr(2): names as byte strings, sorted. */
export function llistxattr(path: Buffer): string[] {
  const list = sized(size => {
    const value = Buffer.alloc(size)
    return { value, length: call('llistxattr', 'long llistxattr(const void *, void *, size_t)', [path, value, size]) }
  })
  if (list === undefined || list.length === 0) return []
  return list
    .toString('latin1', 0, list.length - 1)
    .split('\0')
    .sort()
}

/** syncfs(2) on another thread: all that was written to the file system of `fd` is on the disk afterwards. */
export async function syncfs(fd: number): Promise<void> {
  const result = await onPoolThread(koffi.load('libc.so.6').func('int syncfs(int)'), [fd])
  if (result !== 0) throw new SyscallError('syncfs', errno.EIO)
}

function sized(read: (size: number) => { value: Buffer; length: number }): Buffer | undefined {
  for (let size = 256; ; size = size === 256 ? 65_536 : size * 4) {
    try {
      const { value, length } = read(size)
      return value.subarray(0, length)
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error
      if (error.errno === errno.ENODATA || error.errno === errno.EOPNOTSUPP) return undefined
      if (error.errno !== errno.ERANGE) throw error
    }
  }
}

/** The dev_t of glibc: the halves of both numbers interleaved. */
function makeDevice(major: number, minor: number): number {
  const low = (minor & 0xff) | ((major & 0xfff) << 8)
  const high = BigInt(minor & ~0xff) << 12n
  return Number(BigInt(low) | high)
}

function setTimespecs(atime: FileTime, mtime: FileTime): void {
  timespecs[0] = BigInt(atime.seconds)
  timespecs[1] = BigInt(atime.nanoseconds)
  timespecs[2] = BigInt(mtime.seconds)
  timespecs[3] = BigInt(mtime.nanoseconds)
}
