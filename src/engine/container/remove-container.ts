// The end of containers: giving back what one held, removing it, and removing all that do not run.

import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import { type PruneFilter, passesPruneFilter } from '../prune-filter.ts'
import { erase, eraseEnded } from './erase-container.ts'
import { isUp } from './list-containers.ts'
import { stopContainer } from './stop-container.ts'
import { isStartedAgain } from './teardown.ts'

/** How a container is removed. */
export interface RemoveOptions {
  /** Kills it first when it runs. Default false: a running one is a conflict. */
  readonly force?: boolean
  /** Removes its anonymous volumes as well. Default false. */
  readonly volumes?: boolean
}

/** What a prune of containers took away. */
export interface PrunedContainers {
  /** Newest first. */
  readonly removed: readonly Container[]
  /** What they had written. */
  readonly reclaimedBytes: number
}

/**
 * Gives back what a container held that has ended; with `autoRemove`, removes it. Idempotent.
 * @param life the one that has ended: somebody may have started the container again, and then nothing is to be done
 */
export async function endContainer(context: EngineContext, id: string, life?: RunRecord): Promise<void> {
  await context.locks.withContainer(id, async () => {
    const container = context.store.read(id)
    if (container === undefined || isStartedAgain(context, id, life)) return
    await context.tearDown(container)
    if (container.spec.autoRemove === true && !context.store.waitsForRestart(id)) await eraseEnded(context, container)
  })
}

/** @param status as `docker ps` has it @throws TsrunError conflict when it is up, unless `force` */
export async function removeContainer(
  context: EngineContext,
  container: Container,
  status: string,
  options: RemoveOptions,
): Promise<void> {
  if (isUp(status)) {
    if (options.force !== true) throw stillUp(container, status)
    await stopContainer(context, container, { timeoutSeconds: 0 })
  }
  await context.locks.withContainer(container.id, async () => {
    // Somebody else may have removed it meanwhile, or started it again, or given it another name.
    const current = context.store.read(container.id)
    if (current === undefined) return
    if (options.force !== true && isStartedAgain(context, current.id)) throw stillUp(current, 'running')
    await context.tearDown(current)
    await erase(context, current, options.volumes === true)
  })
}

function stillUp({ name }: Container, status: string): TsrunError {
  return new TsrunError('conflict', 'running', `cannot remove "${name}": it is ${status}`, {
    hint: `\`tsrun stop ${name}\` first, or \`tsrun rm -f ${name}\``,
  })
}

/** Removes all that do not run and pass the filter. One that starts meanwhile stays, and so does one that a build under way needs. */
export async function pruneContainers(
  context: EngineContext,
  views: readonly { readonly container: Container; readonly state: { readonly status: string } }[],
  filter: PruneFilter,
): Promise<PrunedContainers> {
  const { folderSize } = await import('../folder-size.ts')
  const { isStepUnderWay } = await import('../build/step-label.ts')
  const removed: Container[] = []
  let reclaimedBytes = 0
  for (const { container, state } of views) {
    const thing = { createdAt: container.createdAt, labels: container.spec.labels ?? {} }
    if (isUp(state.status) || !passesPruneFilter(thing, filter) || isStepUnderWay(container) === true) continue
    // Being made, started or removed: who does that goes on with it.
    if (context.journal.isUnderWay('container', container.id)) continue
    const bytes = folderSize(context.paths.containerFile(container.id, 'upper'))
    try {
      await removeContainer(context, container, context.store.state(container.id).status, {})
    } catch (error) {
      if (error instanceof TsrunError && error.code === 'running') continue
      throw error
    }
    removed.push(container)
    reclaimedBytes += bytes
  }
  context.events.emit({
    type: 'container',
    action: 'prune',
    id: '',
    name: '',
    attributes: { reclaimed: String(reclaimedBytes) },
  })
  return { removed, reclaimedBytes }
}
