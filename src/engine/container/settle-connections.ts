// Brings a running container's connections in line with its record. Crash-safe by one rule: what the record (container.json)
// says is meant. A connection goes on record last and off it first, and whatever else the run record (run.json) names then is
// half made or half gone, and is cleared away by settleNow().

import { isRouted } from '../../drivers/firewall/network-elements.ts'
import { moveDefaultRoutes } from '../../drivers/network/default-routes.ts'
import { type Undo, withRollback } from '../../lib/rollback.ts'
import type { Container, NetworkAttachment, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping, Sandbox } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { familyOf, withoutPrefix } from '../network/address-text.ts'
import { disconnectSandbox, gatewaysOf } from '../network/connect-sandbox.ts'
import { DEFAULT_NETWORK } from '../network/network-service.ts'
import { type EndpointPlan, planEndpoints, type ResolvedAttachment, standsAlone } from '../network/plan-endpoints.ts'
import { checkProxiedPorts, type HeldPort, heldPorts, onHostAddresses } from '../network/port-routes.ts'
import { reservedAddresses } from '../network/reservations.ts'
import { settleWays } from '../network/source-ways.ts'
import { removeStrayPorts, withdrawAgain } from '../network/stray-ports.ts'
import { emitConnection } from './container-events.ts'
import { withSandbox } from './container-netns.ts'
import { movePorts } from './live-ports.ts'
import { updateHosts } from './update-hosts.ts'
import { updateResolvConf } from './update-resolv-conf.ts'

/**
 * Brings a container's endpoints and addresses in line with its record, whatever was cut off. Idempotent; the caller holds
 * the container's lock.
 */
export async function settleNow(context: EngineContext, id: string, repair?: Repair): Promise<void> {
  const container = context.store.read(id)
  const run = context.store.liveRun(id)
  if (container === undefined) return
  if (run === undefined) {
    // A static address that it was just about to get, or to lose.
    if (repair !== undefined) await releaseStrays(context, container)
    return
  }
  const attachments = attachmentsOf(container)
  const known = resolve(context, attachments)
  await withSandbox(container, run, async sandbox => {
    const surplus = run.endpoints.filter(({ networkId }) => !known.some(({ network }) => network.id === networkId))
    // Its rules and its way out go before the link.
    const kept = { ...run, endpoints: run.endpoints.filter(endpoint => !surplus.includes(endpoint)) }
    for (const endpoint of surplus) await leave(context, container, endpoint, sandbox)
    const followed = known.some(({ network }) => network.isLeased === true)
      ? await withLeases(context, kept, { networks: known.map(({ network }) => network), sandbox })
      : kept
    await withRollback(undo =>
      settle(
        context,
        container,
        {
          run: followed,
          before: run,
          plans: planEndpoints(freezeNames(known, run)),
          sandbox,
          ...(repair === undefined ? {} : { repair }),
        },
        undo,
      ),
    )
    // They were on record until now.
    await withdrawAgain(context, container, surplus)
  })
  if (repair !== undefined) await removeStrayPorts(context)
  await releaseStrays(context, container)
}

/** What is leased may have changed. */
async function withLeases(
  context: EngineContext,
  run: RunRecord,
  place: { readonly networks: readonly Network[]; readonly sandbox: Sandbox },
): Promise<RunRecord> {
  const { followLeases } = await import('../network/leases.ts')
  return { ...run, endpoints: await followLeases(context, run, place) }
}

async function leave(
  context: EngineContext,
  container: Container,
  endpoint: Endpoint,
  sandbox: Sandbox,
): Promise<void> {
  const network = context.networks.ofEndpoint(endpoint, container)
  if (network === undefined) return
  const keepAddresses = reservedAddresses(container)
  await disconnectSandbox(await context.drivers(network.driver), network, endpoint, {
    sandboxGone: false,
    sandbox,
    keepAddresses,
  })
  emitConnection(context, container, network, 'disconnect')
}

interface Settling {
  /** What the endpoints are, without those that have left. */
  readonly run: RunRecord
  /** What was recorded until now. Default: `run`. */
  readonly before?: RunRecord
  readonly plans: readonly EndpointPlan[]
  readonly sandbox: Sandbox
  readonly repair?: Repair
  readonly note?: PortNote
}

