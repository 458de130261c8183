// What the engine uses of this folder.

export { createCgroup } from './create-cgroup.ts'
export { type CgroupHandle, type CgroupReference, cgroupPath, openCgroup } from './handle.ts'
export { type CgroupLayout, cgroupLayout, hasCgroups } from './layout.ts'
export { freezeCgroup, isFrozen, killCgroup, listPids, thawCgroup } from './processes.ts'
export { removeCgroup, removeCgroupParent } from './remove-cgroup.ts'
export { type CgroupStats, isPopulated, oomKills, readCgroupStats } from './stats.ts'
export { updateCgroup } from './update-cgroup.ts'
