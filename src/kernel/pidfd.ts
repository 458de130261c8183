// Processes by descriptor: a pid is used again after its process is gone, a pidfd never means another process.

import { closeSync, readFileSync } from 'node:fs'
import { SYS, syscall } from '../ffi/libc.ts'
import { readTextIfThere } from '../lib/if-there.ts'
import { perform } from './explain.ts'

/**
 * pidfd_open(2); the caller owns the descriptor, which is close-on-exec.
 * @throws SyscallError ESRCH when there is no such process
 */
export function openPidfd(pid: number): number {
  return syscall('pidfd_open', SYS.pidfdOpen, 'int, unsigned int', [pid, 0], `cannot open process ${pid}`)
}

/** Closes what openPidfd() gave. */
export function closePidfd(pidfd: number): void {
  closeSync(pidfd)
}

/** pidfd_send_signal(2). Equivalent to: `kill -$signal $pid`. @throws SyscallError ESRCH when the process is gone */
export function sendSignal(pidfd: number, signal: number): void {
  perform(
    () => `kill -${signal} ${pidOf(pidfd)}`,
    () => syscall('pidfd_send_signal', SYS.pidfdSendSignal, 'int, int, void *, unsigned int', [pidfd, signal, null, 0]),
  )
}

function pidOf(pidfd: number): string {
  return /^Pid:\s*(-?\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1'))?.[1] ?? '?'
}

/**
 * When the process started, in clock ticks since boot: with the pid it names one process for good.
 * @returns undefined when there is no such process
 */
export function processStartTime(pid: number): string | undefined {
  return parseStartTime(readStat(pid))
}

/** Whether the process that had `pid` and started then (see processStartTime()) still runs. A zombie has ended. */
export function isRunning(pid: number, startTime: string): boolean {
  const stat = readStat(pid)
  return parseStartTime(stat) === startTime && !/^[ZX]/.test(behindName(stat))
}

/** Field 22 of /proc/<pid>/stat (proc(5)). The second, the name, may hold anything, spaces and brackets included. */
export function parseStartTime(stat: string): string | undefined {
  return behindName(stat).split(' ', 22 - 2)[22 - 3]
}

/** From the third field on: the state. */
function behindName(stat: string): string {
  return stat.slice(stat.lastIndexOf(')') + 2)
}

/** Empty when there is no such process. */
function readStat(pid: number): string {
  return readTextIfThere(`/proc/${pid}/stat`, 'ESRCH') ?? ''
}
