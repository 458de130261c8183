// `sysctl`: kernel settings under /proc/sys, of the network namespace that the calling thread is in.
// Names are arrays, since an interface name in the middle may contain dots.

import { readFileSync, writeFileSync } from 'node:fs'
import { SyscallError } from '../ffi/errno.ts'
import { record, shellQuote } from './explain.ts'

/** e.g. `['net', 'ipv4', 'conf', 'br.10', 'route_localnet']`. */
export type SysctlName = readonly string[]

/** Equivalent to: `sysctl -n $name`. @returns undefined where the kernel has no such setting @throws SyscallError */
export function readSysctl(name: SysctlName): string | undefined {
  try {
    return readFileSync(sysctlPath(name), 'utf8').trim()
  } catch (error) {
    const failure = asSyscallError('cannot read sysctl', name, error)
    if (failure.code === 'ENOENT') return undefined
    throw failure
  }
}

/**
 * Sets `name` unless it has that value. Equivalent to: `sysctl -w $name=$value`.
 * @param label name of the namespace in printed commands, where it is not the one tsrun runs in
 * @returns the previous value if it was another one, for the undo; undefined when nothing was written
 * @throws SyscallError ENOENT where the kernel has no such setting
 */
export function writeSysctl(name: SysctlName, value: string, label?: string): string | undefined {
  const previous = readSysctl(name)
  if (previous === value) return undefined
  record(() => {
    const prefix = label === undefined ? '' : `ip netns exec ${shellQuote(label)} `
    return `${prefix}sysctl -w ${shellQuote(`${formatSysctlName(name)}=${value}`)}`
  })
  try {
    writeFileSync(sysctlPath(name), value)
  } catch (error) {
    throw asSyscallError('cannot set sysctl', name, error)
  }
  return previous
}

/** `net.ipv4.ip_forward`; with slashes, as sysctl(8) also takes it, where a part contains a dot. */
export function formatSysctlName(name: SysctlName): string {
  return name.join(name.some(part => part.includes('.')) ? '/' : '.')
}

function sysctlPath(name: SysctlName): string {
  for (const part of name) {
    if (part === '' || part === '.' || part === '..' || part.includes('/'))
      throw new Error(`not a sysctl name: ${JSON.stringify(name)}`)
  }
  return `/proc/sys/${name.join('/')}`
}

function asSyscallError(what: string, name: SysctlName, error: unknown): SyscallError {
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') throw error
  const syscall = 'syscall' in error && typeof error.syscall === 'string' ? error.syscall : 'open'
  return new SyscallError(syscall, Math.abs(error.errno), `${what} ${formatSysctlName(name)}`)
}
