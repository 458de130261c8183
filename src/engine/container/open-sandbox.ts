// The network namespace of a container that runs.

import { closeSync } from 'node:fs'
import { isRehearsal } from '../../kernel/explain.ts'
import { openProcessNetns } from '../../kernel/netns.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Sandbox } from '../../model/network.ts'

/** Runs `task` with the namespace open. @throws TsrunError conflict when the container has ended meanwhile */
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
