// `:z` and `:Z`: gives a folder of the host the label that containers may use. Others may be at work in it, so it is walked by
// descriptors and no link is followed.

import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { AT_FDCWD, cString, fsetxattr, O_PATH, openAt, openAt2 } from '../../ffi/file-at.ts'
import { TsrunError } from '../../model/errors.ts'

const xattr = cString('security.selinux')
/** What nobody wants relabelled: the system would not start again. */
const never = new Set([
  '/',
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/home',
  '/lib',
  '/lib64',
  '/proc',
  '/root',
  '/run',
  '/sbin',
  '/sys',
  '/tmp',
  '/usr',
  '/var',
])

/** @throws TsrunError invalid for a folder of the system, unsupported where the file system has no labels */
export function relabel(path: string, label: string): void {
  if (never.has(path.replace(/\/+$/, '') || '/'))
    throw new TsrunError('invalid', 'relabel', `cannot relabel "${path}" (:z): it belongs to the system`, {
      hint: 'bind a folder below it, or use --security-opt label=disable',
    })
  const value = Buffer.from(`${label}\0`)
  const flags = constants.O_RDONLY | constants.O_NONBLOCK
  const fd = openAt2(AT_FDCWD, cString(Buffer.from(path).toString('latin1')), flags, 0)
  try {
    walk(fd, value)
  } catch (error) {
    if (!hasCode(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
    throw new TsrunError('unsupported', 'relabel', `cannot relabel "${path}" (:z): its file system keeps no labels`)
  } finally {
    closeSync(fd)
  }
}

function walk(fd: number, value: Buffer): void {
  fsetxattr(fd, xattr, value)
  for (const name of namesIn(fd)) {
    const child = openIfFile(fd, name)
    if (child === undefined) continue
    try {
      walk(child, value)
    } finally {
      closeSync(child)
    }
  }
}

/** Nothing for what is no directory. */
function namesIn(fd: number): string[] {
  try {
    return readdirSync(`/proc/self/fd/${fd}`, 'buffer').map(name => name.toString('latin1'))
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return []
    throw error
  }
}

/** Links, sockets, fifos and devices keep their label: opening one may do things. */
function openIfFile(fd: number, name: string): number | undefined {
  let place: number
  try {
    place = openAt(fd, cString(name), O_PATH | constants.O_NOFOLLOW, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const stat = fstatSync(place)
    if (!stat.isFile() && !stat.isDirectory()) return undefined
    return openSync(`/proc/self/fd/${place}`, constants.O_RDONLY | constants.O_NONBLOCK)
  } finally {
    closeSync(place)
  }
}
