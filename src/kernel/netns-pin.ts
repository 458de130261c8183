// Gives a network namespace a name on disk, as `ip netns` does: it then lives on when its last process has gone.

import { closeSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode } from '../ffi/errno.ts'
import { MNT_DETACH, mount, umount } from '../ffi/libc.ts'
import { openIfThere } from '../lib/if-there.ts'
import { perform, shellQuote } from './explain.ts'

// sys/mount.h
const MS_BIND = 0x1000

/**
 * Keeps the namespace `fd` alive under `path` until unpinNetns().
 * Equivalent to: `mount --bind /proc/self/fd/$fd $path`. @throws SyscallError
 */
export function pinNetns(fd: number, path: string): void {
  const source = `/proc/thread-self/fd/${fd}`
  perform(
    () => `mount --bind ${shellQuote(source)} ${shellQuote(path)}`,
    () => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      writeFileSync(path, '', { mode: 0o600 })
      mount(source, path, null, MS_BIND, null)
    },
  )
}

/** Equivalent to: `umount -l $path`, and the file is removed. Idempotent. @throws SyscallError */
export function unpinNetns(path: string): void {
  try {
    perform(
      () => `umount -l ${shellQuote(path)}`,
      () => umount(path, MNT_DETACH),
    )
  } catch (error) {
    // EINVAL: a file that nothing is mounted on, since pinNetns() was cut off or the machine restarted.
    if (!hasCode(error, 'EINVAL', 'ENOENT')) throw error
  }
  rmSync(path, { force: true })
}

/** Runs `task` with a descriptor of the namespace pinned under `path`. @returns undefined where there is no such file */
export function withPinnedNetns<T>(path: string, task: (fd: number) => T): T | undefined {
  const fd = openIfThere(path)
  if (fd === undefined) return undefined
  try {
    return task(fd)
  } finally {
    closeSync(fd)
  }
}
