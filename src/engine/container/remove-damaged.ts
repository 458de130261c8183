// Removing a container whose files nobody can read: what it held is found by its id, as after a start that was cut off.

import type { Container } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { stopHealthLoop } from '../health/health-loop.ts'
import { releaseOrphanAddresses } from '../reconcile.ts'
import { eraseContainer } from './teardown.ts'

/** Kills what runs of it and takes everything away but its volumes, anonymous ones too: which those are stood in its record. */
export async function removeDamaged(context: EngineContext, reference: string): Promise<void> {
  const { store, locks } = context
  const id = store.idOf(reference)
  if (id === undefined) return
  await locks.withContainer(id, async () => {
    store.dropDamaged(id)
    const container = store.read(id) ?? blank(id, store.nameOf(id))
    // Whether there are probes stood in the record; who makes them, in the run folder.
    stopHealthLoop(context, id)
    await context.tearDown(container)
    await eraseContainer(context, container)
  })
  // Its static ones: the record that reserved them could not be read.
  await releaseOrphanAddresses(context)
}

/** What is known of it. */
function blank(id: string, name: string): Container {
  return {
    id,
    name,
    createdAt: '',
    image: { reference: '', id: '', layerDirs: [] },
    process: { args: [], env: [], cwd: '/', user: '' },
    spec: { image: '' },
    ports: [],
    stopSignal: '',
  }
}
