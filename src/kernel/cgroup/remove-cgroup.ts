// Takes cgroups away again: idempotent, and patient while the last process is still dying.

import { existsSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../../ffi/errno.ts'
import { CleanupError } from '../../lib/rollback.ts'
import { type CgroupReference, cgroupPath } from './handle.ts'
import { cgroupLayout } from './layout.ts'
import { removeCgroupDir } from './settings.ts'

/**
 * Removes the cgroup and what the container made below it. Nothing is killed: see `killCgroup`. A directory that stays
 * busy for `timeoutMs` (default 2000) is an error; the others are removed all the same.
 * @throws CleanupError
 */
export async function removeCgroup(cgroup: CgroupReference, options: { timeoutMs?: number } = {}): Promise<void> {
  const deadline = Date.now() + (options.timeoutMs ?? 2000)
  const failures: { step: string; error: unknown }[] = []
  const path = typeof cgroup === 'string' ? cgroupPath(cgroup) : cgroup.path
  // In every hierarchy: an update may have added some since the handle was made.
  for (const root of roots()) {
    const dir = root + path
    if (!existsSync(dir)) continue
    try {
      await removeDir(dir, deadline)
    } catch (error) {
      failures.push({ step: `remove cgroup ${dir}`, error })
    }
  }
  if (failures.length > 0) throw new CleanupError(failures)
}

/** Removes an empty `/tsrun` (or other parent) in every hierarchy; one with containers in it stays. */
export function removeCgroupParent(parent = '/tsrun'): void {
  for (const root of roots()) {
    if (!existsSync(root + parent)) continue
    try {
      removeCgroupDir(root + parent)
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'EBUSY', 'ENOTEMPTY')) throw error
    }
  }
}

/** The mount point of every hierarchy, once. */
function roots(): Set<string> {
  const { v2Root, v1Roots } = cgroupLayout()
  return new Set([...(v2Root === undefined ? [] : [v2Root]), ...v1Roots.values()])
}

async function removeDir(dir: string, deadline: number): Promise<void> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    try {
      removeCgroupDir(dir)
      return
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return
      if (!hasCode(error, 'EBUSY', 'ENOTEMPTY')) throw error
      // Busy with a child cgroup that the container made, or with a process that is not quite dead.
      for (const child of childCgroups(dir)) await removeDir(child, deadline)
      if (Date.now() >= deadline) throw error
      await sleep(waitMs)
    }
  }
}

/** The directories directly below `dir`. */
export function childCgroups(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => `${dir}/${entry.name}`)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV')) return []
    throw error
  }
}
