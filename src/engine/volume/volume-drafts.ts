// Volumes on their way in or out: `<root>/volumes/.<pid>-<start time>.<n>`, named after the process that moves one. They are
// no volumes, and those of a process that was killed are swept by the next one that changes volumes.

import { rmSync } from 'node:fs'
import { processStartTime } from '../../kernel/pidfd.ts'
import { namesIfThere } from '../../lib/if-there.ts'

let count = 0

/** A path below `directory` that no other process uses. */
export function draftPath(directory: string): string {
  count += 1
  return `${directory}/.${process.pid}-${processStartTime(process.pid) ?? ''}.${count}`
}

/** Whether something in the folder of the volumes is none. */
export function isDraft(name: string): boolean {
  return name.startsWith('.')
}

/** Removes the drafts of processes that are no more. */
export function sweepDrafts(directory: string): void {
  for (const name of namesIfThere(directory)) {
    const [, pid, startTime] = /^\.(\d+)-(\d*)\.\d+$/.exec(name) ?? []
    if (pid === undefined || processStartTime(Number(pid)) === startTime) continue
    rmSync(`${directory}/${name}`, { recursive: true, force: true })
  }
}
