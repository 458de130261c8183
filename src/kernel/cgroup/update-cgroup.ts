// New limits for a container that runs.

import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Resources } from '../../model/resources.ts'
import { applyTo, makeLeaf, planSettings } from './create-cgroup.ts'
import { buildHandle, type CgroupHandle, type CgroupReference, toHandle } from './handle.ts'
import { cgroupLayout, type V1Controller } from './layout.ts'
import { listPids } from './processes.ts'
import { type CgroupSetting, removeCgroupDir, writeCgroupFile } from './settings.ts'

/**
 * Applies the limits in `resources`, which must hold memoryBytes too when it holds memorySwapBytes; what is absent stays
 * as it is, and so does the device list. A v1 controller that the container does not use yet is made and its processes are
 * moved in, which takes about 20 ms a controller.
 * @throws TsrunError naming the option that the kernel refused; earlier ones are in force then
 */
export function updateCgroup(cgroup: CgroupReference, resources: Resources): void {
  const { devices: _, ...limits } = resources
  const layout = cgroupLayout()
  const settings = planSettings(layout, limits)
  let handle = toHandle(cgroup)
  const missing = new Set(settings.filter(setting => isMissing(handle, setting)).map(setting => setting.controller))
  for (const controller of missing) handle = addV1Controller(handle, controller as V1Controller)
  try {
    applyTo(handle, settings, limits)
  } catch (error) {
    const reordered = swapFirst(settings)
    if (reordered === undefined || !isSwapOrder(error)) throw error
    applyTo(handle, reordered, limits)
  }
}

function isMissing({ v1Dirs }: CgroupHandle, { controller, optional }: CgroupSetting): boolean {
  const isOurs = cgroupLayout().v1Roots.has(controller as V1Controller)
  return isOurs && !optional && !v1Dirs.has(controller as V1Controller)
}

/** v1 keeps memory at or below memory plus swap at every moment: when both grow, the sum must go first. */
function swapFirst(settings: readonly CgroupSetting[]): CgroupSetting[] | undefined {
  const sum = settings.find(({ file }) => file === 'memory.memsw.limit_in_bytes')
  return sum === undefined ? undefined : [sum, ...settings.filter(setting => setting !== sum)]
}

function isSwapOrder(error: unknown): boolean {
  return error instanceof TsrunError && /memory\..*limit_in_bytes/.test(error.message) && hasCode(error.cause, 'EINVAL')
}

function addV1Controller(handle: CgroupHandle, controller: V1Controller): CgroupHandle {
  const root = cgroupLayout().v1Roots.get(controller)
  if (root === undefined) return handle
  const dir = root + handle.path
  makeLeaf(root, handle.path)
  const wider = buildHandle(handle.path, handle.v2Dir, new Map([...handle.v1Dirs, [controller, dir]]))
  try {
    // An empty cpuset takes nobody: fill it before the move.
    applyTo(wider, [], {})
    moveAll(handle, `${dir}/cgroup.procs`)
  } catch (error) {
    // It stays where processes have been moved already.
    try {
      removeCgroupDir(dir)
    } catch {}
    throw error
  }
  return wider
}

/** Until nobody is left who was not moved: a process may fork while its parent is being moved. */
function moveAll(from: CgroupHandle, procsFile: string): void {
  const moved = new Set<number>()
  for (let found = true; found; ) {
    found = false
    for (const pid of listPids(from)) {
      if (pid === 0 || moved.has(pid)) continue
      found = true
      moved.add(pid)
      try {
        writeCgroupFile(procsFile, `${pid}`)
      } catch (error) {
        if (!hasCode(error, 'ESRCH')) throw error
      }
    }
  }
}
