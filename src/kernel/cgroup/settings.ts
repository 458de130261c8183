// One kernel file of a cgroup and what goes in, and what a refusal of the kernel means to the user.

import { closeSync, constants, openSync, readFileSync, rmdirSync, statSync, writeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'
import { isRehearsal, perform, record, shellQuote } from '../explain.ts'

/** A write planned by settings-v1 or settings-v2. */
export interface CgroupSetting {
  readonly controller: string
  readonly file: string
  readonly value: string
  /** The option of `run` that asked for it. */
  readonly option: string
  /** Not asked for by the user: a kernel without this file is no error. */
  readonly optional?: true
  /** Written instead where the kernel has no `file`. */
  readonly otherwise?: { readonly file: string; readonly value: string }
}

/** What to switch on when a file is missing. */
const kernelOptions: readonly (readonly [RegExp, string])[] = [
  [/^memory\.(memsw|swap)/, 'CONFIG_SWAP and CONFIG_MEMCG, before 6.1 also the boot parameter swapaccount=1'],
  [
    /^memory\./,
    'CONFIG_MEMCG (for cgroup v1 from 6.11 on also CONFIG_MEMCG_V1); the boot parameter cgroup_enable=memory',
  ],
  [/^cpu\.(max|cfs)/, 'CONFIG_CFS_BANDWIDTH'],
  [/^cpu\./, 'CONFIG_FAIR_GROUP_SCHED'],
  [/^cpuset\./, 'CONFIG_CPUSETS (for cgroup v1 from 6.12 on also CONFIG_CPUSETS_V1)'],
  [/^pids\./, 'CONFIG_CGROUP_PIDS'],
  [/^(io\.max|blkio\.throttle)/, 'CONFIG_BLK_DEV_THROTTLING'],
  [/^(io|blkio)\..*weight/, 'CONFIG_BFQ_GROUP_IOSCHED, and the bfq scheduler on the disk'],
  [/^(io|blkio)\./, 'CONFIG_BLK_CGROUP'],
  [/^devices\./, 'CONFIG_CGROUP_DEVICE'],
  [/^freezer\./, 'CONFIG_CGROUP_FREEZER'],
]

/** Writes each setting into the directory `dirOf` gives for its controller. @throws TsrunError naming the option */
export function applySettings(
  settings: readonly CgroupSetting[],
  dirOf: (controller: string) => string | undefined,
): void {
  let open: { path: string; fd: number } | undefined
  try {
    for (const setting of settings) {
      const dir = dirOf(setting.controller)
      if (dir === undefined) {
        if (setting.optional) continue
        throw missing(setting, undefined)
      }
      const path = `${dir}/${setting.file}`
      record(() => writeCommand(path, setting.value))
      if (isRehearsal()) continue
      try {
        // The device list is a dozen writes to one file: it is opened once.
        if (open?.path !== path) {
          if (open !== undefined) closeSync(open.fd)
          open = undefined
          open = { path, fd: openSync(path, constants.O_WRONLY) }
        }
        writeSync(open.fd, setting.value)
      } catch (error) {
        if (hasCode(error, 'ENOENT')) {
          if (setting.optional) continue
          const { otherwise, ...rest } = setting
          if (otherwise !== undefined) {
            applySettings([{ ...rest, ...otherwise }], dirOf)
            continue
          }
          throw missing(setting, error)
        }
        throw refused(setting, dir, error)
      }
    }
  } finally {
    if (open !== undefined) closeSync(open.fd)
  }
}

/** Writes one cgroup file that must exist (never creates: that fails with EPERM and would hide ENOENT). */
export function writeCgroupFile(path: string, value: string): void {
  const write = () => {
    const fd = openSync(path, constants.O_WRONLY)
    try {
      writeSync(fd, value)
    } finally {
      closeSync(fd)
    }
  }
  perform(() => writeCommand(path, value), write)
}

/** Removes one cgroup directory. @throws EBUSY, ENOENT, ENOTEMPTY of rmdir(2) */
export function removeCgroupDir(dir: string): void {
  perform(
    () => `rmdir ${shellQuote(dir)}`,
    () => rmdirSync(dir),
  )
}

function writeCommand(path: string, value: string): string {
  return `echo ${shellQuote(value)} > ${shellQuote(path)}`
}

/** The text of a cgroup file, or undefined where there is none or the cgroup is gone. */
export function readCgroupFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) return undefined
    throw error
  }
}

/** `8:0` of a block device. @throws TsrunError invalid */
export function blockDeviceNumber(option: string, path: string): string {
  try {
    const stat = statSync(path)
    if (stat.isBlockDevice()) return formatDeviceNumber(stat.rdev)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) throw error
  }
  throw new TsrunError(
    'invalid',
    'no-block-device',
    `cannot apply ${option}: "${path}" is not a block device of this host`,
    {
      hint: '`lsblk -p` lists them',
    },
  )
}

/** dev_t as `major:minor` (glibc's gnu_dev_major and gnu_dev_minor). */
export function formatDeviceNumber(rdev: number): string {
  const dev = BigInt(rdev)
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

function missing(setting: CgroupSetting, cause: unknown): TsrunError {
  const option = kernelOptions.find(([pattern]) => pattern.test(setting.file))?.[1]
  return new TsrunError(
    'unsupported',
    'no-cgroup-controller',
    `cannot apply ${setting.option}: this kernel has no cgroup file "${setting.file}"`,
    { cause, ...(option === undefined ? {} : { hint: `it needs ${option}; \`tsrun doctor\` lists what is missing` }) },
  )
}

function refused(setting: CgroupSetting, dir: string, cause: unknown): TsrunError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error'
  const [reason, hint] = reasonOf(setting, dir, code)
  const kind =
    ['EINVAL', 'ERANGE', 'EBUSY', 'ENOSPC', 'ENODEV'].includes(code) || hint !== undefined ? 'invalid' : 'system'
  return new TsrunError(
    kind,
    'resource-refused',
    `cannot apply ${setting.option} "${setting.value}": ${reason} (write ${setting.file}: ${code})`,
    { cause, ...(hint === undefined ? {} : { hint }) },
  )
}

/** What the kernel meant, and what to do. */
function reasonOf(setting: CgroupSetting, dir: string, code: string): [string, string?] {
  if (setting.controller === 'cpuset' && ['EINVAL', 'EACCES', 'ERANGE', 'ENOSPC'].includes(code)) {
    const name = setting.file.includes('mems') ? 'mems' : 'cpus'
    const parent = dir.slice(0, dir.lastIndexOf('/'))
    const usable = (
      readCgroupFile(`${parent}/cpuset.${name}.effective`) ?? readCgroupFile(`${parent}/cpuset.${name}`)
    )?.trim()
    const what = name === 'mems' ? 'memory nodes' : 'processors'
    return [`not all of these ${what} can be used here`, `usable ${what}: ${usable || 'unknown'}`]
  }
  if (setting.file.startsWith('memory.') && code === 'EBUSY') {
    return ['the container uses more than that', 'choose a higher limit, or stop the container first']
  }
  if (setting.controller === 'cpu' && code === 'EINVAL') {
    return ['the parent cgroup allows less', 'choose a lower value']
  }
  if (/io|blkio/.test(setting.controller) && code === 'ENODEV') {
    return ['the kernel cannot limit this device', 'name the whole disk, not a partition']
  }
  return ['the kernel refused it']
}
