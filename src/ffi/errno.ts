// errno names and the one error that kernel calls throw.

import { constants } from 'node:os'

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]))
names.set(132, 'ERFKILL')
// Numbers with two names: which one comes last in the list of constants differs between runtimes.
names.set(constants.errno.EAGAIN, 'EAGAIN')
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP')

/** The errno constants of <errno.h>. */
export const errno = constants.errno

/** The name of an errno value, e.g. `ENOENT`; `errno 999` where it has none. */
export function errnoName(value: number): string {
  return names.get(value) ?? `errno ${value}`
}

/** A failed system call or kernel request. */
export class SyscallError extends Error {
  /** e.g. `setns`, `RTM_NEWLINK`, `bind`. */
  readonly syscall: string
  readonly errno: number
  /** e.g. `EEXIST`. */
  readonly code: string

  /** @param detail what the call was about, or the kernel's own words (netlink extended ack) */
  constructor(syscall: string, errnoValue: number, detail?: string) {
    const code = errnoName(errnoValue)
    super(`${detail ? `${detail} ` : ''}(${syscall}: ${code})`)
    this.name = 'SyscallError'
    this.syscall = syscall
    this.errno = errnoValue
    this.code = code
  }
}

/** Whether `error` is a failed system call, ours or Node's, with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/** Whether `error` says that a file system takes no writes: it is full, read-only, or its disk fails. */
export function isRefusedWrite(error: unknown): boolean {
  return hasCode(error, 'ENOSPC', 'EDQUOT', 'EROFS', 'EIO')
}
