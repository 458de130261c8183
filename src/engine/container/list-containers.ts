// Which containers there are and how each is doing. Whoever looks settles what he finds: a container whose process has gone
// unseen is torn down on the way, and started again where its policy says so.

import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container, ContainerState } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { untilRecorded } from './monitor-end.ts'
import { restartsByPolicy } from './start-with-client.ts'
import { isTornDown } from './teardown.ts'

/** A container and how it is doing. */
export interface ContainerView {
  readonly container: Container
  readonly state: ContainerState
}

/** What docker counts as running: also what is paused, or is going to be started again in a moment. */
export function isUp(status: string): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting'
}

/** Those that have a process or wait for one, the newest first, without those whose record is damaged. */
export function runningContainers({ store }: EngineContext): Container[] {
  const ids = new Set([...store.runningIds(), ...store.restartingIds()])
  const containers = [...ids].flatMap(id => unlessDamaged(() => store.read(id)) ?? [])
  return containers.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
}

/** @param reconcile tears a container down whose process has gone */
export async function settledState(
  context: EngineContext,
  container: Container,
  reconcile: (id: string) => Promise<void>,
): Promise<ContainerState> {
  const { store } = context
  const state = store.state(container.id, container)
  if (state.status !== 'exited') return state
  // Its monitor was killed, or who waited to start it again was: somebody has to do it now.
  if (state.run === undefined && !store.isMarkedRestarting(container.id)) return state
  if (state.run !== undefined) await untilRecorded(context, container.id)
  if (!(await isTornDown(reconcile(container.id)))) return store.state(container.id)
  if (restartsByPolicy(container) && container.stoppedByUser !== true) {
    const { resumeRestart } = await import('./restart.ts')
    await resumeRestart(context, container)
  }
  return store.state(container.id)
}
