// Which cgroup hierarchies this machine has and where: v2 alone, v1 controllers each in a hierarchy, or both (hybrid).
// Asked on the way of every `run`, so the usual places are tried before /proc/self/mountinfo is read.

import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { TsrunError } from '../../model/errors.ts'
import { parseMountInfo } from '../mount-info.ts'

export type V1Controller = 'cpu' | 'cpuacct' | 'cpuset' | 'memory' | 'devices' | 'freezer' | 'blkio' | 'pids'

export interface CgroupLayout {
  readonly mode: 'v1' | 'hybrid' | 'v2'
  /** Mount point of the v2 hierarchy. */
  readonly v2Root?: string
  /** Mount point of each v1 controller; controllers mounted together share it. Empty with mode v2. */
  readonly v1Roots: ReadonlyMap<V1Controller, string>
}

const v1Names: readonly string[] = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids']
/** linux/magic.h CGROUP2_SUPER_MAGIC. */
const CGROUP2_SUPER_MAGIC = 0x63677270

let cached: CgroupLayout | undefined

/** The hierarchies of this machine, found once per process. @throws TsrunError unavailable when none is mounted */
export function cgroupLayout(): CgroupLayout {
  cached ??= usualLayout() ?? layoutFromMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
  return cached
}

/** Whether any hierarchy can be seen from here: in `ip netns exec` none can, since it mounts a bare /sys of its own. */
export function hasCgroups(): boolean {
  try {
    return cgroupLayout() !== undefined
  } catch (error) {
    if (error instanceof TsrunError && error.code === 'no-cgroups') return false
    throw error
  }
}

/** Pure half of cgroupLayout. @throws TsrunError unavailable */
export function layoutFromMountInfo(mountInfo: string): CgroupLayout {
  const v1Roots = new Map<V1Controller, string>()
  let v2Root: string | undefined
  for (const mount of parseMountInfo(mountInfo)) {
    if (mount.type === 'cgroup2') v2Root ??= mount.target
    if (mount.type !== 'cgroup') continue
    for (const option of mount.superOptions.split(',')) if (isV1Controller(option)) v1Roots.set(option, mount.target)
  }
  return layout(v2Root, v1Roots)
}

/** The layout when everything is mounted where systemd and Debian mount it, else undefined. */
function usualLayout(): CgroupLayout | undefined {
  try {
    if (statfsSync('/sys/fs/cgroup').type === CGROUP2_SUPER_MAGIC) return layout('/sys/fs/cgroup', new Map())
    return layoutFromSelf(readFileSync('/proc/self/cgroup', 'utf8'))
  } catch {
    return undefined
  }
}

/** From /proc/self/cgroup, `4:memory:/path` for each hierarchy; undefined when one is not at its usual place. */
function layoutFromSelf(text: string): CgroupLayout | undefined {
  const v1Roots = new Map<V1Controller, string>()
  let v2Root: string | undefined
  for (const line of text.split('\n')) {
    const [id, controllers = ''] = line.split(':')
    if (id === '0' && existsSync('/sys/fs/cgroup/unified/cgroup.procs')) v2Root = '/sys/fs/cgroup/unified'
    const names = controllers.split(',').filter(isV1Controller)
    if (names.length === 0) continue
    const root = `/sys/fs/cgroup/${controllers}`
    if (!existsSync(`${root}/tasks`)) return undefined
    for (const name of names) v1Roots.set(name, root)
  }
  return v1Roots.size === 0 ? undefined : layout(v2Root, v1Roots)
}

function layout(v2Root: string | undefined, v1Roots: ReadonlyMap<V1Controller, string>): CgroupLayout {
  if (v1Roots.size > 0) return v2Root === undefined ? { mode: 'v1', v1Roots } : { mode: 'hybrid', v2Root, v1Roots }
  if (v2Root !== undefined) return { mode: 'v2', v2Root, v1Roots }
  throw new TsrunError('unavailable', 'no-cgroups', 'no cgroup hierarchy is mounted', {
    hint: 'mount one with: mount -t cgroup2 none /sys/fs/cgroup; `ip netns exec` hides it: nsenter --net=/run/netns/NAME does not',
  })
}

function isV1Controller(name: string): name is V1Controller {
  return v1Names.includes(name)
}
