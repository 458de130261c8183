import { expect, test } from 'vitest'
import {
  parseByteSize,
  parseByteSizeOrUnlimited,
  parseCpuList,
  parseCpus,
  parseDeviceRate,
  parseDeviceRule,
  parseWholeNumber,
  validateResources,
} from '../../src/model/parse-resources.ts'

test.each([
  ['512m', 536_870_912],
  ['1.5g', 1_610_612_736],
  ['64KiB', 65_536],
  ['10kb', 10_240],
  ['7', 7],
  ['7B', 7],
])('parseByteSize() reads %s', (text, bytes) => {
  expect(parseByteSize('--memory', text)).toBe(bytes)
})

test.each(['', '-1', 'm', '1x', '1e3', '0x10', '1,5g', '99999999999999p', ' ', '1 2'])(
  'parseByteSize() refuses "%s"',
  text => {
    expect(() => parseByteSize('--memory', text)).toThrow(
      `invalid value "${text}" for --memory: it must be a number with an optional unit b, k, m, g or t, e.g. 512m or 1.5g`,
    )
  },
)

test('parseByteSizeOrUnlimited() takes -1', () => {
  expect(parseByteSizeOrUnlimited('--memory-swap', '-1')).toBe(-1)
  expect(parseByteSizeOrUnlimited('--memory-swap', '1k')).toBe(1024)
})

test('parseCpus() takes decimals and nothing else', () => {
  expect(['1.5', '.5', '2'].map(text => parseCpus('--cpus', text))).toEqual([1.5, 0.5, 2])
  for (const bad of ['', '.', '-1', '1.5.2', 'NaN', '1e2', 'Infinity'])
    expect(() => parseCpus('--cpus', bad)).toThrow('--cpus')
})

test('parseCpuList() takes numbers and ranges', () => {
  expect(parseCpuList('--cpuset-cpus', '7,0-3')).toEqual([0, 1, 2, 3, 7])
  for (const bad of ['', '3-1', 'a', '1-', '0,,1', '99999', '0-99999']) {
    expect(() => parseCpuList('--cpuset-cpus', bad)).toThrow(/e\.g\. 0-3,7$/)
  }
})

test('parseWholeNumber() names the range', () => {
  expect(parseWholeNumber('--pids-limit', '-1', { min: -1, max: 100 })).toBe(-1)
  expect(() => parseWholeNumber('--pids-limit', '1.5', { min: -1, max: 100 })).toThrow('a whole number from -1 to 100')
})

test('parseDeviceRate() takes a device and a rate', () => {
  expect(parseDeviceRate('--device-read-bps', '/dev/sda:1mb')).toEqual({ path: '/dev/sda', rate: 1_048_576 })
  expect(parseDeviceRate('--device-read-iops', '/dev/sda:1000', 'plain')).toEqual({ path: '/dev/sda', rate: 1000 })
  for (const bad of ['/dev/sda', 'sda:1', ':1', '/dev/sda:'])
    expect(() => parseDeviceRate('--device-read-bps', bad)).toThrow()
})

test('parseDeviceRule() takes docker rules', () => {
  expect(parseDeviceRule('--device-cgroup-rule', 'c 42:* rwm')).toEqual({
    allow: true,
    type: 'c',
    major: 42,
    minor: '*',
    access: 'rwm',
  })
  for (const bad of ['c 42 rwm', 'd 1:2 r', 'c 1:2 x', 'a 1:* rwm', 'c 1:2  r', 'c 1:2 r\nb *:* rwm']) {
    expect(() => parseDeviceRule('--device-cgroup-rule', bad)).toThrow('--device-cgroup-rule')
  }
})

test.each([
  [{ memoryBytes: 1024 }, /--memory: it must be at least 6m/],
  [{ memorySwapBytes: 1e8 }, /--memory-swap: it must be used together with --memory/],
  [{ memoryBytes: 1e8, memorySwapBytes: 5e7 }, /--memory-swap: it must be memory plus swap/],
  [{ memoryBytes: 1e8, memoryReservationBytes: 2e8 }, /--memory-reservation: it must be not more/],
  [{ cpus: 1, cpuQuotaUs: 5000 }, /--cpus: it must be given without/],
  [{ cpus: 9 }, /--cpus: it must be from 0\.01 to 2\.00/],
  [{ cpuPeriodUs: 5 }, /--cpu-period: it must be from 1000 to 1000000/],
  [{ cpuQuotaUs: 5 }, /--cpu-quota: it must be 1000 or more/],
  [{ cpuShares: 1 }, /--cpu-shares/],
  [{ blkioWeight: 5 }, /--blkio-weight/],
  [{ cpusetCpus: 'x' }, /--cpuset-cpus/],
])('validateResources() refuses %j', (resources, message) => {
  expect(() => validateResources(resources, 2)).toThrow(message)
})

test('validateResources() takes 0 as not given, and unlimited swap', () => {
  validateResources(
    { memoryBytes: 0, cpus: 0, cpuShares: 0, cpuPeriodUs: 0, blkioWeight: 0, memorySwapBytes: -1, cpuQuotaUs: -1 },
    2,
  )
})
