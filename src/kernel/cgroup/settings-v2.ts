// Resources -> the files of cgroup v2. Pure but for the numbers of block devices, which the caller looks up.
// The device list is no file here but a program: see ../bpf.ts.

import type { Resources } from '../../model/resources.ts'
import type { CgroupSetting } from './settings.ts'
import { cpuBandwidth, cpuset, type DeviceNumberLookup, defaultCpuPeriodUs, pids, refuseV1Only } from './settings-v1.ts'

/** The writes that `resources` ask for. @throws TsrunError unsupported for what only cgroup v1 has */
export function planV2Settings(resources: Resources, deviceNumber: DeviceNumberLookup): CgroupSetting[] {
  refuseV1Only(resources)
  return [
    ...memory(resources),
    ...cpu(resources),
    ...cpuset(resources),
    ...pids(resources),
    ...io(resources, deviceNumber),
  ]
}

function memory({ memoryBytes, memorySwapBytes, memoryReservationBytes }: Resources): CgroupSetting[] {
  const settings: CgroupSetting[] = []
  const limited = memoryBytes !== undefined && memoryBytes > 0
  if (memoryBytes) settings.push(set('memory', 'memory.max', bytes(memoryBytes), '--memory'))
  // docker counts memory plus swap, the kernel swap alone.
  if (memorySwapBytes) {
    const swap = memorySwapBytes < 0 ? -1 : memorySwapBytes - (limited ? memoryBytes : 0)
    settings.push(set('memory', 'memory.swap.max', bytes(swap), '--memory-swap'))
  } else if (limited) {
    settings.push({ ...set('memory', 'memory.swap.max', bytes(memoryBytes), '--memory'), optional: true })
  }
  if (memoryReservationBytes) {
    settings.push(set('memory', 'memory.low', bytes(memoryReservationBytes), '--memory-reservation'))
  }
  return settings
}

function cpu(resources: Resources): CgroupSetting[] {
  const { quotaUs, periodUs } = cpuBandwidth(resources)
  const settings: CgroupSetting[] = []
  if (resources.cpuShares) {
    settings.push(set('cpu', 'cpu.weight', `${cpuWeightFromShares(resources.cpuShares)}`, '--cpu-shares'))
  }
  if (quotaUs !== undefined || periodUs !== undefined) {
    const quota = quotaUs === undefined || quotaUs < 0 ? 'max' : `${quotaUs}`
    const value = `${quota} ${periodUs ?? defaultCpuPeriodUs}`
    settings.push(set('cpu', 'cpu.max', value, resources.cpus ? '--cpus' : '--cpu-quota'))
  }
  return settings
}

const limits = [
  ['deviceReadBps', 'rbps', '--device-read-bps'],
  ['deviceWriteBps', 'wbps', '--device-write-bps'],
  ['deviceReadIops', 'riops', '--device-read-iops'],
  ['deviceWriteIops', 'wiops', '--device-write-iops'],
] as const

function io(resources: Resources, deviceNumber: DeviceNumberLookup): CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (resources.blkioWeight) {
    // io.weight goes to 10000 and stands for the same share.
    const otherwise = { file: 'io.weight', value: `${1 + Math.floor(((resources.blkioWeight - 10) * 9999) / 990)}` }
    settings.push({ ...set('io', 'io.bfq.weight', `${resources.blkioWeight}`, '--blkio-weight'), otherwise })
  }
  for (const [field, key, option] of limits) {
    for (const { path, rate } of resources[field] ?? []) {
      settings.push(set('io', 'io.max', `${deviceNumber(option, path)} ${key}=${rate === 0 ? 'max' : rate}`, option))
    }
  }
  return settings
}

/**
 * v1 shares (2 to 262144, default 1024) as v2 weight (1 to 10000, default 100), on the curve that runc and crun use since
 * 2025: it takes both ends and both defaults to each other, where the straight line gave 1024 shares a weight of 39.
 */
export function cpuWeightFromShares(shares: number): number {
  if (shares <= 2) return 1
  if (shares >= 262_144) return 10_000
  const exponent = Math.log2(shares)
  return Math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))
}

function bytes(value: number): string {
  return value < 0 ? 'max' : `${value}`
}

function set(controller: string, file: string, value: string, option: string): CgroupSetting {
  return { controller, file, value, option }
}
