// Makes names in an open directory, in place of what stands there, without ever following a link.

import { closeSync, constants, fstatSync, ftruncateSync, readFileSync } from 'node:fs'
import { errno, hasCode, SyscallError } from '../../ffi/errno.ts'
import { O_PATH, openAt, openAt2, unlinkAt } from '../../ffi/file-at.ts'
import { displayName } from '../../lib/tar-entry.ts'
import { TsrunError } from '../../model/errors.ts'

const newFileFlags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW

/** A new file in place of what stands there; the caller closes it. @param path for messages */
export function openNew(parentFd: number, name: Buffer, path: string): number {
  let fd = -1
  try {
    replacing(parentFd, name, path, () => {
      fd = openAt(parentFd, name, newFileFlags, 0o600)
    })
  } catch (error) {
    if (!hasCode(error, 'EBUSY')) throw error
    // Something is mounted there, /etc/hosts for instance: it can be written to, but not replaced.
    fd = openAt(parentFd, name, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0)
    if (!fstatSync(fd).isFile()) {
      closeSync(fd)
      throw error
    }
    ftruncateSync(fd)
  }
  return fd
}

/** Others may make and remove the same name at this moment; nobody does so for ever. */
const MAX_ATTEMPTS = 100

/** Runs `create`; when the name is taken by something else than a directory, removes that and runs it again. @throws TsrunError conflict */
export function replacing(
  parentFd: number,
  name: Buffer,
  path: string,
  create: () => void,
  attempts = MAX_ATTEMPTS,
): void {
  try {
    create()
  } catch (error) {
    if (!hasCode(error, 'EEXIST') || attempts === 0) throw error
    if (isMountPoint(parentFd, name))
      throw new SyscallError('unlinkat', errno.EBUSY, `"${displayName(path)}" is mounted`)
    try {
      unlinkAt(parentFd, name, 0)
    } catch (refusal) {
      if (hasCode(refusal, 'EISDIR'))
        throw new TsrunError(
          'conflict',
          'is-a-directory',
          `cannot overwrite the directory "${displayName(path)}" with a file`,
        )
      if (!hasCode(refusal, 'ENOENT')) throw refusal
    }
    replacing(parentFd, name, path, create, attempts - 1)
  }
}

/** Seen from our own mount namespace, removing its name would succeed, and take the mount away from the container. */
function isMountPoint(parentFd: number, name: Buffer): boolean {
  let fd: number
  try {
    fd = openAt2(parentFd, name, O_PATH | constants.O_NOFOLLOW, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
  try {
    return mountId(fd) !== mountId(parentFd)
  } finally {
    closeSync(fd)
  }
}

function mountId(fd: number): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
}
