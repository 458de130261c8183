// The network namespace of a container that runs.

import { openProcessNetns } from '../../kernel/netns.ts'
import type { RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'

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