/** After a crash: the records say nothing of what stands. */
export interface Repair {
  /** Host ports that the monitor may hold though no record has them. */
  readonly strayPorts: readonly HeldPort[]
}

/**
 * Moves default routes and ports to where the plan has them, and writes the run record. Only the record has an inverse: what
 * else was changed follows it, see changeConnections().
 */
export async function settle(
  context: EngineContext,
  container: Container,
  { run, before = run, plans, sandbox, repair, note }: Settling,
  undo: Undo,
): Promise<void> {
  const settled = run.endpoints.map(endpoint => planned(container, endpoint, plans))
  // First: the firewall makes its rules anew from the records when it finds them gone.
  writeRun(context, container, { ...run, endpoints: settled }, before, undo)
  const everyWay = settled.map(endpoint => ({ ...endpoint, gateways: gatewaysInReach(endpoint, plans) }))
  moveDefaultRoutes(sandbox, everyWay, settled, container.name)
  undo.add('move default route', () => {})
  await settleWays(sandbox, {
    endpoints: settled,
    networks: plans.map(({ network }) => network),
    label: container.name,
  })
  undo.add('source routes', () => {})
  note?.(settled.flatMap(heldPorts))
  await movePorts(
    context,
    container,
    { before: before.endpoints, after: settled, ...(repair === undefined ? {} : { repair }) },
    undo,
  )
  updateHosts(context, container, before.endpoints, settled)
  updateResolvConf(context, container, before.endpoints, settled)
  undo.add('hosts file', () => {})
  const { updateNames } = await import('../dns/serve-names.ts')
  await updateNames(context, container, { ...run, endpoints: settled })
  undo.add('names', () => {})
}

/** The gateways of the endpoint's network, whether or not they are its way out. */
function gatewaysInReach(endpoint: Endpoint, plans: readonly EndpointPlan[]): string[] {
  const network = plans.find(plan => plan.network.id === endpoint.networkId)?.network
  const leased = endpoint.lease?.gateway
  return [
    ...endpoint.gateways,
    ...(network?.pools ?? []).map(pool => pool.gateway),
    ...(leased === undefined ? [] : [leased]),
  ]
}

function planned(container: Container, endpoint: Endpoint, plans: readonly EndpointPlan[]): Endpoint {
  const plan = plans.find(({ network }) => network.id === endpoint.networkId)
  if (plan === undefined) return endpoint
  const families = new Set(endpoint.gateways.map(familyOf))
  const isSame = families.size === plan.defaultRoutes.length && plan.defaultRoutes.every(family => families.has(family))
  const changed = {
    ...endpoint,
    gateways: isSame ? endpoint.gateways : gatewaysOf(plan.network, plan.defaultRoutes, endpoint.lease),
    ports: leadsPorts(plan, endpoint) ? onHostAddresses(container.ports, plan.network) : [],
  }
  checkProxiedPorts(plan.network, changed)
  return changed
}

/** A network that cannot have ports, such as macvlan, does not get them when the one that had them is left. */
function leadsPorts({ hasPorts, network }: EndpointPlan, endpoint: Endpoint): boolean {
  return hasPorts && (isRouted(network) || endpoint.ports.length > 0)
}

/** Addresses that the container holds on networks that it is not on: taken by a connection that was cut off. */
async function releaseStrays(context: EngineContext, container: Container): Promise<void> {
  const { store, ipam } = context
  const held = new Set([
    ...reservedAddresses(container),
    ...(store.readRun(container.id)?.endpoints ?? []).flatMap(({ addresses }) => addresses.map(withoutPrefix)),
  ])
  for (const network of context.networks.list())
    for (const pool of network.pools)
      for (const { address, owner } of await ipam.listAddresses(pool))
        if (owner === container.id && !held.has(address)) await ipam.releaseAddress(pool, address, owner)
}

/** Notes the host ports that are about to be held, for whoever has to let go of them again. */
export type PortNote = (ports: readonly HeldPort[]) => void

/**
 * Brings a running container's endpoints in line with `container`, which is not on record yet.
 * @param change added: the ports that are new
 * @throws TsrunError invalid where none of its networks can have the ports
 */
