import { expect, test } from 'vitest'
import { buildDeviceProgram } from '../../src/kernel/bpf.ts'
import { cgroupPath } from '../../src/kernel/cgroup/handle.ts'
import { layoutFromMountInfo } from '../../src/kernel/cgroup/layout.ts'
import { formatDeviceNumber } from '../../src/kernel/cgroup/settings.ts'
import { planV1Settings } from '../../src/kernel/cgroup/settings-v1.ts'
import { cpuWeightFromShares, planV2Settings } from '../../src/kernel/cgroup/settings-v2.ts'
import { parseKeyed } from '../../src/kernel/cgroup/stats.ts'
import { type DeviceRule, defaultDeviceRules, type Resources } from '../../src/model/resources.ts'

const number = () => '8:0'
const files = (plan: typeof planV1Settings, resources: Resources) =>
  plan(resources, number).map(({ file, value }) => `${file} = ${value}`)

test('planV1Settings() writes nothing that was not asked for', () => {
  expect(planV1Settings({}, number)).toEqual([])
  expect(planV2Settings({}, number)).toEqual([])
})

test('planV1Settings() limits memory before memory plus swap', () => {
  expect(files(planV1Settings, { memoryBytes: 64e6, memorySwapBytes: 96e6, memoryReservationBytes: 32e6 })).toEqual([
    'memory.limit_in_bytes = 64000000',
    'memory.memsw.limit_in_bytes = 96000000',
    'memory.soft_limit_in_bytes = 32000000',
  ])
})

test('planV2Settings() subtracts memory from memory plus swap', () => {
  expect(files(planV2Settings, { memoryBytes: 64e6, memorySwapBytes: 96e6 })).toEqual([
    'memory.max = 64000000',
    'memory.swap.max = 32000000',
  ])
  expect(files(planV2Settings, { memoryBytes: 64e6, memorySwapBytes: -1 })).toContain('memory.swap.max = max')
  expect(files(planV2Settings, { memoryBytes: 64e6, memorySwapBytes: 64e6 })).toContain('memory.swap.max = 0')
})

test('planV1Settings() allows swap as large as memory when only memory is given, and does not insist', () => {
  const swap = planV1Settings({ memoryBytes: 64e6 }, number).find(({ file }) => file.includes('memsw'))

  expect(swap).toMatchObject({ value: '128000000', optional: true })
})

test.each<[Resources, string[], string[]]>([
  [{ cpus: 1.5 }, ['cpu.cfs_period_us = 100000', 'cpu.cfs_quota_us = 150000'], ['cpu.max = 150000 100000']],
  [{ cpuQuotaUs: 5000 }, ['cpu.cfs_quota_us = 5000'], ['cpu.max = 5000 100000']],
  [{ cpuQuotaUs: -1 }, ['cpu.cfs_quota_us = -1'], ['cpu.max = max 100000']],
  [{ cpuShares: 1024 }, ['cpu.shares = 1024'], ['cpu.weight = 100']],
  [{ pidsLimit: -1 }, ['pids.max = max'], ['pids.max = max']],
  [{ pidsLimit: 20 }, ['pids.max = 20'], ['pids.max = 20']],
  [
    { cpusetCpus: '0-1', cpusetMems: '0' },
    ['cpuset.cpus = 0-1', 'cpuset.mems = 0'],
    ['cpuset.cpus = 0-1', 'cpuset.mems = 0'],
  ],
  [
    { deviceReadBps: [{ path: '/dev/sda', rate: 1024 }] },
    ['blkio.throttle.read_bps_device = 8:0 1024'],
    ['io.max = 8:0 rbps=1024'],
  ],
  [
    { deviceWriteIops: [{ path: '/dev/sda', rate: 0 }] },
    ['blkio.throttle.write_iops_device = 8:0 0'],
    ['io.max = 8:0 wiops=max'],
  ],
])('plans for %j are the same wish in v1 and v2 words', (resources, v1, v2) => {
  expect(files(planV1Settings, resources)).toEqual(v1)
  expect(files(planV2Settings, resources)).toEqual(v2)
})

test('planV2Settings() refuses --oom-kill-disable', () => {
  expect(() => planV2Settings({ oomKillDisable: true }, number)).toThrow(
    /--oom-kill-disable: cgroup v2 has no such switch/,
  )
})

test('cpuWeightFromShares() takes both ends and the default to each other', () => {
  expect([0, 2, 1024, 262_144, 1e9].map(cpuWeightFromShares)).toEqual([1, 1, 100, 10_000, 10_000])
})

