// Where a container's mounts may go. Whatever lies on /proc decides what the kernel is told about a process: an image that
// puts a volume there would be believed (CVE-2019-16884). Pure.

import type { MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { printable } from '../ids.ts'

/** Files that lxcfs and its kin may stand in for: runc's list. They only inform. */
const replaceable = new Set(
  'cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid'
    .split(' ')
    .map(name => `/proc/${name}`),
)

/** @throws TsrunError invalid for a mount on /proc, or below it but for a few files */
export function assertMountTargets(mounts: readonly MountSpec[]): void {
  for (const { type, target } of mounts) {
    const path = target.replace(/\/+$/, '')
    if (path !== '/proc' && !path.startsWith('/proc/')) continue
    if (type === 'bind' && replaceable.has(path)) continue
    throw new TsrunError(
      'invalid',
      'mount-on-proc',
      `cannot mount on "${printable(target)}": nothing may lie over /proc`,
      {
        hint: 'choose another path; an image that has a volume there cannot be run',
      },
    )
  }
}
