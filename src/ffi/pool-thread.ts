// Blocking calls on the runtime's pool threads. Bun's pool never makes a thread again once the kernel has refused it the first (EAGAIN:
// the cgroup has as many tasks as it may), and what is queued then waits for ever: see hasPool().

import { readdirSync, readFileSync } from 'node:fs'
import { noteStuckCall } from '../lib/stuck-calls.ts'
import { TsrunError } from '../model/errors.ts'
import { errno, SyscallError } from './errno.ts'
import { koffi, type NativeFunction } from './koffi.ts'

const pauseMs = 500
/** On a machine that has much to do a new thread may wait long before it gives itself its name. */
const looks = 4

/** Each gives up the call that it belongs to. */
const pending = new Set<(error: unknown) => void>()
let isWatched = false

/** Makes the call on a pool thread; errno of that thread is lost. @throws TsrunError system where there is none to be had */
export function onPoolThread(native: NativeFunction, args: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    pending.add(reject)
    if (!isWatched) watch(looks)
    native.async(...args, (error: unknown, result: unknown) => {
      pending.delete(reject)
      if (error === null || error === undefined) resolve(Number(result))
      else reject(error instanceof Error ? error : new SyscallError('ffi', errno.EIO, String(error)))
    })
  })
}

/**
 * Makes sure that the runtime has a pool thread, for whoever is about to stream files: its own calls wait for ever where it gets
 * none. @throws TsrunError system
 */
export async function assurePoolThread(): Promise<void> {
  await onPoolThread(koffi.load('libc.so.6').func('int getpid()'), [])
}

/** Looks for the thread of a call that takes long; nobody waits for the look. */
function watch(looksLeft: number): void {
  isWatched = true
  setTimeout(() => {
    isWatched = false
    if (pending.size === 0 || hasPool()) return
    if (looksLeft > 1) return watch(looksLeft - 1)
    noteStuckCall()
    for (const reject of pending) reject(noThread())
    pending.clear()
  }, pauseMs).unref()
}

function noThread(): TsrunError {
  return new TsrunError('system', 'no-thread', 'cannot wait: the kernel refuses this process a thread (EAGAIN)', {
    hint: 'there may be too many processes: `ulimit -u`, and pids.max of the cgroup that tsrun is called in',
  })
}

/** Whether this process has pool threads, or another runtime than Bun, which ends by itself where it gets none. */
function hasPool(): boolean {
  if (process.versions.bun === undefined) return true
  return readdirSync('/proc/self/task').some(thread => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').startsWith('Bun Pool')
    } catch {
      // It has just ended.
      return false
    }
  })
}
