// Makes files as somebody else: what is made through an idmapped mount has to belong to an id that is mapped, or the kernel
// refuses it (EOVERFLOW). See setfsuid(2) and capabilities(7).

import { call } from '../ffi/libc.ts'

const PR_GET_SECUREBITS = 27
const PR_SET_SECUREBITS = 28
/** Capabilities over files outlive the change of these ids. */
const SECBIT_NO_SETUID_FIXUP = 4

const prctl = 'int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)'

/**
 * Runs `task` with the calling thread making files as `uid` and `gid`, and with all else as before. `task` must do its work
 * before it returns: other threads, and so asynchronous calls, are not concerned.
 */
export function withFileIds<T>(ids: { readonly uid: number; readonly gid: number }, task: () => T): T {
  const bits = call('prctl', prctl, [PR_GET_SECUREBITS, 0, 0, 0, 0])
  call('prctl', prctl, [PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0])
  // These answer with the id of before, and never with an error.
  const uid = call('setfsuid', 'int setfsuid(unsigned int)', [ids.uid])
  const gid = call('setfsgid', 'int setfsgid(unsigned int)', [ids.gid])
  try {
    const result = task()
    if (result instanceof Promise) throw new Error('the task of withFileIds() has to be synchronous')
    return result
  } finally {
    call('setfsgid', 'int setfsgid(unsigned int)', [gid])
    call('setfsuid', 'int setfsuid(unsigned int)', [uid])
    call('prctl', prctl, [PR_SET_SECUREBITS, bits, 0, 0, 0])
  }
}
