// The network side of a start: which namespace the container gets, and its endpoints in the order the user gave.

import { closeSync, readFileSync } from 'node:fs'
import { bringLoopbackUp } from '../../drivers/network/none-driver.ts'
import { createNetns } from '../../kernel/netns.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container, NetworkAttachment } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, PortMapping, Sandbox } from '../../model/network.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import { shortId } from '../ids.ts'
import { endpointId, reserveEndpoint } from '../network/connect-sandbox.ts'
import { DEFAULT_NETWORK } from '../network/network-service.ts'
import { checkProxiedPorts, kernelPorts, onHostAddresses } from '../network/port-routes.ts'
import { emitConnection } from './container-events.ts'
import { chooseHostPorts } from './host-ports.ts'

export interface PreparedNetwork {
  /** The new network namespace, or undefined where the container shares another one. */
  readonly netnsFd: number | undefined
  readonly namespaces: OciSpec['linux']['namespaces']
  readonly endpoints: readonly Endpoint[]
  readonly hostname: string
  /**
   * Makes links, routes, rules and ports. Apart from the rest because it needs nothing but the namespace: it is done while
   * tsrun-init sets up the file systems.
   */
  plug(undo: Undo): Promise<void>
  /** The descriptor has been handed over: closes ours. */
  released(): void
}

const nothingToPlug = async () => {}

export async function prepareNetwork(
  context: EngineContext,
  container: Container,
  undo: Undo,
): Promise<PreparedNetwork> {
  const { spec } = container
  const attachments = spec.networks?.length ? spec.networks : [{ network: DEFAULT_NETWORK }]
  const [first] = attachments
  const mode = first?.network ?? DEFAULT_NETWORK
  const hostname = spec.hostname ?? shortId(container.id)
  const namespaces = sharedNamespaces(context, container)

  if (mode === 'host') {
    const own = spec.hostname ?? readFileSync('/proc/sys/kernel/hostname', 'utf8').trim()
    return { netnsFd: undefined, namespaces, endpoints: [], hostname: own, plug: nothingToPlug, released: () => {} }
  }
  if (mode.startsWith('container:')) {
    const path = namespaceOf(context, mode.slice('container:'.length), 'net', container.name)
    return {
      netnsFd: undefined,
      namespaces: [...namespaces, { type: 'network', path }],
      endpoints: [],
      hostname,
      plug: nothingToPlug,
      released: () => {},
    }
  }
  const networks = mode === 'none' ? [] : await findNetworks(context, attachments)
  const ports = networks.length === 0 ? [] : chooseHostPorts(context, container)
  const { fd, socket } = createNetns(container.name)
  socket.close()
  let open = true
  const release = () => {
    if (!open) return
    open = false
    closeSync(fd)
  }
  undo.add('network namespace', release)
  const sandbox: Sandbox = { netnsFd: fd }
  const endpoints = await reserveAll(context, container, { networks, attachments, ports }, undo)
  const plug = async (undo: Undo) => {
    if (networks.length === 0) bringLoopbackUp(sandbox, container.name)
    for (const [index, network] of networks.entries()) {
      const endpoint = endpoints[index]
      if (endpoint === undefined) continue
      await plugEndpoint(context, network, { endpoint, sandbox, undo })
      emitConnection(context, container, network, 'connect')
    }
  }
  return { netnsFd: fd, namespaces: [...namespaces, { type: 'network' }], endpoints, hostname, plug, released: release }
}

interface NetworkPlan {
  readonly networks: readonly Network[]
  readonly attachments: readonly NetworkAttachment[]
  readonly ports: readonly PortMapping[]
}

