// The names of one container: from its start to its end, and when they change. The resolver, tsrun-dns, is started with
// the first container that needs it and ends with the last; it keeps nothing on disk, everything it knows is told again from
// the records when it has died. A rehearsal of a command makes its own sockets and leaves the resolver, and the containers that
// really run, alone.

import { closeSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isRehearsal } from '../../kernel/explain.ts'
import { openProcessNetns } from '../../kernel/netns.ts'
import { closePidfd, openPidfd } from '../../kernel/pidfd.ts'
import {
  MAX_TEXT_BYTES,
  openResolverSockets,
  type ResolverReply,
  type ResolverSockets,
  redirectStands,
  removeDeadFolder,
  startResolver,
  tellResolver,
} from '../../kernel/resolver/resolver.ts'
import { readTextIfThere } from '../../lib/if-there.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint } from '../../model/network.ts'
import { resolvConfFor } from '../container/etc-dir.ts'
import type { EngineContext } from '../context.ts'
import { DEFAULT_NETWORK } from '../network/network-service.ts'
import { chosenServers } from './chosen-servers.ts'
import { hostAddresses } from './host-addresses.ts'
import { buildNamesText } from './names-text.ts'
import { needsResolver, usesResolver } from './uses-resolver.ts'

const PATIENCE_MS = 5_000
const PAUSE_MS = 1

/**
 * Opens the sockets of a container that is being started, in its namespace, and starts the resolver where there is none.
 * What is asked from now on waits in them.
 */
export async function openNames(
  context: EngineContext,
  { container, netnsFd, undo }: { container: Container; netnsFd: number; undo: Undo },
): Promise<ResolverSockets> {
  const sockets = openResolverSockets(netnsFd, { label: container.name })
  undo.add('resolver sockets', () => sockets.close())
  undo.add('resolver', () => removeNames(context, container.id))
  if (!isRehearsal() && start(context)) await reattachAll(context, container.id)
  return sockets
}

/** Hands the sockets of a container whose first process is there to the resolver, with its names; ours are closed. */
export async function registerNames(
  context: EngineContext,
  container: Container,
  { run, sockets }: { run: RunRecord; sockets: ResolverSockets },
): Promise<void> {
  if (isRehearsal()) {
    sockets.close()
    return
  }
  const pidfd = openPidfd(run.pid)
  try {
    await tell(context, {
      type: 'put',
      id: container.id,
      text: namesText(context, container, run.endpoints),
      attach: { sockets, pidfd },
    })
  } finally {
    closePidfd(pidfd)
    sockets.close()
  }
}

/**
 * Tells the resolver what has changed about a running container: its name, its networks, its addresses. One that comes to its
 * first network with names is given the resolver. Idempotent.
 */
export async function updateNames(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  if (isRehearsal() || sharesNetwork(container)) return
  if (!usesResolver(context, container.id) && !giveResolver(context, container, run)) return
  const text = namesText(context, container, run.endpoints)
  const reply = tellResolver(context.paths.resolver, { type: 'put', id: container.id, text })
  if (reply === 'done') return
  if (reply === undefined && start(context)) await reattachAll(context, container.id)
  await reattach(context, container, run)
}

/**
 * Takes a container away from the resolver, which closes its sockets: they would keep the namespace. With the last container
 * it ends. Idempotent.
 */
export async function removeNames(context: EngineContext, id: string): Promise<void> {
  if (isRehearsal()) return
  const folder = context.paths.resolver
  const reply = tellResolver(folder, { type: 'remove', id })
  if (reply === 'last') await untilEnded(folder)
  else if (reply === undefined && users(context, id).length === 0) removeDeadFolder(folder)
}

/** After the resolver has died: starts it again for those who use it, or clears away what is left of it. */
export async function healResolver(context: EngineContext): Promise<void> {
  if (isRehearsal()) return
  if (users(context).length === 0) removeDeadFolder(context.paths.resolver)
  else if (start(context)) await reattachAll(context)
}

/**
 * Leads a running container's queries to the resolver again where somebody has flushed the rules in its namespace: `network reload`
 * does, and every `exec`. Nothing for one that has ended, or that uses another's namespace.
 */
export async function mendNames(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  if (isRehearsal() || sharesNetwork(container) || !usesResolver(context, container.id)) return
  const netnsFd = openProcessNetns(run.pid, run.pidStartTime)
  if (netnsFd === undefined) return
  let stands: boolean
  try {
    stands = redirectStands(netnsFd)
  } finally {
    closeSync(netnsFd)
  }
  if (!stands) await reattach(context, container, run)
}