export async function settleWith(
  context: EngineContext,
  container: Container,
  run: RunRecord,
  { undo, note, added }: { readonly undo: Undo; readonly note: PortNote; readonly added: readonly PortMapping[] },
): Promise<void> {
  const plans = planEndpoints(freezeNames(resolve(context, attachmentsOf(container)), run))
  await assertPublishable(context, run, plans, added)
  await withSandbox(container, run, sandbox => settle(context, container, { run, plans, sandbox, note }, undo))
}

/** Asks the driver, as a start does. */
async function assertPublishable(
  context: EngineContext,
  run: RunRecord,
  plans: readonly EndpointPlan[],
  added: readonly PortMapping[],
): Promise<void> {
  const plan = plans.find(({ hasPorts }) => hasPorts)
  const endpoint = run.endpoints.find(({ networkId }) => networkId === plan?.network.id)
  if (added.length === 0 || plan === undefined || endpoint === undefined || isRouted(plan.network)) return
  const { driver } = await context.drivers(plan.network.driver)
  const ports = onHostAddresses(added, plan.network)
  await driver.prepareEndpoint?.(plan.network, { ...endpoint, ports })
}

/**
 * Runs `change` alone, entered in the journal, undone when it fails.
 * @param change its `note` keeps the host ports that are taken on the way, for whoever cleans up after a crash
 */
export async function changeConnections(
  context: EngineContext,
  { id, name }: Container,
  change: (current: Container, undo: Undo, note: PortNote) => Promise<void>,
): Promise<void> {
  await context.locks.withContainer(id, async () => {
    const current = context.store.read(id)
    if (current === undefined) throw new TsrunError('not-found', 'no-such-container', `no such container: "${name}"`)
    // Somebody was cut off while we waited for the lock: the next command would see to it, but what is planned here builds on it.
    if (isUnsettled(context, current)) await settleNow(context, id, { strayPorts: [] })
    const job = context.journal.begin('connection', id)
    let strayPorts: readonly HeldPort[] = []
    const note = (ports: readonly HeldPort[]) => {
      strayPorts = ports
      job.note(JSON.stringify(ports))
    }
    try {
      await withRollback(async undo => {
        undo.add('connection job', () => {})
        await change(current, undo, note)
      })
      job.end()
    } catch (error) {
      // Records and links are as they were; routes and ports follow the records, as after a crash.
      await settleNow(context, id, { strayPorts }).then(job.end, job.abandon)
      throw error
    }
  })
}

/** Whether it runs with an endpoint that is not on its record: one half made, or half gone. */
function isUnsettled(context: EngineContext, container: Container): boolean {
  const known = resolve(context, attachmentsOf(container)).map(({ network }) => network.id)
  const endpoints = context.store.liveRun(container.id)?.endpoints ?? []
  return endpoints.some(({ networkId }) => !known.includes(networkId))
}

export function attachmentsOf({ spec }: Container): readonly NetworkAttachment[] {
  return spec.networks?.length ? spec.networks : [{ network: DEFAULT_NETWORK }]
}

/** Those attachments whose network is there: one may have been removed while the container was stopped. */
export function resolve(context: EngineContext, attachments: readonly NetworkAttachment[]): ResolvedAttachment[] {
  return attachments.flatMap(attachment => {
    const network = networkNamed(context, attachment.network)
    return network === undefined ? [] : [{ attachment, network }]
  })
}

export function networkNamed(context: EngineContext, reference: string): Network | undefined {
  if (standsAlone(reference)) return undefined
  try {
    return context.networks.find(reference === 'default' ? DEFAULT_NETWORK : reference)
  } catch (error) {
    if (error instanceof TsrunError && error.kind === 'not-found') return undefined
    throw error
  }
}

/** The names that the interfaces have now, so that a restart gives them no others. */
export function freezeNames(known: readonly ResolvedAttachment[], run: RunRecord): ResolvedAttachment[] {
  return known.map(({ attachment, network }) => {
    const interfaceName = run.endpoints.find(({ networkId }) => networkId === network.id)?.containerInterface
    return { network, attachment: { ...attachment, ...(interfaceName === undefined ? {} : { interfaceName }) } }
  })
}

export function writeRun(
  { store }: EngineContext,
  { id }: Container,
  run: RunRecord,
  before: RunRecord,
  undo: Undo,
): void {
  undo.add('endpoint record', () => store.writeRun(id, before))
  store.writeRun(id, run)
}