async function reserveAll(
  context: EngineContext,
  container: Container,
  plan: NetworkPlan,
  undo: Undo,
): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = []
  for (const [index, network] of plan.networks.entries()) {
    const drivers = await context.drivers(network.driver)
    const attachment = plan.attachments[index]
    const request = {
      network,
      container,
      hostInterface: context.hostInterfaceOf(endpointId(container.id, network.id)),
      containerInterface: `eth${index}`,
      isDefaultRoute: index === 0,
      ...(attachment?.ip === undefined ? {} : { ip: attachment.ip }),
      ...(attachment?.mac === undefined ? {} : { mac: attachment.mac }),
      // Ports lead to the container's first network: its default route answers through it.
      ports: index === 0 ? onHostAddresses(plan.ports, network) : [],
    }
    const reserve = () => context.retryAfterReconcile(() => reserveEndpoint(drivers, request, undo))
    const endpoint = await reserve().catch((error: unknown) => {
      throw withNames(context, error)
    })
    checkProxiedPorts(network, endpoint)
    endpoints.push(endpoint)
  }
  return endpoints
}

/** IPAM knows owners by id: here they get their names. */
function withNames(context: EngineContext, error: unknown): unknown {
  if (!(error instanceof TsrunError)) return error
  const isNetwork = (id: string) => context.networks.list().some(network => network.id === id)
  // What a network keeps from its containers is the host's.
  const nameOf = (id: string) => context.store.read(id)?.name ?? (isNetwork(id) ? 'the host' : shortId(id))
  const message = error.message.replace(/[0-9a-f]{64}/, nameOf)
  return new TsrunError(error.kind, error.code, message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  })
}

async function plugEndpoint(
  context: EngineContext,
  network: Network,
  { endpoint, sandbox, undo }: { endpoint: Endpoint; sandbox: Sandbox; undo: Undo },
): Promise<void> {
  const { driver, firewall } = await context.drivers(network.driver)
  const join = async () => {
    // It may have been removed since it was looked up; from our record on nobody removes it.
    context.networks.find(network.id)
    await driver.connect(network, endpoint, sandbox, undo)
    await context.retryAfterReconcile(() => firewall.addEndpoint(network, kernelPorts(endpoint), undo))
  }
  await context.locks.withNetwork(network.name, join, { shared: true })
}

async function findNetworks(context: EngineContext, attachments: readonly NetworkAttachment[]): Promise<Network[]> {
  const networks: Network[] = []
  for (const { network } of attachments) {
    if (network === 'host' || network === 'none' || network.startsWith('container:'))
      throw new TsrunError('invalid', 'network-mode', `cannot join "${network}" together with other networks`, {
        hint: '`host`, `none` and `container:NAME` stand alone',
      })
    const found =
      network === DEFAULT_NETWORK || network === 'default'
        ? await context.networks.ensureDefault()
        : context.networks.find(network)
    if (networks.some(other => other.id === found.id))
      throw new TsrunError('invalid', 'network-twice', `cannot join network "${network}" twice`)
    networks.push(found)
  }
  return networks
}

/** pid, ipc, uts and the others: new ones, but for those the user shares with the host or another container. */
function sharedNamespaces(context: EngineContext, container: Container): OciSpec['linux']['namespaces'] {
  const { pidMode, ipcMode, utsMode } = container.spec
  const wanted = [
    ['pid', 'pid', pidMode],
    ['ipc', 'ipc', ipcMode],
    ['uts', 'uts', utsMode],
  ] as const
  const shared = wanted.flatMap(([type, file, mode]) => {
    if (mode === 'host') return []
    if (mode?.startsWith('container:'))
      return [{ type, path: namespaceOf(context, mode.slice('container:'.length), file, container.name) }]
    return [{ type }]
  })
  return [...shared, { type: 'mount' }, { type: 'cgroup' }]
}

function namespaceOf(context: EngineContext, reference: string, file: string, name: string): string {
  const other = context.store.find(reference)
  const { status, run } = context.store.state(other.id)
  if (status === 'running' && run !== undefined) return `/proc/${run.pid}/ns/${file}`
  throw new TsrunError(
    'conflict',
    'not-running',
    `cannot start "${name}" in the ${file} namespace of "${other.name}": that container is not running`,
    {
      hint: `start it first: tsrun start ${other.name}`,
    },
  )
}