/** Brings every running container that uses the resolver to it. Those that cannot be brought are left as they are. */
async function reattachAll(context: EngineContext, except?: string): Promise<void> {
  for (const { container, run } of users(context, except)) {
    try {
      await reattach(context, container, run)
    } catch (error) {
      // It may be ending just now; and one broken container must not keep the others, or this command, from going on.
      if (process.env.TSRUN_DEBUG !== undefined)
        process.stderr.write(`tsrun: no names for ${container.name}: ${error}\n`)
    }
  }
}

/**
 * Names the resolver in the container's resolv.conf, in place, since the file is bound into it.
 * @returns false where that is not called for, or the container has made the file its own
 */
function giveResolver(context: EngineContext, container: Container, run: RunRecord): boolean {
  const joined = context.networks.list().filter(({ id }) => run.endpoints.some(({ networkId }) => networkId === id))
  if (!needsResolver(joined.map(({ name }) => name))) return false
  const path = context.paths.runFile(container.id, 'resolv.conf')
  if (readTextIfThere(path) !== resolvConfFor(container, false, run.endpoints)) return false
  writeFileSync(path, resolvConfFor(container, true, run.endpoints))
  return true
}

function sharesNetwork({ spec }: Container): boolean {
  return spec.networks?.[0]?.network.startsWith('container:') === true
}

/** Opens new sockets in the container's namespace for a resolver that knows nothing of it; nothing for one that has ended. */
async function reattach(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  const netnsFd = openProcessNetns(run.pid, run.pidStartTime)
  if (netnsFd === undefined) return
  let sockets: ResolverSockets
  try {
    sockets = openResolverSockets(netnsFd, { label: container.name, again: true })
  } finally {
    closeSync(netnsFd)
  }
  await registerNames(context, container, { run, sockets })
}

function users(context: EngineContext, except?: string): { container: Container; run: RunRecord }[] {
  const { store } = context
  return store.runningIds().flatMap(id => {
    if (id === except || !usesResolver(context, id)) return []
    const container = store.read(id)
    const run = store.liveRun(id)
    return run !== undefined && container !== undefined && !sharesNetwork(container) ? [{ container, run }] : []
  })
}

function start(context: EngineContext): boolean {
  const { resolver: folder, state } = context.paths
  return startResolver({ folder, path: context.initPath, title: `tsrun-dns ${state}` })
}

/** Says it until somebody hears it: the resolver may be just starting, or just ending with its last container. */
async function tell(
  context: EngineContext,
  message: Parameters<typeof tellResolver>[1] & { readonly type: 'put' },
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const reply = tellResolver(context.paths.resolver, message)
    if (reply === 'done') return
    if (reply !== undefined) throw refused(message.id, reply)
    if (performance.now() > deadline) throw refused(message.id, 'silent')
    if (start(context)) await reattachAll(context, message.id)
    else await sleep(PAUSE_MS)
  }
}

function refused(id: string, reply: ResolverReply | 'silent'): TsrunError {
  const reasons = { silent: 'it does not answer', version: 'it was started by another version of tsrun' }
  const reason = reply === 'silent' || reply === 'version' ? reasons[reply] : `it says "${reply}"`
  return new TsrunError(
    'system',
    'resolver',
    `cannot give container ${id.slice(0, 12)} its names: tsrun-dns: ${reason}`,
    { hint: '`tsrun doctor` shows whether it runs; it is started again when it is killed' },
  )
}

async function untilEnded(folder: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!removeDeadFolder(folder) && performance.now() < deadline) await sleep(PAUSE_MS)
}

function namesText(context: EngineContext, { name, spec }: Container, endpoints: readonly Endpoint[]): string {
  const networks = context.networks.list()
  const text = buildNamesText({
    endpoints,
    networks,
    namelessId: networks.find(network => network.name === DEFAULT_NETWORK)?.id,
    servers: chosenServers(spec, endpoints),
    host: hostAddresses(networks, endpoints),
  })
  if (text.length <= MAX_TEXT_BYTES) return text
  throw new TsrunError('invalid', 'too-many-names', `cannot give "${name}" its names: they are longer than 64 KiB`, {
    hint: 'give it fewer aliases',
  })
}
