// Resources -> the files of cgroup v1. Pure but for the numbers of block devices, which the caller looks up.

import { TsrunError } from '../../model/errors.ts'
import type { DeviceRate, DeviceRule, Resources } from '../../model/resources.ts'
import type { V1Controller } from './layout.ts'
import type { CgroupSetting } from './settings.ts'

export const defaultCpuPeriodUs = 100_000

/** Gives `8:0` for the path of a block device; `option` goes into the error. */
export type DeviceNumberLookup = (option: string, path: string) => string

/** The writes that `resources` ask for, in an order that a new cgroup accepts. */
export function planV1Settings(resources: Resources, deviceNumber: DeviceNumberLookup): CgroupSetting[] {
  return [
    ...devices(resources),
    ...memory(resources),
    ...cpu(resources),
    ...cpuset(resources),
    ...pids(resources),
    ...blkio(resources, deviceNumber),
  ]
}

function devices({ devices }: Resources): CgroupSetting[] {
  return (devices ?? []).map(rule =>
    set('devices', rule.allow ? 'devices.allow' : 'devices.deny', formatDeviceRule(rule), '--device'),
  )
}

/** `c 1:3 rwm`, or `a` alone, which is how the kernel wants "every device". */
function formatDeviceRule(rule: DeviceRule): string {
  return rule.type === 'a' ? 'a' : `${rule.type} ${rule.major}:${rule.minor} ${rule.access}`
}

function memory(resources: Resources): CgroupSetting[] {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, oomKillDisable } = resources
  const settings: CgroupSetting[] = []
  const add = (file: string, value: number, option: string) => settings.push(set('memory', file, `${value}`, option))
  if (memoryBytes) add('memory.limit_in_bytes', memoryBytes, '--memory')
  // After the limit of memory alone: memory plus swap may never be the smaller one.
  if (memorySwapBytes) add('memory.memsw.limit_in_bytes', memorySwapBytes, '--memory-swap')
  else if (memoryBytes && memoryBytes > 0) {
    settings.push({ ...set('memory', 'memory.memsw.limit_in_bytes', `${memoryBytes * 2}`, '--memory'), optional: true })
  }
  if (memoryReservationBytes) add('memory.soft_limit_in_bytes', memoryReservationBytes, '--memory-reservation')
  if (oomKillDisable) add('memory.oom_control', 1, '--oom-kill-disable')
  return settings
}

function cpu(resources: Resources): CgroupSetting[] {
  const { cpuShares } = resources
  const { quotaUs, periodUs } = cpuBandwidth(resources)
  const option = resources.cpus ? '--cpus' : '--cpu-quota'
  const settings: CgroupSetting[] = []
  if (cpuShares) settings.push(set('cpu', 'cpu.shares', `${cpuShares}`, '--cpu-shares'))
  if (periodUs !== undefined) {
    settings.push(set('cpu', 'cpu.cfs_period_us', `${periodUs}`, resources.cpus ? option : '--cpu-period'))
  }
  if (quotaUs !== undefined) settings.push(set('cpu', 'cpu.cfs_quota_us', `${quotaUs}`, option))
  return settings
}

/** Quota and period as the kernel wants them; 0 is docker's "not given". */
export function cpuBandwidth({ cpus, cpuQuotaUs, cpuPeriodUs }: Resources): { quotaUs?: number; periodUs?: number } {
  if (cpus) return { quotaUs: Math.max(1000, Math.round(cpus * defaultCpuPeriodUs)), periodUs: defaultCpuPeriodUs }
  return { ...(cpuQuotaUs ? { quotaUs: cpuQuotaUs } : {}), ...(cpuPeriodUs ? { periodUs: cpuPeriodUs } : {}) }
}

/** The same files on v1 and v2. */
export function cpuset({ cpusetCpus, cpusetMems }: Resources): CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (cpusetCpus) settings.push(set('cpuset', 'cpuset.cpus', cpusetCpus, '--cpuset-cpus'))
  if (cpusetMems) settings.push(set('cpuset', 'cpuset.mems', cpusetMems, '--cpuset-mems'))
  return settings
}

/** The same file on v1 and v2. */
export function pids({ pidsLimit }: Resources): CgroupSetting[] {
  return pidsLimit ? [set('pids', 'pids.max', pidsLimit < 0 ? 'max' : `${pidsLimit}`, '--pids-limit')] : []
}

const throttles = [
  ['deviceReadBps', 'blkio.throttle.read_bps_device', '--device-read-bps'],
  ['deviceWriteBps', 'blkio.throttle.write_bps_device', '--device-write-bps'],
  ['deviceReadIops', 'blkio.throttle.read_iops_device', '--device-read-iops'],
  ['deviceWriteIops', 'blkio.throttle.write_iops_device', '--device-write-iops'],
] as const

function blkio(resources: Resources, deviceNumber: DeviceNumberLookup): CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (resources.blkioWeight) {
    const value = `${resources.blkioWeight}`
    const otherwise = { file: 'blkio.weight', value }
    settings.push({ ...set('blkio', 'blkio.bfq.weight', value, '--blkio-weight'), otherwise })
  }
  for (const [field, file, option] of throttles) {
    for (const { path, rate } of resources[field] ?? ([] as DeviceRate[])) {
      settings.push(set('blkio', file, `${deviceNumber(option, path)} ${rate}`, option))
    }
  }
  return settings
}

function set(controller: V1Controller, file: string, value: string, option: string): CgroupSetting {
  return { controller, file, value, option }
}

/** Refuses on v2 what only v1 has. @throws TsrunError unsupported */
export function refuseV1Only(resources: Resources): void {
  if (!resources.oomKillDisable) return
  throw new TsrunError(
    'unsupported',
    'no-oom-kill-disable',
    'cannot apply --oom-kill-disable: cgroup v2 has no such switch',
    {
      hint: 'leave it out, or set --oom-score-adj',
    },
  )
}
