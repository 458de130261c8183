// Which kernel parameters a container may have of its own: those of its network, ipc and uts namespaces. Any other is the host's,
// and setting it for a container would set it for everybody. Pure.

import { TsrunError } from './errors.ts'

/** What the ipc namespace holds (ipc_namespaces(7)), besides fs.mqueue. */
const ipcKeys = new Set(
  [
    'msgmax',
    'msgmnb',
    'msgmni',
    'msg_next_id',
    'sem',
    'sem_next_id',
    'shmall',
    'shmmax',
    'shmmni',
    'shm_next_id',
    'shm_rmid_forced',
    'auto_msgmni',
  ].map(name => `kernel/${name}`),
)

/** Namespaces that the container shares with the host. */
export interface SharedWithHost {
  readonly network: boolean
  readonly ipc: boolean
  readonly uts: boolean
}

/**
 * Checks the names of `--sysctl`, in both spellings of sysctl(8): the first separator decides which of `.` and `/` separates.
 * @throws TsrunError invalid
 */
export function checkSysctls(sysctls: Readonly<Record<string, string>>, shared: SharedWithHost): void {
  for (const [name, value] of Object.entries(sysctls)) {
    const path = pathOf(name)
    const parts = path.split('/')
    if (!/^[\w./:@-]+$/.test(name) || parts.some(part => part === '' || part === '.' || part === '..'))
      throw invalid(name, 'this is not the name of a kernel parameter')
    if (value.includes('\0')) throw invalid(name, 'its value holds a NUL')
    const namespace = namespaceOf(path)
    if (namespace === undefined)
      throw invalid(
        name,
        'it is not in any namespace: it would change the host',
        'net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem and kernel.domainname can be set for one container',
      )
    if (shared[namespace])
      throw invalid(
        name,
        `the container shares the ${namespace} namespace of the host, so it would change the host`,
        `leave --${namespace} host away, or set it on the host with sysctl -w`,
      )
  }
}

/** As tsrun-init translates it (native/procfs.c). */
function pathOf(name: string): string {
  const isDotted = /[./]/.exec(name)?.[0] === '.'
  return isDotted ? name.replace(/[./]/g, separator => (separator === '.' ? '/' : '.')) : name
}

function namespaceOf(path: string): keyof SharedWithHost | undefined {
  if (path.startsWith('net/')) return 'network'
  if (path.startsWith('fs/mqueue/') || ipcKeys.has(path)) return 'ipc'
  return path === 'kernel/domainname' ? 'uts' : undefined
}

function invalid(name: string, reason: string, hint?: string): TsrunError {
  return new TsrunError(
    'invalid',
    'sysctl',
    `cannot set sysctl "${name}" for a container: ${reason}`,
    hint === undefined ? {} : { hint },
  )
}
