// What a cgroup uses, in the units of docker's stats. A controller the cgroup does not have leaves its part undefined.

import { type CgroupReference, mainDir, toHandle } from './handle.ts'
import { readCgroupFile } from './settings.ts'

export interface CgroupStats {
  readonly cpu?: CpuStats
  readonly memory?: MemoryStats
  readonly pids?: { readonly current: number; readonly limit?: number }
  readonly blkio?: BlkioStats
}

export interface CpuStats {
  /** Processor time since the start, of all processors together. */
  readonly usageNs: number
  readonly userNs?: number
  readonly systemNs?: number
  /** Periods with something to run, and those of them in which the quota was used up. */
  readonly periods?: number
  readonly throttledPeriods?: number
  readonly throttledNs?: number
}

export interface MemoryStats {
  /** Without page cache that can be dropped at once (inactive_file), as docker shows it. */
  readonly usageBytes: number
  /** Everything that is charged. */
  readonly chargedBytes: number
  /** Absent: unlimited. */
  readonly limitBytes?: number
  readonly maxUsageBytes?: number
  /** Processes killed at the limit. */
  readonly oomKills: number
  readonly stat: Readonly<Record<string, number>>
}

export interface BlkioStats {
  readonly readBytes: number
  readonly writeBytes: number
  readonly readOps: number
  readonly writeOps: number
}

/** A snapshot; parts read one after the other. All undefined when the cgroup is gone. */
export function readCgroupStats(cgroup: CgroupReference): CgroupStats {
  const { v2Dir, v1Dirs, path: _ } = toHandle(cgroup)
  const isV2 = v1Dirs.size === 0
  const dir = (controller: 'memory' | 'pids' | 'blkio') => (isV2 ? v2Dir : v1Dirs.get(controller))
  const cpu = cpuStats(v2Dir, v1Dirs.get('cpu'), v1Dirs.get('cpuacct'))
  const memory = isV2 ? memoryV2(dir('memory')) : memoryV1(dir('memory'))
  const pids = pidsStats(dir('pids'))
  const blkio = isV2 ? ioV2(dir('blkio')) : blkioV1(dir('blkio'))
  return {
    ...(cpu === undefined ? {} : { cpu }),
    ...(memory === undefined ? {} : { memory }),
    ...(pids === undefined ? {} : { pids }),
    ...(blkio === undefined ? {} : { blkio }),
  }
}

/** How many processes were killed at the memory limit so far. */
export function oomKills(cgroup: CgroupReference): number {
  const { oomFiles } = toHandle(cgroup)
  return Math.max(0, ...oomFiles.map(file => parseKeyed(readCgroupFile(file) ?? '').oom_kill ?? 0))
}

/** Whether anybody lives in the cgroup. */
export function isPopulated(cgroup: CgroupReference): boolean {
  const handle = toHandle(cgroup)
  if (handle.v2Dir !== undefined) return /^populated 1$/m.test(readCgroupFile(`${handle.v2Dir}/cgroup.events`) ?? '')
  const dir = mainDir(handle)
  return dir !== undefined && (readCgroupFile(`${dir}/cgroup.procs`) ?? '') !== ''
}

/** Lines `key number`, as in memory.stat and cpu.stat. */
export function parseKeyed(text: string): Record<string, number> {
  const values: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ')
    if (space > 0) values[line.slice(0, space)] = Number(line.slice(space + 1))
  }
  return values
}

/** v2 counts processor time in every cgroup, so it serves hybrid hosts too; throttling is where the quota is. */
function cpuStats(v2Dir?: string, v1Cpu?: string, cpuacct?: string): CpuStats | undefined {
  const v2 = v2Dir === undefined ? {} : parseKeyed(readCgroupFile(`${v2Dir}/cpu.stat`) ?? '')
  const v1 = v1Cpu === undefined ? {} : parseKeyed(readCgroupFile(`${v1Cpu}/cpu.stat`) ?? '')
  const accounted = cpuacct === undefined ? undefined : readCgroupFile(`${cpuacct}/cpuacct.usage`)
  const usageNs = v2.usage_usec === undefined ? Number(accounted ?? Number.NaN) : v2.usage_usec * 1000
  if (Number.isNaN(usageNs)) return undefined
  const periods = v2.nr_periods ?? v1.nr_periods
  const throttledNs = v2.throttled_usec === undefined ? v1.throttled_time : v2.throttled_usec * 1000
  return {
    usageNs,
    ...(v2.user_usec === undefined ? {} : { userNs: v2.user_usec * 1000 }),
    ...(v2.system_usec === undefined ? {} : { systemNs: v2.system_usec * 1000 }),
    ...(periods === undefined ? {} : { periods, throttledPeriods: v2.nr_throttled ?? v1.nr_throttled ?? 0 }),
    ...(throttledNs === undefined ? {} : { throttledNs }),
  }
}

