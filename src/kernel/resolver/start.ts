// Starts tsrun-dns. It inherits the lock that says that it lives.

import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { SOCK_SEQPACKET } from '../../ffi/libc.ts'
import { assertTrustedFile } from '../../ffi/trusted-file.ts'
import { listenUnix } from '../../ffi/unix-stream.ts'
import { faultPoint } from '../../lib/fault.ts'
import { lockLife } from '../life-lock.ts'
import { spawn, waitForChild } from '../spawn.ts'
import { CONTROL_SOCKET } from './control.ts'

const BACKLOG = 128
/** What both processes have for a root. */
const EMPTY_FOLDER = 'empty'

export interface ResolverProgram {
  /** Holds its socket and its lock; made where it is missing. */
  readonly folder: string
  /** The program, tsrun-init. */
  readonly path: string
  /** What `ps` shows. */
  readonly title: string
}

/** Starts the resolver unless one runs. @returns whether this call has started it @throws SyscallError */
export function startResolver({ folder, path, title }: ResolverProgram): boolean {
  mkdirSync(`${folder}/${EMPTY_FOLDER}`, { recursive: true, mode: 0o755 })
  const lock = lockLife(folder)
  if (lock === undefined) return false
  const directory = openSync(folder, 'r')
  let listener: number | undefined
  let nothing: number | undefined
  try {
    rmSync(`${folder}/${CONTROL_SOCKET}`, { force: true })
    listener = listenUnix(`/proc/self/fd/${directory}/${CONTROL_SOCKET}`, SOCK_SEQPACKET, BACKLOG)
    faultPoint('resolver socket')
    nothing = openSync('/dev/null', 'r+')
    assertTrustedFile(path)
    const fds = new Map([
      [0, nothing],
      [1, nothing],
      [2, process.env.TSRUN_DEBUG === undefined ? nothing : 2],
      [3, listener],
      [4, lock],
    ])
    // It forks at once: what we wait for is over before it has begun.
    waitForChild(spawn(path, ['tsrun-init', '--dns', `${folder}/${EMPTY_FOLDER}`, title], fds))
    faultPoint('resolver started')
    return true
  } finally {
    for (const fd of [lock, directory, listener, nothing]) if (fd !== undefined) closeSync(fd)
  }
}
