// Makes a container's cgroup. On the way of every `run`: synchronous, and no more directories than are worth their price
// (figures in docs/design/cgroups.md).

import { mkdirSync, rmdirSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { faultPoint } from '../../lib/fault.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Resources } from '../../model/resources.ts'
import { perform, shellQuote } from '../explain.ts'
import { attachDeviceProgram } from './device-program.ts'
import { enableV2Controllers } from './enable-controllers.ts'
import { buildHandle, type CgroupHandle, cgroupPath } from './handle.ts'
import { type CgroupLayout, cgroupLayout, type V1Controller } from './layout.ts'
import { removeCgroup } from './remove-cgroup.ts'
import {
  applySettings,
  blockDeviceNumber,
  type CgroupSetting,
  readCgroupFile,
  removeCgroupDir,
  writeCgroupFile,
} from './settings.ts'
import { planV1Settings } from './settings-v1.ts'
import { planV2Settings } from './settings-v2.ts'

/** Always made on v1: OOM detection and `stats`. The v2 tree of a hybrid host does kill, freeze and processor time. */
const alwaysHybrid: readonly V1Controller[] = ['memory', 'pids', 'blkio']
const alwaysV1: readonly V1Controller[] = ['memory', 'pids', 'blkio', 'freezer', 'cpuacct']

/**
 * Makes the cgroup `path`, e.g. `tsrun/<id>`, with the limits of `resources`; nothing is in it yet.
 * The parent is made when it is missing and stays behind.
 * @throws TsrunError conflict when that cgroup has processes already; invalid or unsupported naming the option
 */
export function createCgroup(pathText: string, resources: Resources, undo: Undo): CgroupHandle {
  const layout = cgroupLayout()
  const path = cgroupPath(pathText)
  const settings = planSettings(layout, resources)
  const handle = makeDirs(layout, path, settings)
  undo.add('cgroup', () => removeCgroup(handle))

  applyTo(handle, settings, resources)
  faultPoint('cgroup limits')
  return handle
}

/** The writes for this host's kind of hierarchy. */
export function planSettings(layout: CgroupLayout, resources: Resources): CgroupSetting[] {
  const plan = layout.mode === 'v2' ? planV2Settings : planV1Settings
  return plan(resources, blockDeviceNumber)
}

function makeDirs(layout: CgroupLayout, path: string, settings: readonly CgroupSetting[]): CgroupHandle {
  const v1Dirs = new Map<V1Controller, string>()
  const made: string[] = []
  const make = (root: string) => {
    if (made.includes(root + path)) return
    makeLeaf(root, path)
    made.push(root + path)
  }
  try {
    if (layout.v2Root !== undefined) make(layout.v2Root)
    for (const controller of wantedV1(layout, settings)) {
      const root = layout.v1Roots.get(controller)
      if (root === undefined) continue
      make(root)
      v1Dirs.set(controller, root + path)
    }
  } catch (error) {
    for (const dir of made) removeCgroupDir(dir)
    throw error
  }
  return buildHandle(path, layout.v2Root === undefined ? undefined : layout.v2Root + path, v1Dirs)
}

function wantedV1(layout: CgroupLayout, settings: readonly CgroupSetting[]): Iterable<V1Controller> {
  if (layout.mode === 'v2') return []
  const asked = new Set(settings.map(setting => setting.controller))
  const always = layout.mode === 'hybrid' ? alwaysHybrid : alwaysV1
  return [...layout.v1Roots.keys()].filter(controller => always.includes(controller) || asked.has(controller))
}

/** mkdir of the last directory, its parents only when it turns out that they are missing. */
export function makeLeaf(root: string, path: string): void {
  perform(
    () => `mkdir -p ${shellQuote(root + path)}`,
    () => makeLeafNow(root, path),
  )
}

function makeLeafNow(root: string, path: string): void {
  for (;;) {
    try {
      mkdirSync(root + path)
      return
    } catch (error) {
      if (hasCode(error, 'ENOENT')) makeParents(root, path)
      else if (hasCode(error, 'EEXIST')) removeStale(root + path)
      else throw error
    }
  }
}

function makeParents(root: string, path: string): void {
  for (let end = path.indexOf('/', 1); end > 0; end = path.indexOf('/', end + 1)) {
    const dir = root + path.slice(0, end)
    try {
      mkdirSync(dir)
    } catch (error) {
      if (hasCode(error, 'EEXIST')) continue
      throw error
    }
    // Before 5.11 a v1 memory cgroup does not count its children unless told to, and only while it has none.
    if (readCgroupFile(`${dir}/memory.use_hierarchy`)?.trim() === '0')
      writeCgroupFile(`${dir}/memory.use_hierarchy`, '1')
  }
}

/** What a crash left behind goes; what somebody lives in is a conflict. */
function removeStale(dir: string): void {
  try {
    rmdirSync(dir)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EBUSY', 'ENOTEMPTY')) throw error
    throw new TsrunError(
      'conflict',
      'cgroup-in-use',
      `cannot create cgroup "${dir}": it exists and has processes in it`,
      {
        hint: '`tsrun system prune` removes what a crash has left',
        cause: error,
      },
    )
  }
}

/** Puts the limits in. @throws TsrunError naming the option */
export function applyTo(handle: CgroupHandle, settings: readonly CgroupSetting[], resources: Resources): void {
  const { v2Dir, v1Dirs } = handle
  const isV2 = cgroupLayout().mode === 'v2'
  if (isV2 && v2Dir !== undefined) {
    enableV2Controllers(cgroupLayout().v2Root ?? '', handle.path, new Set(settings.map(setting => setting.controller)))
    applySettings(settings, () => v2Dir)
    if (resources.devices !== undefined) attachDeviceProgram(v2Dir, resources.devices)
    return
  }
  const cpuset = v1Dirs.get('cpuset')
  if (cpuset !== undefined) fillCpuset(cpuset.slice(0, -handle.path.length), handle.path)
  applySettings(settings, controller => v1Dirs.get(controller as V1Controller))
}

/** A v1 cpuset takes no process before it has processors and memory nodes, and it starts with none. */
function fillCpuset(root: string, path: string): void {
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const dir = root + (end < 0 ? path : path.slice(0, end))
    const parent = dir.slice(0, dir.lastIndexOf('/'))
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (readCgroupFile(`${dir}/${file}`)?.trim() !== '') continue
      writeCgroupFile(`${dir}/${file}`, readCgroupFile(`${parent}/${file}`)?.trim() ?? '')
    }
    if (end < 0) return
  }
}