function memoryV2(dir: string | undefined): MemoryStats | undefined {
  const charged = number(dir, 'memory.current')
  if (dir === undefined || charged === undefined) return undefined
  const stat = parseKeyed(readCgroupFile(`${dir}/memory.stat`) ?? '')
  const max = number(dir, 'memory.peak')
  const limit = number(dir, 'memory.max')
  return {
    usageBytes: Math.max(0, charged - (stat.inactive_file ?? 0)),
    chargedBytes: charged,
    ...(limit === undefined ? {} : { limitBytes: limit }),
    ...(max === undefined ? {} : { maxUsageBytes: max }),
    oomKills: parseKeyed(readCgroupFile(`${dir}/memory.events`) ?? '').oom_kill ?? 0,
    stat,
  }
}

function memoryV1(dir: string | undefined): MemoryStats | undefined {
  const charged = number(dir, 'memory.usage_in_bytes')
  if (dir === undefined || charged === undefined) return undefined
  const stat = parseKeyed(readCgroupFile(`${dir}/memory.stat`) ?? '')
  const max = number(dir, 'memory.max_usage_in_bytes')
  const limit = number(dir, 'memory.limit_in_bytes')
  return {
    usageBytes: Math.max(0, charged - (stat.total_inactive_file ?? 0)),
    chargedBytes: charged,
    // Unlimited is the largest number of whole pages, 0x7ffffffffffff000.
    ...(limit === undefined || limit > 2 ** 62 ? {} : { limitBytes: limit }),
    ...(max === undefined ? {} : { maxUsageBytes: max }),
    oomKills: parseKeyed(readCgroupFile(`${dir}/memory.oom_control`) ?? '').oom_kill ?? 0,
    stat,
  }
}

function pidsStats(dir: string | undefined): CgroupStats['pids'] {
  const current = number(dir, 'pids.current')
  if (current === undefined) return undefined
  const limit = number(dir, 'pids.max')
  return { current, ...(limit === undefined ? {} : { limit }) }
}

/** io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...` for each device. */
function ioV2(dir: string | undefined): BlkioStats | undefined {
  const text = dir === undefined ? undefined : readCgroupFile(`${dir}/io.stat`)
  if (text === undefined) return undefined
  const sum = (key: string) =>
    [...text.matchAll(new RegExp(`\\b${key}=(\\d+)`, 'g'))].reduce((total, match) => total + Number(match[1]), 0)
  return { readBytes: sum('rbytes'), writeBytes: sum('wbytes'), readOps: sum('rios'), writeOps: sum('wios') }
}

/** Lines `8:0 Read 4096`. */
function blkioV1(dir: string | undefined): BlkioStats | undefined {
  const read = (file: string) =>
    dir === undefined ? undefined : (readCgroupFile(`${dir}/${file}_recursive`) ?? readCgroupFile(`${dir}/${file}`))
  const bytes = read('blkio.throttle.io_service_bytes')
  const operations = read('blkio.throttle.io_serviced') ?? ''
  if (bytes === undefined) return undefined
  const sum = (text: string, key: string) =>
    [...text.matchAll(new RegExp(`^\\d+:\\d+ ${key} (\\d+)$`, 'gm'))].reduce(
      (total, match) => total + Number(match[1]),
      0,
    )
  return {
    readBytes: sum(bytes, 'Read'),
    writeBytes: sum(bytes, 'Write'),
    readOps: sum(operations, 'Read'),
    writeOps: sum(operations, 'Write'),
  }
}

/** The number in a file; undefined for `max`, or where there is no such file. */
function number(dir: string | undefined, file: string): number | undefined {
  const text = dir === undefined ? undefined : readCgroupFile(`${dir}/${file}`)?.trim()
  return text === undefined || text === 'max' || text === '' ? undefined : Number(text)
}
