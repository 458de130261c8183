// Brings files and kernel together again after a crash, a kill -9 or a reboot (design decision D8): finishes or undoes
// jobs that were cut off, and takes back what dead containers held.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { removeCgroup } from '../kernel/cgroup/cgroup.ts'
import { readTextIfThere } from '../lib/if-there.ts'
import { noteLeftOut, StateFileError, sweepTemporaries, unlessDamaged, writeWhole } from '../lib/state-file.ts'
import type { Container, RunRecord } from '../model/container.ts'
import type { Network } from '../model/network.ts'
import { isAlive } from './container/container-store.ts'
import type { EngineContext } from './context.ts'
import { isResolverLost } from './dns/resolver-state.ts'
import { usesResolver } from './dns/uses-resolver.ts'
import type { CutOffJob } from './journal.ts'
import { lostLeases } from './network/lost-leases.ts'
import type { HeldPort } from './network/port-routes.ts'
import { reservedAddresses } from './network/reservations.ts'
import { removeStrayPorts } from './network/stray-ports.ts'

/**
 * What every command does first: cheap when nothing was cut off (one small read and one readdir).
 * After a reboot, everything below the state directory is void.
 */
export async function reconcileAtOpen(context: EngineContext): Promise<void> {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  const marker = `${context.paths.state}/boot-id`
  const isNew = () => readTextIfThere(marker) !== bootId
  if (isNew()) {
    mkdirSync(context.paths.running, { recursive: true, mode: 0o700 })
    const { clearAfterReboot } = await import('./after-reboot.ts')
    // One does it and the others wait: what has no record would else be what another is just making.
    await context.locks.withBoot(async () => {
      if (!isNew()) return
      // A state file that is damaged is left alone: the command that needs it says what is wrong with it, and the others go on.
      await clearAfterReboot(context).catch(noteLeftOut)
      await reconcileAll(context)
      writeWhole(marker, bootId)
    })
  }
  const cutOff = context.journal.cutOff()
  for (const job of cutOff) await finish(context, job)
  if (cutOff.length > 0) {
    const { networks, ipam, restarting, state } = context.paths
    for (const folder of [networks, ipam, restarting, state]) sweepTemporaries(folder)
  }
  if (lostLeases(context).length > 0) {
    const { healLeases } = await import('./network/leases.ts')
    await healLeases(context)
  }
  if (isResolverLost(context)) {
    const { healResolver } = await import('./dns/serve-names.ts')
    await healResolver(context)
  }
}

/** Checks every container and every pool. */
export async function reconcileAll(context: EngineContext): Promise<void> {
  const ids = new Set([...context.store.ids(), ...context.store.runningIds()])
  for (const id of ids) {
    // Without a record it may be just coming, or going.
    if (!context.store.has(id) && context.journal.isUnderWay('container', id)) continue
    await reconcileContainer(context, id).catch(noteLeftOut)
  }
  await releaseOrphanAddresses(context).catch(noteLeftOut)
}

/**
 * Tears down containers that have ended, and waits for those who are doing so. One that is being started has not ended, whatever is
 * left of its last end: who starts it may be waiting for what the caller holds.
 * @param isMeant default: all
 */
export async function reconcileEnded(
  context: EngineContext,
  isMeant: (run: RunRecord) => boolean = () => true,
): Promise<void> {
  for (const id of context.store.runningIds()) {
    const run = unlessDamaged(() => context.store.readRun(id))
    if (run?.phase === 'running' && !isAlive(run) && isMeant(run))
      await reconcileContainer(context, id).catch(noteLeftOut)
  }
}

/**
 * Tears a container down whose process has gone while nobody was there to do it, or whose start was cut off; with `autoRemove`,
 * removes it.
 */
export async function reconcileContainer(context: EngineContext, id: string): Promise<void> {
  await context.locks.withContainer(id, async () => {
    const container = context.store.read(id)
    const { status } = context.store.state(id)
    if (status === 'running' || status === 'paused') return restoreRunning(context, id)
    if (container === undefined) return eraseRemains(context, id)
    const wasBegun = existsSync(context.paths.run(id))
    if (wasBegun) await context.tearDown(container)
    else if (status === 'created' && container.startedAt !== undefined) await findLost(context, container)
    const ended = wasBegun ? ['exited', 'created'] : ['exited']
    if (container.spec.autoRemove === true && ended.includes(context.store.state(id).status))
      await eraseUnneeded(context, container)
  })
}

/** What a build's step has written is needed when it has ended. */
async function eraseUnneeded(context: EngineContext, container: Container): Promise<void> {
  const { isStepUnderWay } = await import('./build/step-label.ts')
  if (isStepUnderWay(container) === true) return
  const { eraseEnded } = await import('./container/erase-container.ts')
  await eraseEnded(context, container)
}

