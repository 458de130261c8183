// The last step of a container: its record, names, files and, where that is asked for, its anonymous volumes.

import type { Container } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { anonymousVolumesOf } from '../volume/volume-service.ts'
import { emitContainer } from './container-events.ts'
import { eraseContainer } from './teardown.ts'

/** Removes a container with `autoRemove` that has been torn down. The caller holds its lock. */
export async function eraseEnded(context: EngineContext, container: Container): Promise<void> {
  await erase(context, container, true)
}

/** Removes a container that has been torn down; where this command is cut off, the next one goes on. The caller holds its lock. */
export async function erase(context: EngineContext, container: Container, withVolumes: boolean): Promise<void> {
  const volumes = withVolumes ? anonymousVolumesOf(container) : []
  const job = context.journal.begin('container', container.id)
  if (volumes.length > 0) job.noteIfRoom(JSON.stringify(volumes))
  const isAll = await eraseContainer(context, container)
  context.volumes.removeUnused(volumes)
  if (isAll) job.end()
  else job.abandon()
  emitContainer(context, container, 'destroy')
}
