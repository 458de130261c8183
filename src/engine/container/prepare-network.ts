// The network side of a start: which namespace the container gets, and its endpoints in the order the user gave.

import { closeSync, readFileSync } from 'node:fs'
import { bringLoopbackUp } from '../../drivers/network/none-driver.ts'
import { createNetns } from '../../kernel/netns.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container, NetworkAttachment } from '../../model/container.ts'
import { checkDriversOptions } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import { shortId } from '../ids.ts'
import { endpointId, reserveEndpoint } from '../network/connect-sandbox.ts'
import { DEFAULT_NETWORK } from '../network/network-service.ts'
import {
  type EndpointPlan,
  planEndpoints,
  type ResolvedAttachment,
  standsAlone,
  staticIps,
} from '../network/plan-endpoints.ts'
import { checkProxiedPorts, kernelPorts, onHostAddresses } from '../network/port-routes.ts'
import { checkFamilies, withNames } from '../network/reservations.ts'
import { emitConnection } from './container-events.ts'
import { chooseHostPorts } from './host-ports.ts'
import { sharedNamespaces, sharedNetns } from './shared-namespaces.ts'

export interface PreparedNetwork {
  /** The new network namespace, or undefined where the container shares another one. */
  readonly netnsFd: number | undefined
  readonly namespaces: OciSpec['linux']['namespaces']
  readonly endpoints: readonly Endpoint[]
  /** Of the endpoints' networks. */
  readonly networkNames: readonly string[]
  readonly hostname: string
  /** Whether a server on one of the networks leases the address: then plug() needs the container's first process. */
  readonly hasLeases: boolean
  /**
   * Makes links, routes, rules and ports. Apart from the rest because it needs nothing but the namespace: it is done while
   * tsrun-init sets up the file systems.
   * @param pid the first process, where there are leases: they last as long as it does
   * @returns the endpoints with what was leased
   */
  plug(undo: Undo, pid?: number): Promise<readonly Endpoint[]>
  /** The container is on record as running: whoever made the rules anew until now may have left its ports out. */
  confirm(): Promise<void>
  /** The descriptor has been handed over: closes ours. */
  released(): void
}

const nothingToPlug = async () => []
const nothingToConfirm = async () => {}

/** @param takeNetns gives a network namespace that was made already; the default is a new one */
export async function prepareNetwork(
  context: EngineContext,
  container: Container,
  undo: Undo,
  takeNetns?: () => number,
): Promise<PreparedNetwork> {
  const { spec } = container
  const attachments = spec.networks?.length ? spec.networks : [{ network: DEFAULT_NETWORK }]
  const [first] = attachments
  const mode = first?.network ?? DEFAULT_NETWORK
  const hostname = spec.hostname ?? shortId(container.id)
  const namespaces = sharedNamespaces(context, container)

  if (mode === 'host') {
    const own = spec.hostname ?? readFileSync('/proc/sys/kernel/hostname', 'utf8').trim()
    return {
      netnsFd: undefined,
      namespaces,
      endpoints: [],
      networkNames: [],
      hostname: own,
      hasLeases: false,
      plug: nothingToPlug,
      confirm: nothingToConfirm,
      released: () => {},
    }
  }
  const shared = sharedNetns(context, container, mode)
  if (shared !== undefined) {
    return {
      netnsFd: undefined,
      namespaces: [...namespaces, { type: 'network', path: shared }],
      endpoints: [],
      networkNames: [],
      hostname,
      hasLeases: false,
      plug: nothingToPlug,
      confirm: nothingToConfirm,
      released: () => {},
    }
  }
  const plans =
    mode === 'none' && attachments.length === 1 ? [] : planEndpoints(await findNetworks(context, attachments))
  const fd = takeNetns?.() ?? newNetns(container.name)
  let open = true
  const release = () => {
    if (!open) return
    open = false
    closeSync(fd)
  }
  undo.add('network namespace', release)
  const sandbox: Sandbox = { netnsFd: fd }
  const endpoints: Endpoint[] = []
  for (const plan of plans) endpoints.push(await reserve(context, container, plan, undo))
  const plug = async (undo: Undo, pid?: number) => {
    const plugged: Endpoint[] = []
    if (plans.length === 0) bringLoopbackUp(sandbox, container.name)
    for (const [index, plan] of plans.entries()) {
      const endpoint = endpoints[index]
      if (endpoint === undefined) continue
      assertMacFree(context, container, plan)
      await plugEndpoint(context, plan.network, { endpoint, sandbox, undo })
      plugged.push(await leaseFor(context, container, { plan, endpoint, sandbox, pid }, undo))
      emitConnection(context, container, plan.network, 'connect')
    }
    if (plans.length > 1) {
      const { settleWays } = await import('../network/source-ways.ts')
      const networks = plans.map(({ network }) => network)
      await settleWays(sandbox, { endpoints: plugged, networks, label: container.name })
      undo.add('source routes', () => {})
    }
    return plugged
  }
  const confirm = async () => {
    for (const [index, { network }] of plans.entries()) {
      const endpoint = endpoints[index]
      if (endpoint === undefined || endpoint.ports.length === 0) continue
      await (await context.drivers(network.driver)).firewall.confirmEndpoint(network, kernelPorts(endpoint))
    }
  }
  return {
    netnsFd: fd,
    confirm,
    namespaces: [...namespaces, { type: 'network' }],
    endpoints,
    networkNames: plans.map(({ network }) => network.name),
    hostname,
    hasLeases: plans.some(({ network }) => network.isLeased === true),
    plug,
    released: release,
  }
}

