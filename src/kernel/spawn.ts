// posix_spawn(3): starts tsrun-init. Synchronous, inherits exactly the descriptors named, and works the same under
// every JavaScript runtime. glibc runs it as vfork, so a large parent costs nothing.

import { SyscallError } from '../ffi/errno.ts'
import { koffi } from '../ffi/koffi.ts'
import { call } from '../ffi/libc.ts'

// Larger than glibc's posix_spawn_file_actions_t on any architecture (80 bytes on x86-64).
const FILE_ACTIONS_SIZE = 256

/**
 * Starts `path` with the descriptors of `fds`: `fds[n]` becomes descriptor n.
 * @returns the pid; the caller waits for it
 */
export function spawn(path: string, args: readonly string[], fds: ReadonlyMap<number, number>): number {
  const actions = Buffer.alloc(FILE_ACTIONS_SIZE)
  call('posix_spawn_file_actions_init', 'int posix_spawn_file_actions_init(void *)', [actions])
  try {
    // Sources that stand where a target goes would be overwritten by an earlier dup2: lift everything out of the way.
    const lifted = [...fds].map(([target, source], index) => ({ target, source, high: 200 + index }))
    for (const { source, high } of lifted) addDup2(actions, source, high)
    for (const { target, high } of lifted) addDup2(actions, high, target)
    for (const { high } of lifted) {
      call('addclose', 'int posix_spawn_file_actions_addclose(void *, int)', [actions, high])
    }
    const pid = new Int32Array(1)
    const result = spawnFunction()(
      pid,
      path,
      actions,
      null,
      [...args, null],
      ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', null],
    )
    if (result !== 0) throw new SyscallError('posix_spawn', result, `cannot run "${args[0] ?? path}"`)
    return pid[0] ?? -1
  } finally {
    call('destroy', 'int posix_spawn_file_actions_destroy(void *)', [actions])
  }
}

/** waitpid(2): blocks until the child ends; returns its raw wait status. */
export function waitForChild(pid: number): number {
  const status = new Int32Array(1)
  call('waitpid', 'int waitpid(int, _Out_ int *, int)', [pid, status, 0])
  return status[0] ?? 0
}

function addDup2(actions: Buffer, from: number, to: number): void {
  call('adddup2', 'int posix_spawn_file_actions_adddup2(void *, int, int)', [actions, from, to])
}

let spawnFn: ReturnType<ReturnType<typeof koffi.load>['func']> | undefined
function spawnFunction(): NonNullable<typeof spawnFn> {
  spawnFn ??= koffi
    .load('libc.so.6')
    .func('int posix_spawn(_Out_ int *, const char *, void *, void *, const char **, const char **)')
  return spawnFn
}
