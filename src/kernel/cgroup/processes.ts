// Who lives in a cgroup, and putting them to sleep or to death.

import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../../ffi/errno.ts'
import { SYS, syscall } from '../../ffi/libc.ts'
import { TsrunError } from '../../model/errors.ts'
import { isRehearsal } from '../explain.ts'
import { type CgroupHandle, type CgroupReference, mainDir, toHandle } from './handle.ts'
import { childCgroups } from './remove-cgroup.ts'
import { readCgroupFile, writeCgroupFile } from './settings.ts'

/** The processes of the cgroup and of those below it, as pids of tsrun's own pid namespace; 0 stands for one outside it. */
export function listPids(cgroup: CgroupReference): number[] {
  const dir = mainDir(toHandle(cgroup))
  return dir === undefined ? [] : [...new Set(subtree(dir).flatMap(pidsIn))].sort((a, b) => a - b)
}

/**
 * Sends SIGKILL to every process of the cgroup, forks of this moment included. Returns when they have been told, not when
 * they are gone: `removeCgroup` waits for that. Nothing happens when the cgroup is gone.
 */
export async function killCgroup(cgroup: CgroupReference): Promise<void> {
  const handle = toHandle(cgroup)
  if (handle.v2Dir !== undefined && tryWrite(`${handle.v2Dir}/cgroup.kill`, '1')) return
  if (isRehearsal()) return
  const dir = mainDir(handle)
  if (dir === undefined) return

  // Before 5.14, or v1: frozen processes cannot fork, so the list is complete; without a freezer, until nobody new is seen.
  const freezable = hasFreezer(handle)
  if (freezable) await freezeCgroup(handle).catch(ignoreTimeout)
  try {
    for (let round = 0; round < 100; round++) {
      const pids = subtree(dir).flatMap(pidsIn)
      if (pids.length === 0) break
      for (const pid of pids) killIfInside(pid, handle.path)
      if (freezable) break
      await sleep(1)
    }
  } finally {
    // A frozen process of v1 dies only when it is thawed.
    if (freezable) thawCgroup(handle)
  }
}

/**
 * Stops every process of the cgroup where it is; returns when all of them stand still.
 * @throws TsrunError unsupported without a freezer, system when they do not freeze within `timeoutMs` (default 10 s)
 */
export async function freezeCgroup(cgroup: CgroupReference, options: { timeoutMs?: number } = {}): Promise<void> {
  const handle = toHandle(cgroup)
  const freezer = requireFreezer(handle)
  const deadline = Date.now() + (options.timeoutMs ?? 10_000)
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 20)) {
    writeCgroupFile(freezer.file, freezer.freeze)
    if (freezer.isFrozen() || isRehearsal()) return
    if (Date.now() >= deadline) {
      thawCgroup(handle)
      throw new TsrunError(
        'system',
        'freeze-timeout',
        `cannot freeze cgroup "${handle.path}": its processes did not stop in time`,
      )
    }
    await sleep(waitMs)
  }
}

/** Lets them go on. Nothing happens when they are not frozen. */
export function thawCgroup(cgroup: CgroupReference): void {
  const freezer = requireFreezer(toHandle(cgroup))
  tryWrite(freezer.file, freezer.thaw)
}

/** Whether the processes are frozen, by us or by whoever. */
export function isFrozen(cgroup: CgroupReference): boolean {
  const handle = toHandle(cgroup)
  return hasFreezer(handle) && requireFreezer(handle).isFrozen()
}

interface Freezer {
  readonly file: string
  readonly freeze: string
  readonly thaw: string
  isFrozen(): boolean
}

function hasFreezer({ v2Dir, v1Dirs }: CgroupHandle): boolean {
  return v1Dirs.has('freezer') || (v2Dir !== undefined && readCgroupFile(`${v2Dir}/cgroup.freeze`) !== undefined)
}

function requireFreezer(handle: CgroupHandle): Freezer {
  const { v2Dir, v1Dirs } = handle
  if (v2Dir !== undefined && readCgroupFile(`${v2Dir}/cgroup.freeze`) !== undefined) {
    const isFrozen = () => /^frozen 1$/m.test(readCgroupFile(`${v2Dir}/cgroup.events`) ?? '')
    return { file: `${v2Dir}/cgroup.freeze`, freeze: '1', thaw: '0', isFrozen }
  }
  const v1 = v1Dirs.get('freezer')
  if (v1 === undefined) {
    throw new TsrunError('unsupported', 'no-freezer', `cannot freeze cgroup "${handle.path}": it has no freezer`, {
      hint: 'on cgroup v1 it needs CONFIG_CGROUP_FREEZER; `tsrun doctor` lists what is missing',
    })
  }
  const isFrozen = () => readCgroupFile(`${v1}/freezer.state`)?.trim() === 'FROZEN'
  return { file: `${v1}/freezer.state`, freeze: 'FROZEN', thaw: 'THAWED', isFrozen }
}

/** `dir` and every cgroup below it. */
function subtree(dir: string): string[] {
  return [dir, ...childCgroups(dir).flatMap(subtree)]
}

function pidsIn(dir: string): number[] {
  return (readCgroupFile(`${dir}/cgroup.procs`) ?? '').split('\n').filter(Boolean).map(Number)
}

/** The pidfd pins the process, then /proc says whether it is still the one that was listed. */
function killIfInside(pid: number, path: string): void {
  if (pid === 0) return
  let pidfd: number
  try {
    pidfd = syscall('pidfd_open', SYS.pidfdOpen, 'int, unsigned int', [pid, 0])
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return
    throw error
  }
  try {
    const isInside = (readCgroupFile(`/proc/${pid}/cgroup`) ?? '').split('\n').some(line => {
      const own = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1)
      return own === path || own.startsWith(`${path}/`)
    })
    if (isInside)
      syscall('pidfd_send_signal', SYS.pidfdSendSignal, 'int, int, void *, unsigned int', [pidfd, 9, null, 0])
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  } finally {
    closeSync(pidfd)
  }
}

function ignoreTimeout(error: unknown): void {
  if (!(error instanceof TsrunError && error.code === 'freeze-timeout')) throw error
}

/** False where the file or the cgroup does not exist. */
function tryWrite(path: string, value: string): boolean {
  try {
    writeCgroupFile(path, value)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV')) return false
    throw error
  }
}