function newNetns(label: string): number {
  const { fd, socket } = createNetns(label)
  socket.close()
  return fd
}

/** Takes the addresses of one endpoint. @returns it, for the record; nothing of it is in the kernel yet */
export async function reserve(
  context: EngineContext,
  container: Container,
  plan: EndpointPlan,
  undo: Undo,
): Promise<Endpoint> {
  const { network, attachment, containerInterface, defaultRoutes, hasPorts } = plan
  const drivers = await context.drivers(network.driver)
  if (network.isLeased === true) assertLeasable(container, network, { attachment, hasPorts })
  // The network may have been made since the container was created.
  checkFamilies(network, attachment)
  checkDriversOptions(network, drivers.driver, attachment.driverOptions)
  const { mac, aliases, linkLocalIps, driverOptions } = attachment
  assertMacFree(context, container, plan)
  const { hostname } = container.spec
  const preferred = container.lastAddresses?.[network.id]
  const request = {
    network,
    container,
    hostInterface: context.hostInterfaceOf(endpointId(container.id, network.id)),
    containerInterface,
    defaultRoutes,
    ips: staticIps(attachment),
    ...(preferred === undefined ? {} : { preferred }),
    ...(mac === undefined ? {} : { mac }),
    ...(aliases === undefined ? {} : { aliases }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(linkLocalIps === undefined ? {} : { linkLocalIps }),
    ...(driverOptions === undefined ? {} : { options: driverOptions }),
    ports: hasPorts ? onHostAddresses(chooseHostPorts(context, container), network) : [],
  }
  const endpoint = await context
    .retryAfterReconcile(() => reserveEndpoint(drivers, request, undo))
    .catch((error: unknown) => {
      throw withNames(context, error)
    })
  checkProxiedPorts(network, endpoint)
  return endpoint
}

/**
 * The bridge would send what is for one of the two to whoever of them spoke last. Asked once more when the container's own endpoint
 * is on record: of two that ask at the same time, one finds the other there.
 * @throws TsrunError conflict where the user has chosen a MAC address that another one has
 */
export function assertMacFree(
  { store }: EngineContext,
  container: Container,
  { network, attachment: { mac } }: EndpointPlan,
): void {
  if (mac === undefined) return
  const others = store.runningIds().filter(id => id !== container.id)
  const owner = others
    .flatMap(id => store.readRun(id)?.endpoints ?? [])
    .find(endpoint => endpoint.networkId === network.id && endpoint.mac === mac)
  if (owner === undefined) return
  const message = `cannot use the MAC address ${mac} for "${container.name}": "${owner.containerName}" has it on network "${network.name}"`
  throw new TsrunError('conflict', 'mac-taken', message, { hint: 'choose another one, or none and let tsrun make one' })
}

/**
 * Waits until a server has granted the endpoint an address, on a network that is so.
 * @returns the endpoint with what was granted @throws TsrunError unavailable
 */
export async function leaseFor(
  context: EngineContext,
  container: Container,
  place: { plan: EndpointPlan; endpoint: Endpoint; sandbox: Sandbox; pid: number | undefined },
  undo: Undo,
): Promise<Endpoint> {
  const { plan, endpoint, sandbox, pid } = place
  const { network, attachment, defaultRoutes } = plan
  if (network.isLeased !== true || pid === undefined) return endpoint
  const { takeLease } = await import('../network/leases.ts')
  const [wanted] = staticIps(attachment)
  const wish = wanted === undefined ? {} : { wanted }
  return takeLease(context, container, { network, endpoint, sandbox, pid, defaultRoutes, ...wish }, undo)
}

/** Makes an endpoint's links, routes, rules and ports. @throws TsrunError, SyscallError */
export async function plugEndpoint(
  context: EngineContext,
  network: Network,
  { endpoint, sandbox, undo }: { endpoint: Endpoint; sandbox: Sandbox; undo: Undo },
): Promise<void> {
  const { driver, firewall } = await context.drivers(network.driver)
  const join = async () => {
    // It may have been removed since it was looked up; from our record on nobody removes it.
    context.networks.assertThere(network)
    await driver.connect(network, endpoint, sandbox, undo)
    await context.retryAfterReconcile(() => firewall.addEndpoint(network, kernelPorts(endpoint), undo))
  }
  try {
    await context.locks.withNetwork(network.name, join, { shared: true })
  } catch (error) {
    if (!(error instanceof TsrunError) || error.code !== 'network-full') throw error
    const wider = await context.networks.extend(network)
    if (wider === undefined) throw error
    await plugEndpoint(context, wider, { endpoint, sandbox, undo })
  }
}

/** @throws TsrunError invalid for what needs addresses that are known beforehand */
function assertLeasable(
  { name, ports }: Container,
  network: Network,
  { attachment, hasPorts }: Pick<EndpointPlan, 'attachment' | 'hasPorts'>,
): void {
  const why = `a server leases its address on network "${network.name}"`
  if (staticIps(attachment).some(address => address.includes(':')))
    throw new TsrunError('invalid', 'cannot-lease', `cannot give "${name}" an IPv6 address of its own: ${why}`, {
      hint: 'leave it out: only IPv4 addresses are leased',
    })
  if (hasPorts && ports.length > 0)
    throw new TsrunError('invalid', 'cannot-publish', `cannot publish ports of "${name}": ${why}`, {
      hint: 'its ports are reached at that address without -p; or put a bridge network first: --network br -p .. --network lan',
    })
}

/** @throws TsrunError not-found, invalid (one twice, or one of those that stand alone) */
async function findNetworks(
  context: EngineContext,
  attachments: readonly NetworkAttachment[],
): Promise<ResolvedAttachment[]> {
  const found: ResolvedAttachment[] = []
  for (const attachment of attachments) {
    if (standsAlone(attachment.network))
      throw new TsrunError(
        'invalid',
        'network-mode',
        `cannot join "${attachment.network}" together with other networks`,
        {
          hint: '`host`, `none`, `container:NAME` and `ns:PATH` stand alone',
        },
      )
    const network = await findNetwork(context, attachment.network)
    if (found.some(other => other.network.id === network.id))
      throw new TsrunError('invalid', 'network-twice', `cannot join network "${network.name}" twice`)
    found.push({ attachment, network })
  }
  return found
}

/** @throws TsrunError not-found */
export async function findNetwork(context: EngineContext, reference: string): Promise<Network> {
  const isDefault = reference === DEFAULT_NETWORK || reference === 'default'
  return isDefault ? context.networks.ensureDefault() : context.networks.find(reference)
}
