// User namespaces. unshare(CLONE_NEWUSER) is refused to a process with several threads, so tsrun-init makes one, and the
// network namespace that belongs to it with it: only then may the container's root mount /sys, bind port 80 and use ping.

import { closeSync, openSync, writeFileSync } from 'node:fs'
import { SyscallError } from '../ffi/errno.ts'
import { recv, setSocketTimeout, socketpair } from '../ffi/libc.ts'
import { faultPoint } from '../lib/fault.ts'
import type { IdMapping, IdMaps } from '../model/id-maps.ts'
import { openSealed } from './sealed-exec.ts'
import { spawn, waitForChild } from './spawn.ts'

/** A new user namespace; nothing but these descriptors (close-on-exec, the caller's) keeps the two alive. */
export interface NewUserNamespace {
  readonly userFd: number
  /** A network namespace that it owns. */
  readonly netFd: number
}

const ANSWER_TIMEOUT_MS = 10_000

/**
 * Makes a user namespace with these maps. There is nothing to remove after a crash.
 * @param initPath the program tsrun-init
 * @throws SyscallError ENOSPC at the limit in /proc/sys/user/max_user_namespaces, EPERM or ENOSYS where there are none
 */
export function createUserNamespace(initPath: string, maps: IdMaps): NewUserNamespace {
  return holdNamespaces(initPath, undefined, pid => {
    faultPoint('map ids')
    writeFileSync(`/proc/${pid}/uid_map`, mapText(maps.uid))
    writeFileSync(`/proc/${pid}/gid_map`, mapText(maps.gid))
    const userFd = openSync(`/proc/${pid}/ns/user`, 'r')
    try {
      return { userFd, netFd: openSync(`/proc/${pid}/ns/net`, 'r') }
    } catch (error) {
      closeSync(userFd)
      throw error
    }
  })
}

/** A network namespace that belongs to the user namespace at `path`; the caller closes the descriptor. @throws SyscallError */
export function createNetnsOf(initPath: string, path: string): number {
  const userFd = openSync(path, 'r')
  try {
    return holdNamespaces(initPath, userFd, pid => openSync(`/proc/${pid}/ns/net`, 'r'))
  } finally {
    closeSync(userFd)
  }
}

/** Runs `task` while a process of that pid stands in the new namespaces. */
function holdNamespaces<T>(initPath: string, userFd: number | undefined, task: (pid: number) => T): T {
  const [ours, theirs] = socketpair()
  const nullFd = openSync('/dev/null', 'r+')
  const program = openSealed(initPath)
  let pid: number | undefined
  try {
    const fds = new Map([0, 1, 2].map(fd => [fd, nullFd])).set(3, theirs)
    if (userFd !== undefined) fds.set(5, userFd)
    pid = spawn(`/proc/self/fd/${program}`, ['tsrun-init', '--hold-namespaces'], fds)
    closeSync(theirs)
    setSocketTimeout(ours, ANSWER_TIMEOUT_MS)
    const answer = Buffer.alloc(4)
    if (recv(ours, answer) !== answer.length) throw new Error('tsrun-init ended without a word')
    const error = answer.readUInt32LE(0)
    if (error !== 0) throw new SyscallError('unshare', error, 'cannot create the namespaces')
    return task(pid)
  } finally {
    // It ends when this is closed.
    closeSync(ours)
    closeSync(program)
    closeSync(nullFd)
    if (pid === undefined) closeSync(theirs)
    else waitForChild(pid)
  }
}

function mapText(mappings: readonly IdMapping[]): string {
  return mappings.map(m => `${m.containerId} ${m.hostId} ${m.size}\n`).join('')
}
