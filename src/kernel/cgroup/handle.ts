// A container's cgroup: one directory in each hierarchy that it uses, at the same path in each.

import { existsSync } from 'node:fs'
import { TsrunError } from '../../model/errors.ts'
import { cgroupLayout, type V1Controller } from './layout.ts'

export interface CgroupHandle {
  /** Below each hierarchy's mount point, e.g. `/tsrun/<id>`: what a record keeps, and what `openCgroup` takes. */
  readonly path: string
  /** Absent on a host with cgroup v1 alone. A process is put in by clone3(CLONE_INTO_CGROUP). */
  readonly v2Dir?: string
  /** The v1 directories; controllers mounted together share one. */
  readonly v1Dirs: ReadonlyMap<V1Controller, string>
  /**
   * The v1 `tasks` files. The process joins by writing `0` ITSELF while it has one thread only: that takes 0.02 ms a
   * file. A pid from outside, or the file cgroup.procs, takes 20 ms (see docs/design/cgroups.md).
   */
  readonly procsFiles: readonly string[]
  /** Files with a line `oom_kill <count>`. */
  readonly oomFiles: readonly string[]
}

/** The cgroup at `path` as it stands on this host now; hierarchies where it does not exist are left out. */
export function openCgroup(text: string): CgroupHandle {
  const path = cgroupPath(text)
  const { v2Root, v1Roots } = cgroupLayout()
  const v1Dirs = new Map<V1Controller, string>()
  for (const [controller, root] of v1Roots) if (existsSync(root + path)) v1Dirs.set(controller, root + path)
  return buildHandle(path, v2Root !== undefined && existsSync(v2Root + path) ? v2Root + path : undefined, v1Dirs)
}

/** Derives the files from the directories. */
export function buildHandle(
  path: string,
  v2Dir: string | undefined,
  v1Dirs: ReadonlyMap<V1Controller, string>,
): CgroupHandle {
  const memory = v1Dirs.get('memory')
  const oomFiles: string[] = []
  if (memory !== undefined) oomFiles.push(`${memory}/memory.oom_control`)
  else if (v2Dir !== undefined && v1Dirs.size === 0) oomFiles.push(`${v2Dir}/memory.events`)
  return {
    path,
    ...(v2Dir === undefined ? {} : { v2Dir }),
    v1Dirs,
    procsFiles: [...new Set(v1Dirs.values())].map(dir => `${dir}/tasks`),
    oomFiles,
  }
}

/** Every directory of the cgroup, once. */
function cgroupDirs({ v2Dir, v1Dirs }: CgroupHandle): string[] {
  return [...(v2Dir === undefined ? [] : [v2Dir]), ...new Set(v1Dirs.values())]
}

/** One directory that holds every process of the container: the v2 one, else any of v1. */
export function mainDir(handle: CgroupHandle): string | undefined {
  return handle.v2Dir ?? handle.v1Dirs.get('freezer') ?? cgroupDirs(handle)[0]
}

/** Commands that only know a container's record pass the path that stands in it. */
export type CgroupReference = CgroupHandle | string

export function toHandle(cgroup: CgroupReference): CgroupHandle {
  return typeof cgroup === 'string' ? openCgroup(cgroup) : cgroup
}

/** `tsrun/<id>` -> `/tsrun/<id>`. @throws TsrunError invalid for a path that could lead elsewhere */
export function cgroupPath(text: string): string {
  const segments = text.split('/').filter(segment => segment !== '')
  const isBad = (segment: string) => /^\.\.?$|[\n\0]/.test(segment) || segment.length > 255
  if (segments.length >= 2 && !segments.some(isBad)) return `/${segments.join('/')}`
  throw new TsrunError(
    'invalid',
    'bad-cgroup-path',
    `invalid cgroup path "${text}": it must be plain names, e.g. /tsrun/web`,
    {
      hint: 'check --cgroup-parent',
    },
  )
}
