// Starts a created or stopped container. This file is the list of what a container is, in order; each step registers its
// inverse (design decision D9). Afterwards nothing of it depends on this process: the container has its monitor.

import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { InitProcess } from '../../drivers/runtime/init-process.ts'
import { type InitExtras, toInitConfig } from '../../drivers/runtime/oci-to-init.ts'
import { createCgroup } from '../../kernel/cgroup/cgroup.ts'
import { isExplaining, isRehearsal, record } from '../../kernel/explain.ts'
import { processStartTime } from '../../kernel/pidfd.ts'
import { type Undo, withRollback } from '../../lib/rollback.ts'
import { mark } from '../../lib/trace.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import { needsResolver } from '../dns/uses-resolver.ts'
import { addressesByNetwork } from '../network/connect-sandbox.ts'
import { removeStrayPorts } from '../network/stray-ports.ts'
import type { PreparedUserNamespace } from '../userns/prepare-userns.ts'
import { buildBundle, initExtras, resourcesOf } from './bundle.ts'
import { emitContainer, emitMounts } from './container-events.ts'
import { findDevices } from './devices.ts'
import { withFreePorts } from './host-ports.ts'
import { notingJoined } from './joined-namespace.ts'
import { type PreparedNetwork, prepareNetwork } from './prepare-network.ts'
import { cgroupPathOf } from './teardown.ts'

/** How a container is started. */
export interface StartOptions {
  readonly consoleSize?: { readonly rows: number; readonly columns: number }
  /** Called when everything is set up and the command has not run yet: the place to attach without missing anything. */
  readonly beforeGo?: () => Promise<void>
  /** A restart by policy: it counts, and nothing happens when this says that it is no longer wanted. */
  readonly automatic?: () => boolean
}

/** Why an automatic start did not come about. */
export class NotWanted extends Error {}

/** @throws TsrunError; nothing is left behind then, and nothing at all of a container with `autoRemove` */
export async function startContainer(
  context: EngineContext,
  id: string,
  options: StartOptions = {},
): Promise<RunRecord> {
  return context.locks.withContainer(id, async () => {
    const { store } = context
    const container = store.find(id)
    if (options.automatic?.() === false) throw new NotWanted()
    const state = store.state(id)
    if (state.status === 'running' || state.status === 'paused')
      throw new TsrunError('conflict', 'already-running', `cannot start "${container.name}": it is running`)
    // Also of a start that was cut off before its first record, while this one waited for the lock.
    if (store.hasRun(id)) await context.tearDown(container)
    store.unmarkRestarting(id)
    await context.mendLayers(container)
    const assertJoined = notingJoined(context, container)
    const job = context.journal.begin('container', id)
    return withFreePorts(context, id, () =>
      withRollback(undo => start(context, store.find(id), undo, { ...options, assertJoined })),
    )
      .catch(async (error: unknown) => {
        if (container.spec.autoRemove === true && !isRehearsal()) await eraseUnstarted(context, container)
        assertJoined(error)
        throw error
      })
      .finally(() => job.end())
  })
}

/** As docker does: a start that failed was its end. Why it failed is what has to be told. */
async function eraseUnstarted(context: EngineContext, container: Container): Promise<void> {
  // What could not be undone is given back by the next command, which has to know what it belongs to.
  if (existsSync(context.paths.run(container.id))) return
  const { eraseEnded } = await import('./erase-container.ts')
  await eraseEnded(context, container).catch(() => {})
}

