// Published ports of a running container: moved with the way out, added and withdrawn. Each port is held by the container's
// monitor, so that nobody else on the host can have it, and translated by the firewall, where the kernel can.

import { Undo } from '../../lib/rollback.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { type HeldPort, heldPorts, isSamePort, kernelPorts } from '../network/port-routes.ts'
import { changeHeldPorts } from './held-ports.ts'

/** Endpoints as they were and as they are to be. */
export interface PortMove {
  readonly before: readonly Endpoint[]
  readonly after: readonly Endpoint[]
  /** After a crash: what stands is unknown, so everything is done again, and stray ports are let go. */
  readonly repair?: { readonly strayPorts: readonly HeldPort[] }
}

/**
 * Publishes what `after` has and `before` has not, and withdraws the rest. Ports that are in both stay untouched, unless they
 * lead elsewhere. Idempotent. What was done when it fails is put right by doing it again for the old state, as a repair.
 * @throws TsrunError conflict when a port is taken
 */
export async function movePorts(
  context: EngineContext,
  container: Container,
  { before, after, repair }: PortMove,
  undo: Undo,
): Promise<void> {
  const wasHeld = [...before.flatMap(heldPorts), ...(repair?.strayPorts ?? [])]
  const isHeld = after.flatMap(heldPorts)
  const added = repair !== undefined ? isHeld : missingFrom(wasHeld, isHeld)
  const dropped = missingFrom(isHeld, wasHeld)
  const moved = after.filter(
    endpoint =>
      repair !== undefined ||
      !isSame(
        before.find(({ id }) => id === endpoint.id),
        endpoint,
      ),
  )
  if (added.length + dropped.length === 0 && moved.length === 0) return
  const socket = context.paths.runFile(container.id, 'attach.sock')
  const subject = { name: container.name, nameOf: (short: string) => nameOf(context, short) }
  // Those that only lead elsewhere are changed in one step: the host port is never free in between.
  const free = dropped.filter(port => !added.some(other => isSamePlace(other, port)))
  for (const port of added) assertNobodyElse(context, container, port)
  // Our own ::1 keeps us from having :: of the same port.
  const inTheWay = free.filter(port => added.some(other => isSamePort(other, port)))
  await changeHeldPorts(socket, subject, { hold: [], release: inTheWay })
  await changeHeldPorts(socket, subject, { hold: added, release: [] })
  undo.add('hold ports', () => {})
  for (const endpoint of moved) await withdrawAll(context, before, endpoint)
  undo.add('withdraw ports', () => {})
  for (const endpoint of moved) await publishAll(context, before, { endpoint, undo })
  undo.add('publish ports', () => {})
  await changeHeldPorts(socket, subject, { hold: [], release: free })
}

/** The kernel only says that a port is taken; where a container has it, here is its name. @throws TsrunError conflict */
function assertNobodyElse({ store }: EngineContext, { id, name }: Container, port: HeldPort): void {
  if (port.optional === true) return
  const others = store.runningIds().filter(other => other !== id)
  const owner = others.find(other =>
    store.readRun(other)?.endpoints.some(endpoint => endpoint.ports.some(theirs => isSamePort(theirs, port))),
  )
  if (owner === undefined) return
  const ownerName = store.read(owner)?.name ?? owner
  const host = port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp
  throw new TsrunError(
    'conflict',
    'port-taken',
    `cannot publish ${host}:${port.hostPort}/${port.protocol} for "${name}": the port is published by container "${ownerName}"`,
    { hint: `choose another host port, or stop "${ownerName}": tsrun stop ${ownerName}` },
  )
}

/** Takes everything out of the firewall of an endpoint that is to have nothing there. */
async function withdrawAll(context: EngineContext, before: readonly Endpoint[], endpoint: Endpoint): Promise<void> {
  const old = before.find(({ id }) => id === endpoint.id)
  const network = networkOf(context, endpoint)
  if (old === undefined || network === undefined || kernelPorts(endpoint).ports.length > 0) return
  const { firewall } = await context.drivers(network.driver)
  await firewall.removeEndpoint(network, kernelPorts(old))
}

/** Exchanges what the firewall has of an endpoint for what it is to have, in one transaction. */
async function publishAll(
  context: EngineContext,
  before: readonly Endpoint[],
  { endpoint, undo }: { readonly endpoint: Endpoint; readonly undo: Undo },
): Promise<void> {
  const network = networkOf(context, endpoint)
  if (network === undefined || endpoint.ports.length === 0) return
  const { firewall } = await context.drivers(network.driver)
  // The inverse takes out all ports, also those that were there before: these are exchanged again, as a repair.
  const hadPorts = before.some(({ id, ports }) => id === endpoint.id && ports.length > 0)
  const inverse = hadPorts ? new Undo() : undo
  await context.retryAfterReconcile(() => firewall.addEndpoint(network, kernelPorts(endpoint), inverse))
}

function networkOf({ networks }: EngineContext, { networkId }: Endpoint): Network | undefined {
  return networks.list().find(({ id }) => id === networkId)
}

function isSame(old: Endpoint | undefined, endpoint: Endpoint): boolean {
  if (endpoint.ports.length === 0 && (old === undefined || old.ports.length === 0)) return true
  return old !== undefined && JSON.stringify(old.ports) === JSON.stringify(endpoint.ports)
}

function missingFrom(ports: readonly HeldPort[], others: readonly HeldPort[]): HeldPort[] {
  return others.filter(other => !ports.some(port => isSamePlace(port, other) && isSameTarget(port, other)))
}

function isSamePlace(a: HeldPort, b: HeldPort): boolean {
  return a.protocol === b.protocol && a.hostIp === b.hostIp && a.hostPort === b.hostPort
}

/** Where the kernel carries, the monitor only holds. */
function isSameTarget(a: HeldPort, b: HeldPort): boolean {
  return a.proxyTo === b.proxyTo && (a.proxyTo === undefined || a.containerPort === b.containerPort)
}

function nameOf({ store }: EngineContext, shortId: string): string | undefined {
  return store.list().find(({ id }) => id.startsWith(shortId))?.name
}
