// What a power cut leaves in the files that survive it, and the journal of which (in <state>) it took along: done by the first
// command after the machine has started, before it looks at any container.
//
// What was reported as done has been synced; the rest may be missing or, on most file systems, be there without its content.

import { readlinkSync, rmSync, statSync } from 'node:fs'
import { namesIfThere } from '../lib/if-there.ts'
import { noteLeftOut } from '../lib/state-file.ts'
import type { EngineContext } from './context.ts'

export async function clearAfterReboot(context: EngineContext): Promise<void> {
  const { paths } = context
  for (const id of namesIfThere(paths.containers)) {
    // Without a record the folder is what a start or a removal left: the reconciler's. An exit that is lost is found to be.
    for (const file of ['container.json', 'exit.json']) removeIfEmpty(paths.containerFile(id, file))
  }
  for (const name of namesIfThere(paths.names)) releaseIfStale(context, name)
  for (const name of namesIfThere(paths.networks))
    if (/^\.[0-9a-f]{64}(\.\d+\.tmp)?$/.test(name)) rmSync(`${paths.networks}/${name}`, { force: true })
  await context.locks.withPools(() => releaseOrphanPools(context))
}

/** Pools that no network has: a creation that was cut off before it noted anything down. The caller holds the lock of pools. */
export async function releaseOrphanPools({ networks, ipam }: EngineContext): Promise<void> {
  const used = new Set(networks.all().flatMap(network => network.pools.map(pool => pool.subnet)))
  for (const pool of await ipam.listPools()) if (!used.has(pool.subnet)) await ipam.releasePool(pool)
}

function removeIfEmpty(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.size === 0) rmSync(path, { force: true })
}

/** A name of a container that is not there, or has another by now: its renaming was cut off. */
function releaseIfStale({ paths, store }: EngineContext, name: string): void {
  const id = readlinkSync(`${paths.names}/${name}`)
  try {
    if (store.read(id)?.name !== name) store.releaseName(name, id)
  } catch (error) {
    // A record that somebody has damaged keeps its name.
    noteLeftOut(error)
  }
}
