// Addresses that a server on the network grants for a time: taken when the container's link is up, followed while it runs, given back
// when it leaves. Loaded only for containers on such networks.

import { moveDefaultRoutes } from '../../drivers/network/default-routes.ts'
import { followLease } from '../../drivers/network/leased-interface.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { LeaseRequest } from '../../model/ipam.ts'
import type { Lease } from '../../model/lease.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'
import { withSandbox } from '../container/container-netns.ts'
import type { EngineContext } from '../context.ts'
import { withoutPrefix } from './address-text.ts'
import { lostLeases } from './lost-leases.ts'

interface Place {
  readonly network: Network
  readonly endpoint: Endpoint
  readonly sandbox: Sandbox
  /** The container's first process. */
  readonly pid: number
}

/** Waits for a lease and gives it to the interface. @returns the endpoint with what was granted @throws TsrunError unavailable */
export async function takeLease(
  context: EngineContext,
  container: Container,
  place: Place & { readonly wanted?: string; readonly defaultRoutes: readonly (4 | 6)[] },
  undo: Undo,
): Promise<Endpoint> {
  const { network, endpoint, sandbox, wanted } = place
  const driver = await context.ipamDriver(network.ipamDriver)
  const request = requestOf(container, place)
  const lease = await driver.openLease?.(wanted === undefined ? request : { ...request, preferred: wanted }, undo)
  if (lease === undefined) return endpoint
  followLease(endpoint, sandbox, { before: undefined, after: lease })
  const leased = withLease(endpoint, lease, place.defaultRoutes.includes(4) && !network.internal)
  moveDefaultRoutes(sandbox, [], [leased], container.name)
  // They go with the interface.
  undo.add('leased address', () => {})
  // Only now: without the address it could not be given back.
  if (wanted !== undefined && withoutPrefix(lease.address) !== wanted)
    throw notGranted(endpoint, { network, lease, wanted })
  return leased
}

/** The endpoint as a lease makes it. @param isWayOut whether the container's default route leads through it */
export function withLease(endpoint: Endpoint, lease: Lease | undefined, isWayOut: boolean): Endpoint {
  const { lease: _old, ...rest } = endpoint
  if (lease === undefined) return { ...rest, addresses: [], gateways: [] }
  const gateways = isWayOut && lease.gateway !== undefined ? [lease.gateway] : []
  return { ...rest, addresses: [lease.address], gateways, lease }
}

/**
 * Brings the interfaces of a running container in line with what is granted now. Idempotent.
 * @returns its endpoints as they are then @throws SyscallError
 */
export async function followLeases(
  context: EngineContext,
  { endpoints }: RunRecord,
  { networks, sandbox }: { readonly networks: readonly Network[]; readonly sandbox: Sandbox },
): Promise<Endpoint[]> {
  const followed: Endpoint[] = []
  for (const endpoint of endpoints) {
    const network = networks.find(({ id, isLeased }) => id === endpoint.networkId && isLeased === true)
    const driver = network === undefined ? undefined : await context.ipamDriver(network.ipamDriver)
    if (driver?.readLease === undefined) {
      followed.push(endpoint)
      continue
    }
    const lease = driver.readLease(endpoint)
    followLease(endpoint, sandbox, { before: endpoint.lease, after: lease })
    followed.push(withLease(endpoint, lease, endpoint.gateways.length > 0))
  }
  return followed
}

/** Gives an endpoint's lease back. Idempotent. */
export async function closeLease(context: Pick<EngineContext, 'ipamDriver'>, network: Network, endpointId: string) {
  const driver = await context.ipamDriver(network.ipamDriver)
  await driver.closeLease?.({ id: endpointId })
}

/** The container and the network that an endpoint joins, by its id; undefined where one of them is gone. */
export function endpointParties(
  { store, networks }: Pick<EngineContext, 'store' | 'networks'>,
  endpointId: string,
): { readonly containerId: string; readonly network: Network } | undefined {
  const [ofContainer, ofNetwork] = [endpointId.slice(0, 32), endpointId.slice(32)]
  const containerId = [...store.runningIds()].find(id => id.startsWith(ofContainer))
  const network = networks.list().find(({ id }) => id.startsWith(ofNetwork))
  return containerId === undefined || network === undefined || ofNetwork === '' ? undefined : { containerId, network }
}

/** Leases whose keeper has died: it is started again for containers that run, and what is left of the others is removed. */
export async function healLeases(context: EngineContext): Promise<void> {
  for (const endpointId of lostLeases(context)) {
    const parties = endpointParties(context, endpointId)
    if (parties === undefined) {
      const { removeDeadFolder } = await import('../../kernel/life-lock.ts')
      removeDeadFolder(`${context.paths.leases}/${endpointId}`)
      continue
    }
    await context.locks.withContainer(parties.containerId, () => healLease(context, { ...parties, endpointId }))
  }
}

async function healLease(
  context: EngineContext,
  { containerId, network, endpointId }: { containerId: string; network: Network; endpointId: string },
): Promise<void> {
  const container = context.store.read(containerId)
  const { status, run } = context.store.state(containerId)
  const endpoint = run?.endpoints.find(({ id }) => id === endpointId)
  const lives = status === 'running' || status === 'paused'
  if (container === undefined || run === undefined || endpoint === undefined || !lives)
    return closeLease(context, network, endpointId)
  const driver = await context.ipamDriver(network.ipamDriver)
  await withSandbox(container, run, async sandbox => {
    await driver.keepLease?.(requestOf(container, { network, endpoint, sandbox, pid: run.pid }))
  })
}

function notGranted(
  endpoint: Endpoint,
  { network, lease, wanted }: { network: Network; lease: Lease; wanted: string },
): TsrunError {
  return new TsrunError(
    'conflict',
    'address-not-granted',
    `cannot lease "${endpoint.containerName}" the address ${wanted} on network "${network.name}": the server ${lease.server} grants ${withoutPrefix(lease.address)}`,
    { hint: 'leave --ip out, or have the server reserve that address for this container' },
  )
}

function requestOf(container: Container, { network, endpoint, sandbox, pid }: Place): LeaseRequest {
  const current = endpoint.addresses[0]
  const preferred = current === undefined ? container.lastAddresses?.[network.id]?.[0] : withoutPrefix(current)
  const hostname = container.spec.hostname ?? container.name
  return { network, endpoint, sandbox, pid, hostname, ...(preferred === undefined ? {} : { preferred }) }
}
