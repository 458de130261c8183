// Starts and ends the keeper of a lease: `tsrun-init --lease` (native/lease.h), which runs a DHCP client in a container's network
// namespace for as long as the container's first process lives.

import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../ffi/errno.ts'
import { assertTrustedFile } from '../ffi/trusted-file.ts'
import { readTextIfThere } from '../lib/if-there.ts'
import { LOCK_FILE, lockLife, removeDeadFolder } from './life-lock.ts'
import { closePidfd, openPidfd, sendSignal } from './pidfd.ts'
import { spawn, waitForChild } from './spawn.ts'

const SIGKILL = 9
const SIGTERM = 15
/** The client has two seconds to give the lease back. */
const FAREWELL_MS = 4_000
const PAUSE_MS = 2

/** What a keeper is started with. */
export interface LeaseKeeper {
  /** Its own: what the client was granted is written there. Made where it is missing. */
  readonly folder: string
  /** The program, tsrun-init. */
  readonly initPath: string
  /** The container's first process: the keeper ends with it. */
  readonly pid: number
  readonly netnsFd: number
  /** The client, an absolute path and its arguments; it calls EVENT_PROGRAM. */
  readonly client: readonly string[]
  /** What is called when something has changed; the path is absolute. */
  readonly command: readonly string[]
  /** Whether `command` is called for the first lease as well, since nobody waits for it. */
  readonly tellsFirst: boolean
}

/** The path of what the client is to call at every event, for its arguments. */
export const EVENT_PROGRAM = '/proc/self/fd/21'

/** Starts a keeper unless one lives in that folder. @returns whether this call has started it @throws SyscallError */
export function startLeaseKeeper(keeper: LeaseKeeper): boolean {
  const { folder, initPath, netnsFd, client } = keeper
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const lock = lockLife(folder)
  if (lock === undefined) return false
  let nothing: number | undefined
  try {
    nothing = openSync('/dev/null', 'r+')
    assertTrustedFile(initPath)
    const args = ['tsrun-init', '--lease', folder, String(keeper.pid), keeper.tellsFirst ? 'tell' : 'quiet']
    const stderr = process.env.TSRUN_DEBUG === undefined ? nothing : 2
    const fds = new Map([
      [0, nothing],
      [1, nothing],
      [2, stderr],
      [3, netnsFd],
      [4, lock],
    ])
    // It forks at once: what we wait for is over before it has begun.
    waitForChild(spawn(initPath, [...args, String(client.length), ...client, ...keeper.command], fds))
    return true
  } finally {
    closeSync(lock)
    if (nothing !== undefined) closeSync(nothing)
  }
}

/** What the client was told last; undefined where nothing is granted (any more). Variables of udhcpc, one a line. */
export function readLeaseText(folder: string): string | undefined {
  return readTextIfThere(`${folder}/lease`)
}

/** Why there is no lease: what a server said when it refused, or the exit code of a client that has ended by itself. */
export function readLeaseFailure(folder: string): { refused: string | undefined; ended: string | undefined } {
  return { refused: readTextIfThere(`${folder}/refused`), ended: readTextIfThere(`${folder}/ended`)?.trim() }
}

/** Ends the keeper of a folder, which gives the lease back, and removes the folder. Idempotent. */
export async function endLeaseKeeper(folder: string): Promise<void> {
  const start = performance.now()
  let told = 0
  while (existsSync(folder) && !removeDeadFolder(folder)) {
    const waited = performance.now() - start
    // One that does not go is killed: the lease then runs out by itself.
    const signal = waited > FAREWELL_MS ? SIGKILL : SIGTERM
    // Without a number it is being started this very moment.
    const pid = told === signal ? undefined : keeperOf(folder)
    if (pid !== undefined && signalKeeper(folder, pid, signal)) told = signal
    if (waited > 2 * FAREWELL_MS) return
    await sleep(PAUSE_MS)
  }
}

/** @returns whether it was there to be told */
function signalKeeper(folder: string, pid: number, signal: number): boolean {
  let pidfd: number | undefined
  try {
    pidfd = openPidfd(pid)
    // Now that the number cannot come to mean another process: does the holder of the lock still have it?
    if (!isHeld(folder) || keeperOf(folder) !== pid) return false
    sendSignal(pidfd, signal)
    return true
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return false
    throw error
  } finally {
    if (pidfd !== undefined) closePidfd(pidfd)
  }
}

function isHeld(folder: string): boolean {
  const lock = lockLife(folder)
  if (lock === undefined) return true
  closeSync(lock)
  return false
}

function keeperOf(folder: string): number | undefined {
  const text = readTextIfThere(`${folder}/${LOCK_FILE}`) ?? ''
  return /^\d+\n$/.test(text) ? Number(text) : undefined
}
