// Network namespaces (design decision D4). setns and unshare move one thread, and a pool thread that libuv starts
// meanwhile would be born inside and stay there: so everything here is synchronous, comes back in `finally`, and
// ends the process if it cannot come back: a process in the wrong namespace would configure the wrong machine.

import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { CLONE_NEWNET, setns, unshare } from '../ffi/libc.ts'
import { faultPoint } from '../lib/fault.ts'
import { record, shellQuote } from './explain.ts'
import { NetlinkSocket } from './netlink/socket.ts'
import { processStartTime } from './pidfd.ts'

// Not /proc/self: that is the process's first thread, and this may be another one.
const currentNamespace = '/proc/thread-self/ns/net'

/** A new namespace: nothing but the two descriptors, and later the processes inside, keeps it alive. */
export interface NewNetns {
  /** Owned by the caller; close-on-exec. */
  readonly fd: number
  /** Configures the namespace from outside; owned by the caller. */
  readonly socket: NetlinkSocket
}

/**
 * Makes a network namespace, opens a netlink socket in it and comes back. There is nothing to remove after a crash.
 * Equivalent to: `ip netns add $label`, which also gives it a name under /run/netns.
 * @param label its name in printed commands
 * @throws SyscallError EPERM without CAP_SYS_ADMIN, ENOSPC at the limit in /proc/sys/user/max_net_namespaces
 */
export function createNetns(label = 'sandbox'): NewNetns {
  record(() => `ip netns add ${shellQuote(label)}`)
  return comeBack(() => {
    unshare(CLONE_NEWNET)
    faultPoint('unshare network namespace')
    const fd = openSync(currentNamespace, 'r')
    try {
      faultPoint('open network namespace')
      return { fd, socket: new NetlinkSocket({ label }) }
    } catch (error) {
      closeSync(fd)
      throw error
    }
  })
}

/**
 * Runs `task` with the calling thread inside the namespace `fd`. `task` must do its work before it returns: no
 * await, no callback, no child process that it does not wait for. @throws whatever `task` throws
 */
export function runInNetns<T>(fd: number, task: () => T): T {
  return comeBack(() => {
    setns(fd, CLONE_NEWNET)
    faultPoint('enter network namespace')
    const result = task()
    if (result instanceof Promise) throw new Error('the task of runInNetns() has to be synchronous')
    return result
  })
}

/** The number of the namespace `fd`; undefined when the descriptor is closed. */
export function netnsInode(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino
  } catch (error) {
    if (hasCode(error, 'EBADF')) return undefined
    throw error
  }
}

/** Opens a netlink socket that serves the namespace `fd` from outside; owned by the caller. */
export function openNetnsSocket(fd: number, label?: string): NetlinkSocket {
  return runInNetns(fd, () => new NetlinkSocket({ label }))
}

/**
 * The network namespace of a process; the caller owns the descriptor, which is close-on-exec.
 * @param startTime as processStartTime() gave it: a pid that is another process's by now is never followed
 * @returns undefined when the process is gone
 */
export function openProcessNetns(pid: number, startTime: string): number | undefined {
  try {
    const fd = openSync(`/proc/${pid}/ns/net`, 'r')
    // Behind the open: whoever has this start time now had the pid when the file was opened.
    if (processStartTime(pid) === startTime) return fd
    closeSync(fd)
    return undefined
  } catch (error) {
    // A zombie has left its namespaces.
    if (hasCode(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}

/** Runs `task`, which may leave the namespace, and returns to the namespace of before. */
function comeBack<T>(task: () => T): T {
  const home = openSync(currentNamespace, 'r')
  try {
    return task()
  } finally {
    try {
      setns(home, CLONE_NEWNET)
      faultPoint('return to the host namespace')
    } catch (error) {
      die(error)
    }
    closeSync(home)
  }
}

function die(error: unknown): never {
  try {
    writeSync(2, `tsrun: cannot return to the host's network namespace, giving up: ${error}\n`)
  } finally {
    // Not process.exit(): exit handlers would run in the wrong namespace.
    process.kill(process.pid, 'SIGKILL')
  }
  throw error
}
