// The network namespace of a container that runs: to look into it, or to change it as a network driver does.

import { closeSync } from 'node:fs'
import { isRehearsal } from '../../kernel/explain.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { openNetnsSocket, openProcessNetns } from '../../kernel/netns.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Sandbox } from '../../model/network.ts'

/**
 * Opens it; the caller owns the descriptor.
 * @param name how to call the container in messages
 * @throws TsrunError conflict when the container has ended
 */
export function openContainerNetns(run: RunRecord, name: string): number {
  const fd = openProcessNetns(run.pid, run.pidStartTime)
  if (fd !== undefined) return fd
  throw new TsrunError('conflict', 'not-running', `cannot look into the network of "${name}": it has just ended`)
}

/** Runs `task` with a socket in it, and with its descriptor. @throws TsrunError as openContainerNetns() */
export function withContainerSocket<T>(
  run: RunRecord,
  name: string,
  task: (inside: NetlinkSocket, netnsFd: number) => T,
): T {
  const fd = openContainerNetns(run, name)
  try {
    using inside = openNetnsSocket(fd)
    return task(inside, fd)
  } finally {
    closeSync(fd)
  }
}

/** Runs `task`, which is to change it. @throws TsrunError conflict when the container has ended meanwhile */
export async function withSandbox<T>(
  { name }: Container,
  { pid, pidStartTime }: RunRecord,
  task: (sandbox: Sandbox) => Promise<T>,
): Promise<T> {
  const netnsFd = openProcessNetns(pid, pidStartTime)
  if (netnsFd === undefined)
    throw new TsrunError('conflict', 'not-running', `cannot change the network of "${name}": it has just ended`, {
      hint: 'once more: the change is then made for its next start',
    })
  try {
    if (isRehearsal()) return await rehearseInside(netnsFd, task)
    return await task({ netnsFd })
  } finally {
    closeSync(netnsFd)
  }
}

/** In a copy: a dry run leaves the container alone. */
async function rehearseInside<T>(netnsFd: number, task: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const { copyNetns } = await import('../rehearsal/host-copy.ts')
  const copyFd = copyNetns(netnsFd)
  try {
    return await task({ netnsFd: copyFd })
  } finally {
    closeSync(copyFd)
  }
}
