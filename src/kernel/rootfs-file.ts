// Reads one file of a container's root from outside, where every name may be a trap: symlinks stay inside, devices and
// fifos are never opened, sizes are bounded.

import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { call, SYS, syscall } from '../ffi/libc.ts'
import { TsrunError } from '../model/errors.ts'

// linux/openat2.h and asm-generic/fcntl.h
const RESOLVE_NO_MAGICLINKS = 0x02n
const RESOLVE_NO_SYMLINKS = 0x04n
const RESOLVE_IN_ROOT = 0x10n
const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000

/** As the kernel's own limit. */
const maxSymlinks = 40

/**
 * The content of `path` below `root`, e.g. `/proc/<pid>/root`, symlinks resolved as a process in there would see them.
 * @returns undefined where there is no such file, or where it is no regular file
 * @throws TsrunError invalid when it is longer than `maxBytes`
 */
export function readFileInRoot(root: string, path: string, maxBytes: number): Buffer | undefined {
  return readBelow(root, path, maxBytes, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/**
 * The content of `path` in the overlay of `layers` (directories, the topmost first) without mounting it: whiteouts, opaque
 * directories and symlinks across layers count. Nothing may be writing to the layers.
 * @returns undefined where there is no such file, or where it is no regular file
 * @throws TsrunError invalid when it is longer than `maxBytes`
 */
export function readFileInLayers(layers: readonly string[], path: string, maxBytes: number): Buffer | undefined {
  let rest = split(path)
  let done: string[] = []
  let visible = layers
  for (let links = 0; ; ) {
    const name = rest.shift()
    if (name === undefined) return undefined
    if (name === '.' || name === '..') {
      // Start over from the top: the layers visible in the parent are not kept.
      rest = [...done.slice(0, name === '..' ? -1 : undefined), ...rest]
      done = []
      visible = layers
      continue
    }
    const entry = lookUp(visible, [...done, name].join('/'))
    if (entry === undefined) return undefined
    if (entry.kind === 'directory') {
      done.push(name)
      visible = entry.layers
    } else if (entry.kind === 'symlink') {
      if (++links > maxSymlinks) return undefined
      rest = [...(entry.target.startsWith('/') ? [] : done), ...split(entry.target), ...rest]
      done = []
      visible = layers
    } else if (rest.length === 0) {
      return readBelow(entry.layer, [...done, name].join('/'), maxBytes, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    } else return undefined
  }
}

type Entry =
  | { readonly kind: 'directory'; readonly layers: readonly string[] }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'file'; readonly layer: string }

/** What overlayfs shows at `path`, whose parent directory is merged from `layers`. */
function lookUp(layers: readonly string[], path: string): Entry | undefined {
  const merged: string[] = []
  for (const layer of layers) {
    const full = `${layer}/${path}`
    const stat = lstatSync(full, { throwIfNoEntry: false })
    if (stat === undefined) continue
    if (stat.isDirectory()) {
      merged.push(layer)
      if (isOpaque(full)) break
      continue
    }
    // What is no directory, a whiteout included, ends a directory of the layers above and hides what is below.
    if (merged.length > 0) break
    if (stat.isSymbolicLink()) return { kind: 'symlink', target: readlinkSync(full) }
    return stat.isFile() ? { kind: 'file', layer } : undefined
  }
  return merged.length === 0 ? undefined : { kind: 'directory', layers: merged }
}

function isOpaque(path: string): boolean {
  const value = new Uint8Array(1)
  try {
    const declaration = 'long lgetxattr(const char *, const char *, void *, size_t)'
    return call('lgetxattr', declaration, [path, 'trusted.overlay.opaque', value, 1]) === 1 && value[0] === 0x79
  } catch (error) {
    if (hasCode(error, 'ENODATA', 'EOPNOTSUPP', 'ERANGE')) return false
    throw error
  }
}

function readBelow(root: string, path: string, maxBytes: number, resolve: bigint): Buffer | undefined {
  const rootFd = openSync(root, O_PATH | constants.O_DIRECTORY)
  try {
    const fd = openPath(rootFd, path.replace(/^\/+/, ''), resolve)
    if (fd === undefined) return undefined
    try {
      // O_PATH opens nothing, so this check comes before a device or fifo could notice.
      if (!fstatSync(fd).isFile()) return undefined
      return readAll(openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK), path, maxBytes)
    } finally {
      closeSync(fd)
    }
  } finally {
    closeSync(rootFd)
  }
}

function openPath(rootFd: number, path: string, resolve: bigint): number | undefined {
  // struct open_how { __u64 flags; __u64 mode; __u64 resolve; }
  const how = new Uint8Array(new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, resolve]).buffer)
  try {
    return syscall('openat2', SYS.openat2, 'int, const char *, const void *, size_t', [rootFd, path, how, how.length])
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'EACCES', 'ENAMETOOLONG')) return undefined
    throw error
  }
}

/** Closes `fd`. */
function readAll(fd: number, path: string, maxBytes: number): Buffer {
  try {
    const size = fstatSync(fd).size
    const bytes = Buffer.alloc(Math.min(size, maxBytes) + 1)
    let length = 0
    for (let count = -1; count !== 0 && length < bytes.length; length += count)
      count = readSync(fd, bytes, length, bytes.length - length, null)
    if (length <= maxBytes) return bytes.subarray(0, length)
    throw new TsrunError(
      'invalid',
      'file-too-large',
      `cannot read "${path}" of the container: it is larger than ${maxBytes} bytes`,
    )
  } finally {
    closeSync(fd)
  }
}

function split(path: string): string[] {
  return path.split('/').filter(name => name !== '')
}
