// Runs tsrun-init so that a container cannot overwrite it through /proc/<pid>/exe (CVE-2019-5736): the program is
// executed from a private, detached, read-only clone of its mount. All monitors go on sharing one page cache copy.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { call, SYS, syscall } from '../ffi/libc.ts'
import { assertTrustedFile } from '../ffi/trusted-file.ts'

const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
const MOUNT_ATTR_RDONLY = 1n
const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const F_ADD_SEALS = 1033
const ALL_SEALS = 0xf

/**
 * A descriptor to execute `path` from; the caller closes it. Before Linux 5.12 it is a sealed copy in memory.
 * @throws Error when somebody but root could have written the file
 */
export function openSealed(path: string): number {
  assertTrustedFile(path)
  try {
    return openReadonlyClone(path)
  } catch (error) {
    if (!hasCode(error, 'ENOSYS', 'EINVAL', 'EPERM')) throw error
    return copyToMemory(path)
  }
}

function openReadonlyClone(path: string): number {
  const fd = syscall('open_tree', SYS.openTree, 'int, const char *, unsigned int', [
    AT_FDCWD,
    path,
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC,
  ])
  try {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd (linux/mount.h)
    const attributes = new BigUint64Array([MOUNT_ATTR_RDONLY, 0n, 0n, 0n])
    syscall('mount_setattr', SYS.mountSetattr, 'int, const char *, unsigned int, const void *, size_t', [
      fd,
      '',
      AT_EMPTY_PATH,
      Buffer.from(attributes.buffer),
      32,
    ])
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function copyToMemory(path: string): number {
  const fd = call('memfd_create', 'int memfd_create(const char *, unsigned int)', [
    'tsrun-init',
    MFD_CLOEXEC | MFD_ALLOW_SEALING,
  ])
  writeSync(fd, readFileSync(path))
  call('fcntl', 'int fcntl(int, int, int)', [fd, F_ADD_SEALS, ALL_SEALS])
  // A descriptor opened for writing cannot be executed (ETXTBSY): open it again for reading.
  const readable = openSync(`/proc/self/fd/${fd}`, 'r')
  closeSync(fd)
  return readable
}