async function start(
  context: EngineContext,
  container: Container,
  undo: Undo,
  options: StartOptions & { readonly assertJoined: () => void },
): Promise<RunRecord> {
  const { paths, store } = context
  const { id } = container

  // Behind everything else: whoever made the rules anew meanwhile has found them on record.
  if (container.ports.length > 0) undo.add('ports', () => removeStrayPorts(context))
  mkdirSync(paths.runFile(id, 'rootfs'), { mode: 0o700, recursive: true })
  undo.add('run folder', () => rmSync(paths.run(id), { recursive: true, force: true }))
  const devices = findDevices(container.spec)
  const cgroup = createCgroup(cgroupPathOf(context, container), resourcesOf(container, devices), undo)
  const users = await prepareUsers(context, container, undo)
  const network = await prepareNetwork(context, container, undo, users?.takeNetns)
  const starting: RunRecord = {
    phase: 'starting',
    pid: 0,
    pidStartTime: '',
    startedAt: new Date().toISOString(),
    endpoints: network.endpoints,
    cgroup: cgroup.path,
  }
  // From here on a crash is cleaned up from this record; before, by what carries the container's id.
  store.writeRun(id, starting)
  undo.add('starting record', () => {})

  const hasResolver = needsResolver(network.networkNames)
  const oci = await buildBundle(context, container, {
    network,
    hasResolver,
    cgroup,
    devices,
    undo,
    consoleSize: options.consoleSize,
  })
  mark('bundle built')
  const extras = initExtras(context, container, { network, cgroup, devices, users, seccomp: oci.seccomp })
  if (isExplaining()) await explain(container, oci.spec, extras)
  const init = new InitProcess(toInitConfig(oci.spec, extras), {
    initPath: context.initPath,
    ...(network.netnsFd === undefined ? {} : { namespaceFd: network.netnsFd }),
    subject: `"${container.name}"`,
    nameOf: shortId => store.list().find(other => other.id.startsWith(shortId))?.name,
  })
  undo.add('init', () => init.close())
  // A lease is kept for as long as the first process lives: that has to be there.
  const first = network.hasLeases && !isRehearsal() ? init.waitReady() : undefined
  // Otherwise while the other processor mounts what the container will see:
  const endpoints = await network.plug(undo, isRehearsal() ? process.pid : first)
  const plugged: RunRecord = { ...starting, endpoints }
  if (first !== undefined) await noteLeases(context, container, starting, plugged)
  const names = hasResolver ? await openNames(context, container, { network, undo }) : undefined
  // tsrun-init holds the namespace now.
  network.released()
  const pid = first ?? init.waitReady()
  // Their namespaces have been opened, by the pids that they had.
  options.assertJoined()
  users?.released()
  oci.released()
  mark('tsrun-init ready')
  const run: RunRecord = { ...plugged, phase: 'running', pid, pidStartTime: processStartTime(pid) ?? '' }
  store.writeRun(id, run)
  undo.add('running record', () => {})
  await network.confirm()
  await names?.register(run)
  const automatic = options.automatic !== undefined
  // Not from the record read above: the host ports may have been chosen meanwhile.
  store.change(id, current => noteStart(current, run, automatic))
  await options.beforeGo?.()
  mark('client attached')
  init.go()
  undo.add('go', () => context.kill(id, run))
  emitMounts(context, container, 'mount')
  emitContainer(context, container, 'start')
  if (container.healthcheck !== undefined) {
    const { startHealthLoop } = await import('../health/health-loop.ts')
    await startHealthLoop(context, container)
  }
  return run
}

/** What was leased is in the record, and in the files that the container sees. */
async function noteLeases(
  context: EngineContext,
  container: Container,
  before: RunRecord,
  after: RunRecord,
): Promise<void> {
  const { updateHosts } = await import('./update-hosts.ts')
  const { updateResolvConf } = await import('./update-resolv-conf.ts')
  context.store.writeRun(container.id, after)
  updateHosts(context, container, before.endpoints, after.endpoints)
  updateResolvConf(context, container, before.endpoints, after.endpoints)
}

/** Names for the container; without them, nothing of this is even loaded. */
async function openNames(
  context: EngineContext,
  container: Container,
  { network, undo }: { network: PreparedNetwork; undo: Undo },
): Promise<{ register(run: RunRecord): Promise<void> } | undefined> {
  const { netnsFd } = network
  if (netnsFd === undefined) return undefined
  const { openNames, registerNames } = await import('../dns/serve-names.ts')
  const sockets = await openNames(context, { container, netnsFd, undo })
  return { register: run => registerNames(context, container, { run, sockets }) }
}

async function explain(container: Container, spec: OciSpec, extras: InitExtras): Promise<void> {
  const { explainStart } = await import('../../drivers/runtime/explain-init.ts')
  record(() => explainStart(spec, extras, container.name))
}

/** Loads what concerns user namespaces only for a container that has one. */
async function prepareUsers(
  context: EngineContext,
  container: Container,
  undo: Undo,
): Promise<PreparedUserNamespace | undefined> {
  if (container.idMaps === undefined) return undefined
  const { prepareUserNamespace } = await import('../userns/prepare-userns.ts')
  return prepareUserNamespace(context, container, undo)
}

function noteStart(container: Container, { startedAt, endpoints }: RunRecord, automatic: boolean): Container {
  const lastAddresses = addressesByNetwork(endpoints)
  const started = { ...container, startedAt, ...(endpoints.length === 0 ? {} : { lastAddresses }) }
  if (automatic) return { ...started, restartCount: (container.restartCount ?? 0) + 1 }
  const { stoppedByUser: _stopped, restartCount: _count, restartDelayMs: _delay, ...rest } = started
  return rest
}
