// Gives back what a container that has ended held: ports, link, addresses, cgroup, run folder. The same for a clean end,
// a killed monitor, a failed start and a reboot. Idempotent; the caller holds the container's lock.

import { existsSync, rmSync } from 'node:fs'
import { isRefusedWrite } from '../../ffi/errno.ts'
import { hasCgroups, isPopulated, killCgroup, removeCgroup, removeCgroupParent } from '../../kernel/cgroup/cgroup.ts'
import { faultPoint } from '../../lib/fault.ts'
import { syncPath } from '../../lib/json-file.ts'
import { CleanupError, doAll } from '../../lib/rollback.ts'
import { readJson } from '../../lib/state-file.ts'
import type { Container, ExitRecord, RunRecord } from '../../model/container.ts'
import type { Endpoint } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { usesResolver } from '../dns/uses-resolver.ts'
import { disconnectSandbox, endpointId } from '../network/connect-sandbox.ts'
import { staticIps } from '../network/plan-endpoints.ts'
import { onHostAddresses } from '../network/port-routes.ts'
import { releaseStatic, reservedAddresses } from '../network/reservations.ts'
import { withdrawAgain } from '../network/stray-ports.ts'
import { emitConnection, emitContainer, emitMounts } from './container-events.ts'
import { withRestOfNamespace } from './joined-namespace.ts'
import { untilRecorded } from './monitor-end.ts'

/** In the run folder, while a start is under way: how the container ended before. */
export const LAST_EXIT = 'last-exit.json'

/** Below the 30 s that others wait for the container's lock. */
const MONITOR_PATIENCE_MS = 10_000

/** @throws CleanupError with everything that could not be given back */
export async function tearDownContainer(context: EngineContext, container: Container): Promise<void> {
  const { store, paths } = context
  const { id } = container
  const run = store.readRun(id)
  await doAll([
    ['kill leftovers', () => killLeftovers(context, container, run)],
    // Early: what it says of memory is read from the cgroup, and the monitor holds the ports until then.
    ['exit record', () => ensureExitRecord(context, id, run)],
    // Before the rest of the network: the resolver's sockets keep the namespace, and with it the links.
    ['take names away', () => takeNamesAway(context, container)],
    ['disconnect', () => disconnectAll(context, container, run)],
    ['remove cgroup', () => removeCgroupOf(context, container, run)],
    ['stop health checks', () => stopHealthChecks(context, container)],
  ])
  // What could not be given back is on record there, and with it whoever looks next tries again.
  await doAll([
    ['report the end', () => reportEnd(context, container, run)],
    ['remove run folder', () => rmSync(paths.run(id), { recursive: true, force: true })],
    // One that has run counts as ended for whoever makes the rules anew; of a start that was cut off nobody can tell.
    [
      'remove rules made anew',
      () => (run?.phase === 'starting' ? withdrawAgain(context, container, run.endpoints) : undefined),
    ],
    ['remove cgroup parent', () => removeEmptyCgroupParent(context)],
  ])
}

/**
 * For whoever can do without: false where a disk that takes no writes kept some of it from being given back. That is on record, and
 * whoever looks next tries again.
 * @throws CleanupError when something else went wrong as well
 */
export async function isTornDown(teardown: Promise<void>): Promise<boolean> {
  try {
    await teardown
    return true
  } catch (error) {
    if (error instanceof CleanupError && error.reasons().every(isRefusedWrite)) return false
    throw error
  }
}

/** A container that was never started has none, so it can be removed where no hierarchy can be seen. */
async function removeCgroupOf(context: EngineContext, container: Container, run: RunRecord | undefined): Promise<void> {
  if (!existsSync(context.paths.run(container.id)) && !hasCgroups()) return
  await removeCgroup(run?.cgroup ?? cgroupPathOf(context, container))
}

/** With the last container the engine's own cgroup goes, too; one that is just being started makes it again. */
function removeEmptyCgroupParent(context: EngineContext): void {
  if (!context.store.hasRunning() && hasCgroups()) removeCgroupParent(`/${context.cgroupParent}`)
}

/**
 * Whether the container lives in another life than the one that has ended. The caller holds its lock.
 * @param life default: any that is over
 */
export function isStartedAgain(context: EngineContext, id: string, life?: RunRecord): boolean {
  if (life === undefined) return context.store.liveRun(id) !== undefined
  const run = context.store.readRun(id)
  return run !== undefined && (run.pid !== life.pid || run.pidStartTime !== life.pidStartTime)
}

/**
 * Removes the container with all its files. The caller has torn it down. Idempotent.
 * @returns whether that was all: false where the record of a network cannot be read that it may have an address of
 */
export async function eraseContainer(context: EngineContext, container: Container): Promise<boolean> {
  const { paths, store } = context
  // The record goes first: what is left of the folder then belongs to nobody, and any command may sweep it.
  rmSync(paths.containerFile(container.id, 'container.json'), { force: true })
  // Else it might start by itself after a power cut.
  if (startsByItself(container) && existsSync(paths.container(container.id))) syncPath(paths.container(container.id))
  faultPoint('container record removed')
  let isAll = true
  for (const attachment of container.spec.networks ?? [])
    if (staticIps(attachment).length > 0 && !(await releaseStatic(context, container, attachment))) isAll = false
  store.unmarkRestarting(container.id)
  store.releaseName(container.name, container.id)
  faultPoint('container name released')
  rmSync(paths.container(container.id), { recursive: true, force: true })
  faultPoint('container folder removed')
  return isAll
}

