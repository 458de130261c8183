// cgroup v2 gives a cgroup a controller's files only when every ancestor lists it in cgroup.subtree_control.

import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'
import { readCgroupFile, writeCgroupFile } from './settings.ts'

/** Enabled for every container, so that `stats` and a later `update` find their files. */
const always: readonly string[] = ['memory', 'pids', 'cpu', 'io']

/**
 * Sees to it that the cgroup at `path` has the controllers in `wanted` and those of every container, as far as this
 * kernel has them. One read when they are there already, which is every time but the first after a boot.
 * @throws TsrunError unavailable when a cgroup on the way has processes of its own (the kernel then refuses)
 */
export function enableV2Controllers(root: string, path: string, wanted: ReadonlySet<string>): void {
  const present = words(`${root}${path}/cgroup.controllers`)
  const missing = [...new Set([...always, ...wanted])].filter(name => !present.has(name))
  if (missing.length === 0) return
  for (let end = 0; end >= 0; end = path.indexOf('/', end + 1)) enableIn(root + path.slice(0, end), missing)
}

/** Tells the children of `dir` that they may use `names`. A controller this machine lacks is left to the write that needs it. */
function enableIn(dir: string, names: readonly string[]): void {
  const available = words(`${dir}/cgroup.controllers`)
  const enabled = words(`${dir}/cgroup.subtree_control`)
  const enable = names.filter(name => available.has(name) && !enabled.has(name))
  if (enable.length === 0) return
  try {
    writeCgroupFile(`${dir}/cgroup.subtree_control`, enable.map(name => `+${name}`).join(' '))
  } catch (error) {
    if (!hasCode(error, 'EBUSY', 'EOPNOTSUPP')) throw error
    throw new TsrunError(
      'unavailable',
      'cgroup-has-processes',
      `cannot enable the cgroup controllers ${enable.join(', ')} below "${dir}": it has processes of its own (write cgroup.subtree_control: EBUSY)`,
      {
        hint: `choose an empty parent with --cgroup-parent, or move those processes: mkdir ${dir}/init && xargs -rn1 < ${dir}/cgroup.procs > ${dir}/init/cgroup.procs`,
        cause: error,
      },
    )
  }
}

function words(path: string): Set<string> {
  return new Set((readCgroupFile(path) ?? '').trim().split(/\s+/))
}
