// The flags about limits: `run` and `create` set them, `update` changes them.

import type { Command } from 'commander'
import {
  parseByteSize,
  parseByteSizeOrUnlimited,
  parseCpus,
  parseDeviceRate,
  parseWholeNumber,
} from '../model/parse-resources.ts'
import type { Resources } from '../model/resources.ts'
import { collect } from './collect.ts'
import { mapOptional, optional } from './optional.ts'

type Flags = Readonly<Record<string, unknown>>

/** Declares the flags on `command`. */
export function addResourceFlags(command: Command): Command {
  return command
    .option('-m, --memory <bytes>', 'memory limit, e.g. 512m')
    .option('--memory-swap <bytes>', 'memory plus swap; -1 is unlimited')
    .option('--memory-reservation <bytes>', 'soft memory limit')
    .option('--cpus <number>', 'processors, e.g. 1.5')
    .option('-c, --cpu-shares <number>', 'relative weight; 1024 is normal')
    .option('--cpu-quota <us>', 'processor time in each period')
    .option('--cpu-period <us>', 'length of the period')
    .option('--cpuset-cpus <list>', 'processors to run on, e.g. 0-3,7')
    .option('--cpuset-mems <list>', 'memory nodes to use')
    .option('--pids-limit <number>', 'most processes; -1 is unlimited')
    .option('--blkio-weight <number>', 'relative I/O weight, 10 to 1000')
    .option('--device-read-bps <device:rate>', 'most bytes a second read from a disk: /dev/sda:1mb', collect)
    .option('--device-write-bps <device:rate>', 'the same for writing', collect)
    .option('--device-read-iops <device:rate>', 'most reads a second from a disk: /dev/sda:1000', collect)
    .option('--device-write-iops <device:rate>', 'the same for writing', collect)
}

/** The limits among the flags. @throws TsrunError invalid */
export function parseResources(flags: Flags): Resources {
  const text = (name: string) => flags[name] as string | undefined
  const rates = (name: string, flag: string, unit: 'bytes' | 'plain') => {
    const given = (flags[name] as string[] | undefined) ?? []
    return given.length === 0 ? undefined : given.map(rate => parseDeviceRate(flag, rate, unit))
  }
  const whole = (name: string, flag: string, range: { min: number; max: number }) =>
    mapOptional(text(name), value => parseWholeNumber(flag, value, range))
  return {
    ...optional(
      'memoryBytes',
      mapOptional(text('memory'), v => parseByteSize('--memory', v)),
    ),
    ...optional(
      'memorySwapBytes',
      mapOptional(text('memorySwap'), v => parseByteSizeOrUnlimited('--memory-swap', v)),
    ),
    ...optional(
      'memoryReservationBytes',
      mapOptional(text('memoryReservation'), v => parseByteSize('--memory-reservation', v)),
    ),
    ...optional(
      'cpus',
      mapOptional(text('cpus'), v => parseCpus('--cpus', v)),
    ),
    ...optional('cpuShares', whole('cpuShares', '--cpu-shares', { min: 0, max: 262144 })),
    ...optional('cpuQuotaUs', whole('cpuQuota', '--cpu-quota', { min: -1, max: 1e9 })),
    ...optional('cpuPeriodUs', whole('cpuPeriod', '--cpu-period', { min: 1000, max: 1000000 })),
    ...optional('cpusetCpus', text('cpusetCpus')),
    ...optional('cpusetMems', text('cpusetMems')),
    ...optional('pidsLimit', whole('pidsLimit', '--pids-limit', { min: -1, max: 4194304 })),
    ...optional('blkioWeight', whole('blkioWeight', '--blkio-weight', { min: 10, max: 1000 })),
    ...optional('deviceReadBps', rates('deviceReadBps', '--device-read-bps', 'bytes')),
    ...optional('deviceWriteBps', rates('deviceWriteBps', '--device-write-bps', 'bytes')),
    ...optional('deviceReadIops', rates('deviceReadIops', '--device-read-iops', 'plain')),
    ...optional('deviceWriteIops', rates('deviceWriteIops', '--device-write-iops', 'plain')),
    ...optional('oomKillDisable', flags.oomKillDisable === true ? true : undefined),
  }
}