test('layoutFromMountInfo() tells v2, hybrid and v1 with controllers mounted together', () => {
  const line = (target: string, type: string, options: string) => `1 2 0:1 / ${target} rw - ${type} none ${options}\n`

  expect(layoutFromMountInfo(line('/sys/fs/cgroup', 'cgroup2', 'rw'))).toMatchObject({
    mode: 'v2',
    v2Root: '/sys/fs/cgroup',
  })
  const hybrid = layoutFromMountInfo(
    line('/c/cpu,cpuacct', 'cgroup', 'rw,cpu,cpuacct') +
      line('/c/systemd', 'cgroup', 'rw,name=systemd') +
      line('/c/u', 'cgroup2', 'rw'),
  )
  expect(hybrid).toMatchObject({ mode: 'hybrid', v2Root: '/c/u' })
  expect([...hybrid.v1Roots]).toEqual([
    ['cpu', '/c/cpu,cpuacct'],
    ['cpuacct', '/c/cpu,cpuacct'],
  ])
  expect(layoutFromMountInfo(line('/c/memory', 'cgroup', 'rw,memory')).mode).toBe('v1')
  expect(() => layoutFromMountInfo('')).toThrow(/no cgroup hierarchy is mounted/)
})

test('cgroupPath() refuses what could lead elsewhere', () => {
  expect(cgroupPath('tsrun/web')).toBe('/tsrun/web')
  expect(cgroupPath('/a//b/c/')).toBe('/a/b/c')
  for (const bad of ['web', '', '/', 'tsrun/..', '../tsrun/web', 'tsrun/./web', 'tsrun/a\nb']) {
    expect(() => cgroupPath(bad)).toThrow(/invalid cgroup path/)
  }
})

test('formatDeviceNumber() splits large numbers as glibc does', () => {
  expect(formatDeviceNumber(0x801)).toBe('8:1')
  expect(formatDeviceNumber(0x10300)).toBe('259:0')
  expect(formatDeviceNumber(0x100103)).toBe('1:259')
})

test('parseKeyed() reads key value lines and nothing else', () => {
  expect(parseKeyed('nr_periods 3\nnr_throttled 1\n\nodd\n')).toEqual({ nr_periods: 3, nr_throttled: 1 })
})

test('buildDeviceProgram() gives the verdict of the last rule that matches', () => {
  const verdict = (rules: readonly DeviceRule[], type: 'b' | 'c', major: number, minor: number, access: string) =>
    simulate(buildDeviceProgram(rules), type, major, minor, access)
  const rule = (allow: boolean, text: string): DeviceRule => {
    const [type = 'a', major = '*', minor = '*', access = 'rwm'] = text.split(/[ :]/)
    const part = (digits: string) => (digits === '*' ? '*' : Number(digits))
    return { allow, type: type as 'a', major: part(major), minor: part(minor), access }
  }

  expect(verdict(defaultDeviceRules, 'c', 1, 3, 'rw')).toBe(1)
  expect(verdict(defaultDeviceRules, 'c', 136, 77, 'rw')).toBe(1)
  expect(verdict(defaultDeviceRules, 'b', 8, 0, 'm')).toBe(1)
  expect(verdict(defaultDeviceRules, 'b', 8, 0, 'r')).toBe(0)
  expect(verdict(defaultDeviceRules, 'c', 1, 1, 'r')).toBe(0)
  expect(verdict(defaultDeviceRules, 'c', 1, 1, 'rm')).toBe(0)
  expect(verdict([], 'c', 1, 3, 'r')).toBe(0)
  expect(verdict([rule(true, 'a *:* rwm')], 'b', 8, 0, 'rw')).toBe(1)
  const narrowed = [rule(true, 'a *:* rwm'), rule(false, 'b 8:* w')]
  expect(verdict(narrowed, 'b', 8, 1, 'rw')).toBe(0)
  expect(verdict(narrowed, 'b', 8, 1, 'r')).toBe(1)
  expect(verdict(narrowed, 'b', 9, 1, 'w')).toBe(1)
})

/** Runs the few instructions that the builder uses. */
function simulate(program: Uint8Array, type: 'b' | 'c', major: number, minor: number, access: string): number {
  const bits = { m: 1, r: 2, w: 4 } as Record<string, number>
  const mask = [...access].reduce((all, letter) => all | (bits[letter] ?? 0), 0)
  const context = [(mask << 16) | (type === 'b' ? 1 : 2), major, minor]
  const view = new DataView(program.buffer, program.byteOffset)
  const r = new Array<number>(11).fill(0)
  for (let i = 0; i < program.length / 8; i++) {
    const code = view.getUint8(i * 8)
    const dst = view.getUint8(i * 8 + 1) & 15
    const src = view.getUint8(i * 8 + 1) >> 4
    const offset = view.getInt16(i * 8 + 2, true)
    const immediate = view.getInt32(i * 8 + 4, true)
    const value = r[dst] ?? 0
    if (code === 0x61) r[dst] = context[offset / 4] ?? 0
    else if (code === 0xbc) r[dst] = r[src] ?? 0
    else if (code === 0x54) r[dst] = value & immediate
    else if (code === 0x74) r[dst] = value >>> immediate
    else if (code === 0xb7) r[dst] = immediate
    else if (code === 0x55) i += value !== immediate ? offset : 0
    else if (code === 0x15) i += value === immediate ? offset : 0
    else if (code === 0x5d) i += value !== r[src] ? offset : 0
    else if (code === 0x95) return r[0] ?? -1
    else throw new Error(`instruction ${code.toString(16)} at ${i}`)
  }
  throw new Error('ran off the end')
}