function startsByItself({ spec }: Container): boolean {
  return spec.restart?.name === 'always' || spec.restart?.name === 'unless-stopped'
}

/** Where the container's cgroup is put, below each hierarchy's mount point. */
export function cgroupPathOf(context: EngineContext, { id, spec }: Container): string {
  return `/${spec.cgroupParent ?? context.cgroupParent}/${id}`
}

async function killLeftovers(context: EngineContext, container: Container, run: RunRecord | undefined): Promise<void> {
  const cgroup = run?.cgroup ?? cgroupPathOf(context, container)
  // Without a run folder it does not run, unless somebody has wiped the folder.
  if (existsSync(context.paths.run(container.id)) || (hasCgroups() && isPopulated(cgroup))) await killCgroup(cgroup)
}

async function disconnectAll(context: EngineContext, container: Container, run: RunRecord | undefined): Promise<void> {
  const keepAddresses = reservedAddresses(container)
  await withRestOfNamespace(context, container.id, async rest => {
    for (const endpoint of run?.endpoints ?? []) {
      const network = context.networks.ofEndpoint(endpoint, container)
      if (network === undefined) continue
      await disconnectSandbox(await context.drivers(network.driver), network, endpoint, { ...rest, keepAddresses })
      emitConnection(context, container, network, 'disconnect')
    }
  })
  // A start that was cut off before its first record: what it may have taken carries the container's id, and is looked for among
  // all addresses. The run folder is the first thing that a start makes, and the last that is removed.
  const wasCutOff = run === undefined ? existsSync(context.paths.run(container.id)) : run.phase === 'starting'
  if (wasCutOff) await releaseByOwner(context, container)
}

/** Whatever a start may have taken on the container's networks before it was written down. */
async function releaseByOwner(context: EngineContext, container: Container): Promise<void> {
  for (const network of context.networks.list()) {
    const held = await Promise.all(network.pools.map(pool => context.ipam.listAddresses(pool)))
    const addresses = held.map(list => list.find(entry => entry.owner === container.id)?.address ?? '')
    const keepAddresses = reservedAddresses(container)
    if (addresses.every(address => address === '')) continue
    const id = endpointId(container.id, network.id)
    const endpoint: Endpoint = {
      id,
      networkId: network.id,
      containerId: container.id,
      containerName: container.name,
      hostInterface: context.hostInterfaceOf(id),
      containerInterface: '',
      mac: '',
      addresses,
      gateways: [],
      ports: onHostAddresses(container.ports, network),
    }
    await disconnectSandbox(await context.drivers(network.driver), network, endpoint, {
      sandboxGone: true,
      keepAddresses,
    })
  }
}

async function takeNamesAway(context: EngineContext, { id }: Container): Promise<void> {
  if (!usesResolver(context, id)) return
  const { removeNames } = await import('../dns/serve-names.ts')
  await removeNames(context, id)
}

async function stopHealthChecks(context: EngineContext, container: Container): Promise<void> {
  if (container.healthcheck === undefined) return
  const { stopHealthLoop } = await import('../health/health-loop.ts')
  stopHealthLoop(context, container.id)
}

/** Here, since whoever sees a container end comes by once: while its run record is still there. */
function reportEnd(context: EngineContext, container: Container, run: RunRecord | undefined): void {
  if (run?.phase !== 'running' || !existsSync(context.paths.runFile(container.id, 'run.json'))) return
  const exit = context.store.readExit(container.id)
  if (exit?.oomKilled === true) emitContainer(context, container, 'oom')
  const lived = Date.parse(exit?.finishedAt ?? '') - Date.parse(exit?.startedAt ?? '')
  emitContainer(context, container, 'die', {
    execDuration: String(Math.max(0, Math.floor((Number.isNaN(lived) ? 0 : lived) / 1000))),
    exitCode: String(exit?.exitCode ?? 0),
  })
  emitMounts(context, container, 'unmount')
}

/** A container whose monitor was killed has no exit record: it was killed along. */
async function ensureExitRecord(context: EngineContext, id: string, run: RunRecord | undefined): Promise<void> {
  if (context.store.readExit(id) !== undefined) return
  if (run?.phase !== 'running') {
    const last = readJson<ExitRecord>(context.paths.runFile(id, LAST_EXIT))
    if (last !== undefined) context.store.writeExit(id, last)
    return
  }
  await untilRecorded(context, id, MONITOR_PATIENCE_MS)
  if (context.store.readExit(id) !== undefined) return
  context.store.writeExit(id, {
    exitCode: 137,
    signal: 9,
    oomKilled: false,
    startedAt: run.startedAt,
    finishedAt: new Date().toISOString(),
    error: 'the monitor was killed',
  })
}
