// Processes by descriptor: a pid is used again after its process is gone, a pidfd never means another process.

import { closeSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../ffi/errno.ts'
import { call, SYS, syscall } from '../ffi/libc.ts'
import { littleEndian } from '../lib/bytes.ts'
import { perform } from './explain.ts'

const POLLIN = 1
const longestPauseMs = 50

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

/** Whether the process still runs; false from the moment it is a zombie. @throws SyscallError */
export function isAlive(pidfd: number): boolean {
  const view = new DataView(new ArrayBuffer(8))
  view.setInt32(0, pidfd, littleEndian)
  view.setInt16(4, POLLIN, littleEndian)
  const ready = call('poll', 'int poll(void *, unsigned long, int)', [new Uint8Array(view.buffer), 1, 0])
  return ready === 0
}

/**
 * Waits until the process has ended. Looks at it with pauses from 1 to 50 ms: neither Node nor Bun lets us wait for a
 * descriptor of our own, and a thread for each process would be dearer.
 * @returns false when `timeoutMs` (default: none) is over @throws the signal's reason when aborted
 */
export async function waitForExit(
  pidfd: number,
  { timeoutMs = Number.POSITIVE_INFINITY, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<boolean> {
  signal?.throwIfAborted()
  const deadline = performance.now() + timeoutMs
  for (let pauseMs = 1; isAlive(pidfd); pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) return false
    await sleep(Math.min(pauseMs, leftMs), undefined, signal === undefined ? {} : { signal })
  }
  return true
}

/**
 * When the process started, in clock ticks since boot: with the pid it names one process for good.
 * @returns undefined when there is no such process
 */
export function processStartTime(pid: number): string | undefined {
  try {
    return parseStartTime(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}

/** Field 22 of /proc/<pid>/stat (proc(5)). The second, the name, may hold anything, spaces and brackets included. */
export function parseStartTime(stat: string): string | undefined {
  const behindName = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return behindName[22 - 3]
}
