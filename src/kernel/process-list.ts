// The facts about processes that ps(1) shows, read from /proc.

import { readFileSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'

export interface ProcessFacts {
  readonly pid: number
  readonly parentPid: number
  readonly uid: number
  /** Processor time, user and system. */
  readonly cpuSeconds: number
  /** Seconds since 1970. */
  readonly startedAt: number
  /** As ps names terminals, e.g. `pts/0`; `?` without one. */
  readonly tty: string
  /** With its arguments; `[name]` where there are none. */
  readonly command: string
}

/** USER_HZ: the unit of time in /proc, 100 on every architecture that Node runs on. */
const ticksPerSecond = 100

/** @returns undefined when there is no such process any more */
export function readProcess(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return parseProcess({ pid, stat, status, args, bootTime: bootTime() })
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}

/** Pure half of readProcess(): see proc(5). */
export function parseProcess(text: {
  readonly pid: number
  readonly stat: string
  readonly status: string
  readonly args: string
  readonly bootTime: number
}): ProcessFacts {
  const { stat } = text
  const open = stat.indexOf('(')
  const close = stat.lastIndexOf(')')
  // Field 3 and those behind: the name in field 2 may hold anything.
  const fields = stat.slice(close + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3])
  return {
    pid: text.pid,
    parentPid: field(4),
    uid: Number(/^Uid:\t\d+\t(\d+)/m.exec(text.status)?.[1] ?? 0),
    cpuSeconds: (field(14) + field(15)) / ticksPerSecond,
    startedAt: text.bootTime + field(22) / ticksPerSecond,
    tty: terminalName(field(7)),
    command: text.args.replace(/\0+$/, '').replaceAll('\0', ' ') || `[${stat.slice(open + 1, close)}]`,
  }
}

function terminalName(device: number): string {
  const major = (device >> 8) & 0xfff
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00)
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`
  if (major === 5 && minor === 1) return 'console'
  return '?'
}

let knownBootTime: number | undefined
function bootTime(): number {
  knownBootTime ??= Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? 0)
  return knownBootTime
}
