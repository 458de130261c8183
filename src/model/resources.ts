// What a container may use of the machine. Only what was asked for is set: an absent field touches no kernel file.

/** A rate for one block device, e.g. `/dev/sda` at 1048576 bytes a second. */
export interface DeviceRate {
  /** Path of the block device on the host. */
  readonly path: string
  /** Bytes or operations a second; 0 removes the limit. */
  readonly rate: number
}

/** One line of the device list. The last rule that matches an access decides. */
export interface DeviceRule {
  readonly allow: boolean
  /** `a` is every device, and then the numbers must be `*`. */
  readonly type: 'a' | 'b' | 'c'
  readonly major: number | '*'
  readonly minor: number | '*'
  /** Any of the letters r (read), w (write), m (mknod). */
  readonly access: string
}

/** Limits and shares, named after docker's options. */
export interface Resources {
  /** Hard limit of memory. */
  readonly memoryBytes?: number
  /** Memory plus swap; -1 is unlimited swap. Absent with memoryBytes set: twice memoryBytes, where the host accounts swap. */
  readonly memorySwapBytes?: number
  /** Soft limit, kept under memory pressure. */
  readonly memoryReservationBytes?: number
  /** Processors' worth of time, e.g. 1.5. Not together with cpuQuotaUs. */
  readonly cpus?: number
  /** Microseconds of processor time in each period; -1 is unlimited. */
  readonly cpuQuotaUs?: number
  /** Default 100000. */
  readonly cpuPeriodUs?: number
  /** Relative weight, 2 to 262144, the default of the kernel being 1024. */
  readonly cpuShares?: number
  /** e.g. `0-3,7`. */
  readonly cpusetCpus?: string
  /** NUMA nodes, e.g. `0,1`. */
  readonly cpusetMems?: string
  /** Most processes and threads; -1 is unlimited. */
  readonly pidsLimit?: number
  /** Relative weight, 10 to 1000. */
  readonly blkioWeight?: number
  readonly deviceReadBps?: readonly DeviceRate[]
  readonly deviceWriteBps?: readonly DeviceRate[]
  readonly deviceReadIops?: readonly DeviceRate[]
  readonly deviceWriteIops?: readonly DeviceRate[]
  /** cgroup v1 only: processes at the limit sleep instead of being killed. */
  readonly oomKillDisable?: boolean
  /** The whole device list; absent is no restriction (`--privileged`). See `defaultDeviceRules`. */
  readonly devices?: readonly DeviceRule[]
}

const charDevice = (major: number, minor: number | '*'): DeviceRule => ({
  allow: true,
  type: 'c',
  major,
  minor,
  access: 'rwm',
})

/** What every unprivileged container may do: make any node, open null, full, zero, random, urandom and terminals. */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: false, type: 'a', major: '*', minor: '*', access: 'rwm' },
  { allow: true, type: 'c', major: '*', minor: '*', access: 'm' },
  { allow: true, type: 'b', major: '*', minor: '*', access: 'm' },
  charDevice(1, 3), // null
  charDevice(1, 5), // zero
  charDevice(1, 7), // full
  charDevice(1, 8), // random
  charDevice(1, 9), // urandom
  charDevice(5, 0), // tty
  charDevice(5, 1), // console
  charDevice(5, 2), // ptmx
  charDevice(136, '*'), // pts
]
