// docker's text forms of resource limits. Each parser names the option, the value and the valid forms when it refuses.

import { TsrunError } from './errors.ts'
import type { DeviceRate, DeviceRule, Resources } from './resources.ts'

const units: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
}

/** Below this no process can start: docker's minimum for `--memory`. */
const minimumMemoryBytes = 6 * 2 ** 20

/** `512m`, `1.5g`, `64KiB`, `1048576` -> bytes (units are powers of 1024). @throws TsrunError invalid */
export function parseByteSize(option: string, text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,9})?) *([bkmgtp]?)(?:i?b)?$/i.exec(text)
  const bytes =
    match === null ? Number.NaN : Math.floor(Number(match[1]) * (units[(match[2] ?? '').toLowerCase()] ?? 1))
  if (Number.isSafeInteger(bytes)) return bytes
  throw invalid(option, text, 'a number with an optional unit b, k, m, g or t, e.g. 512m or 1.5g')
}

/** As parseByteSize, and `-1` for no limit. @throws TsrunError invalid */
export function parseByteSizeOrUnlimited(option: string, text: string): number {
  return text === '-1' ? -1 : parseByteSize(option, text)
}

/** `1.5` -> 1.5. @throws TsrunError invalid */
export function parseCpus(option: string, text: string): number {
  const cpus = /^(\d{1,6}(\.\d{1,9})?|\.\d{1,9})$/.test(text) ? Number(text) : Number.NaN
  if (cpus >= 0) return cpus
  throw invalid(option, text, 'a decimal number of processors, e.g. 1.5')
}

/** A whole number, e.g. of `--pids-limit` or `--cpu-shares`. @throws TsrunError invalid */
export function parseWholeNumber(option: string, text: string, range: { min: number; max: number }): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= range.min && value <= range.max) return value
  throw invalid(option, text, `a whole number from ${range.min} to ${range.max}`)
}

/** Checks `0-3,7` and gives the numbers, sorted. @throws TsrunError invalid */
export function parseCpuList(option: string, text: string): number[] {
  const numbers = new Set<number>()
  for (const part of text.trim().split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim())
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || last < first || last > 8191) {
      throw invalid(option, text, 'numbers and ranges separated by commas, e.g. 0-3,7')
    }
    for (let number = first; number <= last; number++) numbers.add(number)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** `/dev/sda:1mb` -> rate in bytes; with `plain`, a count of operations: `/dev/sda:1000`. @throws TsrunError invalid */
export function parseDeviceRate(option: string, text: string, unit: 'bytes' | 'plain' = 'bytes'): DeviceRate {
  const colon = text.lastIndexOf(':')
  const path = text.slice(0, colon)
  const rate = text.slice(colon + 1)
  const example = unit === 'bytes' ? '/dev/sda:1mb' : '/dev/sda:1000'
  if (colon < 1 || !path.startsWith('/dev/')) throw invalid(option, text, `<device path>:<rate>, e.g. ${example}`)
  if (unit === 'bytes') return { path, rate: parseByteSize(option, rate) }
  return { path, rate: parseWholeNumber(option, rate, { min: 0, max: Number.MAX_SAFE_INTEGER }) }
}

/** docker's `--device-cgroup-rule` form `c 1:3 rwm`, `b *:* m`, `a *:* rwm`. @throws TsrunError invalid */
export function parseDeviceRule(option: string, text: string): DeviceRule {
  const match = /^([abc]) (\d{1,10}|\*):(\d{1,10}|\*) ([rwm]{1,3})$/.exec(text)
  if (match === null) throw invalid(option, text, '"<a, b or c> <major>:<minor> <any of r, w, m>", e.g. "c 42:* rwm"')
  const [, type, major, minor, access] = match
  const number = (digits: string | undefined) => (digits === '*' ? '*' : Number(digits))
  const rule = { allow: true, major: number(major), minor: number(minor), access: access ?? '' } as const
  if (type === 'a' && (rule.major !== '*' || rule.minor !== '*'))
    throw invalid(option, text, '"a *:* rwm" for all devices')
  return { ...rule, type: type === 'a' ? 'a' : type === 'b' ? 'b' : 'c' }
}

/**
 * Refuses what no kernel would accept or what contradicts itself, before anything is made.
 * `onlineCpus` bounds `--cpus` as docker does; absent, it is not checked.
 * @throws TsrunError invalid
 */
export function validateResources(resources: Resources, onlineCpus?: number): void {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, cpus } = resources
  if (memoryBytes !== undefined && memoryBytes !== 0 && memoryBytes < minimumMemoryBytes) {
    throw invalid('--memory', `${memoryBytes}`, 'at least 6m')
  }
  if (memorySwapBytes !== undefined && memorySwapBytes > 0) {
    if (!memoryBytes) throw invalid('--memory-swap', `${memorySwapBytes}`, 'used together with --memory')
    if (memorySwapBytes < memoryBytes) {
      throw invalid('--memory-swap', `${memorySwapBytes}`, 'memory plus swap: not less than --memory, or -1')
    }
  }
  if (memoryReservationBytes && memoryBytes && memoryReservationBytes > memoryBytes) {
    throw invalid('--memory-reservation', `${memoryReservationBytes}`, 'not more than --memory')
  }
  if (cpus && (resources.cpuQuotaUs || resources.cpuPeriodUs)) {
    throw invalid('--cpus', `${cpus}`, 'given without --cpu-quota and --cpu-period')
  }
  if (cpus !== undefined && cpus !== 0 && (cpus < 0.01 || cpus > (onlineCpus ?? Number.POSITIVE_INFINITY))) {
    throw invalid(
      '--cpus',
      `${cpus}`,
      onlineCpus === undefined ? 'at least 0.01' : `from 0.01 to ${onlineCpus}.00, as this machine has ${onlineCpus}`,
    )
  }
  checkRange('--cpu-period', resources.cpuPeriodUs, 1000, 1_000_000)
  if (resources.cpuQuotaUs !== -1) checkRange('--cpu-quota', resources.cpuQuotaUs, 1000, Number.MAX_SAFE_INTEGER)
  checkRange('--cpu-shares', resources.cpuShares, 2, 262_144)
  checkRange('--blkio-weight', resources.blkioWeight, 10, 1000)
  if (resources.cpusetCpus !== undefined) parseCpuList('--cpuset-cpus', resources.cpusetCpus)
  if (resources.cpusetMems !== undefined) parseCpuList('--cpuset-mems', resources.cpusetMems)
}

/** 0 is docker's "as if not given". */
function checkRange(option: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || value === 0 || (value >= min && value <= max)) return
  throw invalid(option, `${value}`, max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`)
}

function invalid(option: string, value: string, valid: string): TsrunError {
  return new TsrunError('invalid', 'invalid-resource', `invalid value "${value}" for ${option}: it must be ${valid}`)
}