/** One whose start was cut off may have nobody who probes it; one whose change was, may be known to the resolver as it was. */
async function restoreRunning(context: EngineContext, id: string): Promise<void> {
  const container = context.store.read(id)
  const run = context.store.readRun(id)
  if (container === undefined || run === undefined) return
  if (container.healthcheck !== undefined) {
    const { hasHealthLoop, startHealthLoop } = await import('./health/health-loop.ts')
    if (!hasHealthLoop(context, id)) await startHealthLoop(context, container)
  }
  if (!usesResolver(context, id)) return
  const { updateNames } = await import('./dns/serve-names.ts')
  await updateNames(context, container, run)
}

/** It was started, and neither its run folder nor an exit record is there. */
async function findLost(context: EngineContext, container: Container): Promise<void> {
  const { adoptContainer } = await import('./container/adopt-container.ts')
  if (adoptContainer(context, container)) return
  if (container.spec.autoRemove === true) await context.tearDown(container)
  recordLostEnd(context, container)
}

/** It ran when the machine went down, which took its run folder along: docker's code for that is 255. */
function recordLostEnd(context: EngineContext, { id, startedAt = '' }: Container): void {
  const finishedAt = new Date().toISOString()
  const error = 'the machine went down'
  context.store.writeExit(id, { exitCode: 255, signal: 0, oomKilled: false, startedAt, finishedAt, error })
}

/** Gives back the addresses whose owner has no process and no record that reserves them. */
export async function releaseOrphanAddresses(context: EngineContext): Promise<void> {
  for (const network of context.networks.list()) {
    const { ipam } = context
    for (const pool of network.pools) {
      for (const { address, owner } of await ipam.listAddresses(pool)) {
        if (owner === network.id || isHeld(context, owner, address)) continue
        await context.locks.withContainer(owner, async () => {
          if (!isHeld(context, owner, address)) await ipam.releaseAddress(pool, address, owner)
        })
      }
    }
  }
}

/** Whether the owner of an address lives, or has a record that reserves it. */
function isHeld(context: EngineContext, owner: string, address: string): boolean {
  if (existsSync(context.paths.run(owner))) return true
  try {
    const container = context.store.read(owner)
    return container !== undefined && reservedAddresses(container).includes(address)
  } catch (error) {
    if (error instanceof StateFileError) return true
    throw error
  }
}

async function finish(context: EngineContext, job: CutOffJob): Promise<void> {
  try {
    if (job.kind === 'container') await finishContainer(context, job)
    else if (job.kind === 'connection') await finishConnection(context, job)
    else if (job.kind === 'rules') await (await context.drivers('bridge')).firewall.reload()
    else await finishNetwork(context, job)
  } finally {
    job.done()
  }
}

/** A container whose start, renaming or removal was cut off; a removal has noted down the volumes that go with it. */
async function finishContainer(context: EngineContext, { key: id, note }: CutOffJob): Promise<void> {
  await reconcileContainer(context, id)
  await removeStrayPorts(context)
  if (context.store.read(id) !== undefined) {
    const { settleName } = await import('./container/change-container.ts')
    return settleName(context, id)
  }
  context.volumes.removeUnused(parseNote<string[]>(note) ?? [])
  // Its static addresses: the record that reserved them went first.
  await releaseOrphanAddresses(context)
}

/** A change to a running container's networks or ports that was cut off: its record says what was meant. */
async function finishConnection(context: EngineContext, { key: id, note }: CutOffJob): Promise<void> {
  await reconcileContainer(context, id)
  const strayPorts = parseNote<HeldPort[]>(note) ?? []
  const { settleNow } = await import('./container/settle-connections.ts')
  await context.locks.withContainer(id, () => settleNow(context, id, { strayPorts }))
}

/** A network whose creation, change or removal was cut off: what is not on record is removed, what is is made. */
async function finishNetwork(context: EngineContext, job: CutOffJob): Promise<void> {
  const intent = parseNote<Network>(job.note)
  const { releaseOrphanPools } = await import('./after-reboot.ts')
  const isStanding = await context.locks.withNetwork(job.key, async () => {
    const isRecorded = intent !== undefined && (await context.networks.finish(intent))
    await context.locks.withPools(() => releaseOrphanPools(context))
    return isRecorded
  })
  if (isStanding && intent !== undefined) await context.networks.reload(intent.id)
}

/** A container folder without a record: its creation or removal was cut off. */
async function eraseRemains(context: EngineContext, id: string): Promise<void> {
  const { paths, store } = context
  await removeCgroup(`/${context.cgroupParent}/${id}`)
  rmSync(paths.run(id), { recursive: true, force: true })
  store.unmarkRestarting(id)
  store.releaseNames(id)
  rmSync(paths.container(id), { recursive: true, force: true })
}

/** What a job noted down; undefined for none and for one that its writer did not get to the end of: it did nothing yet. */
function parseNote<T>(note: string): T | undefined {
  try {
    return note === '' ? undefined : (JSON.parse(note) as T)
  } catch {
    return undefined
  }
}
