// The device list of a cgroup v2 directory.

import { closeSync, openSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DeviceRule } from '../../model/resources.ts'
import { attachDeviceProgramFd, buildDeviceProgram, loadDeviceProgram } from '../bpf.ts'
import { perform } from '../explain.ts'

/** Replaces the device list of the cgroup. @throws TsrunError unsupported without CONFIG_CGROUP_BPF */
export function attachDeviceProgram(dir: string, rules: readonly DeviceRule[]): void {
  perform(
    () => `# attach a BPF program with ${rules.length} device rules to ${dir}`,
    () => attachNow(dir, rules),
  )
}

function attachNow(dir: string, rules: readonly DeviceRule[]): void {
  const cgroupFd = openSync(dir, 'r')
  let programFd: number | undefined
  try {
    programFd = loadDeviceProgram(buildDeviceProgram(rules))
    attachDeviceProgramFd(cgroupFd, programFd)
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'ENOSYS', 'EPERM')) throw error
    throw new TsrunError('unsupported', 'no-cgroup-bpf', 'cannot restrict devices: the kernel refused the program', {
      hint: 'cgroup v2 needs CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF for it, and tsrun needs CAP_SYS_ADMIN or CAP_BPF and CAP_NET_ADMIN; --privileged does without',
      cause: error,
    })
  } finally {
    if (programFd !== undefined) closeSync(programFd)
    closeSync(cgroupFd)
  }
}
