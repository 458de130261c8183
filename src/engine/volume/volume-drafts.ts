// Volumes on their way in or out: `<root>/volumes/.<pid>-<start time>.<n>`, named after the process that moves one. They are
// no volumes, and those of a process that was killed are swept by the next one that changes volumes.

import { readdirSync, rmSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { processStartTime } from '../../kernel/pidfd.ts'

let count = 0

/** A path below `directory` that no other process uses. */
export function draftPath(directory: string): string {
  count += 1
  return `${directory}/.${process.pid}-${processStartTime(process.pid) ?? ''}.${count}`
}

/** Removes the drafts of processes that are no more. */
export function sweepDrafts(directory: string): void {
  for (const name of readdirOrEmpty(directory)) {
    const [, pid, startTime] = /^\.(\d+)-(\d*)\.\d+$/.exec(name) ?? []
    if (pid === undefined || processStartTime(Number(pid)) === startTime) continue
    rmSync(`${directory}/${name}`, { recursive: true, force: true })
  }
}

function readdirOrEmpty(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
