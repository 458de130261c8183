// What every container gets without asking: the file systems, devices, links and hidden paths that the OCI runtime
// specification and docker's users expect.

import type { OciMount } from '../../model/oci-spec.ts'

/** The mounts of the OCI specification's "default filesystems", plus /dev/shm and /dev/mqueue as docker has them. */
export function defaultMounts(options: {
  shmSizeBytes: number
  privileged: boolean
  /** Its /dev/shm: a file system of its own, none, the host's, or that of the process `pid`. */
  shm: 'own' | 'none' | 'host' | { readonly pid: string }
  /** Whether the group of terminals, 5, exists for the container. */
  ttyGroup: boolean
}): OciMount[] {
  const sysOptions = ['nosuid', 'noexec', 'nodev', options.privileged ? 'rw' : 'ro']
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: [
        ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
        ...(options.ttyGroup ? ['gid=5'] : []),
      ],
    },
    ...shmMounts(options),
    // That of the ipc namespace, also where it is the host's, which need not have it mounted anywhere.
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    // A sysfs shows the network namespace of whoever mounts it, so it is mounted anew even where the host's is shared.
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: sysOptions },
  ]
}

/** What another process has there is not trusted: it may have mounted something else. */
function shmMounts({
  shm,
  shmSizeBytes,
}: Pick<Parameters<typeof defaultMounts>[0], 'shm' | 'shmSizeBytes'>): OciMount[] {
  const destination = '/dev/shm'
  const harmless = ['nosuid', 'noexec', 'nodev']
  if (shm === 'none') return []
  if (shm === 'own')
    return [{ destination, type: 'tmpfs', source: 'shm', options: [...harmless, 'mode=1777', `size=${shmSizeBytes}`] }]
  if (shm === 'host') return [{ destination, type: 'bind', source: destination, options: ['rbind', 'rw'] }]
  return [{ destination, type: 'bind', source: `/proc/${shm.pid}/root/dev/shm`, options: ['bind', 'rw', ...harmless] }]
}

/** Device nodes of every container; all are in the device cgroup's default list. */
export const defaultDevices = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0 },
].map(device => ({ ...device, fileMode: 0o666, uid: 0, gid: 0 }))

export const defaultSymlinks = [
  { path: '/dev/ptmx', target: 'pts/ptmx' },
  { path: '/dev/fd', target: '/proc/self/fd' },
  { path: '/dev/stdin', target: '/proc/self/fd/0' },
  { path: '/dev/stdout', target: '/proc/self/fd/1' },
  { path: '/dev/stderr', target: '/proc/self/fd/2' },
  { path: '/dev/core', target: '/proc/kcore' },
]

/** Host state that a container must not read: docker's list. */
export const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
]

/** Host state that a container must not write: docker's list. */
export const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
