// Joins a container to a further network and takes it out of one, running or not. What the record says is meant; how a
// running container follows it is in settle-connections.ts.

import { type Undo, withRollback } from '../../lib/rollback.ts'
import type { Container, NetworkAttachment, RunRecord } from '../../model/container.ts'
import { checkDriversOptions } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import { checkJoining } from '../../model/joining.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { addressesByNetwork } from '../network/connect-sandbox.ts'
import { planEndpoints, type ResolvedAttachment, standsAlone } from '../network/plan-endpoints.ts'
import { releaseStatic, reserveStatic, withNames } from '../network/reservations.ts'
import { emitConnection } from './container-events.ts'
import { withSandbox } from './container-netns.ts'
import { assertMacFree, findNetwork, leaseFor, plugEndpoint, reserve } from './prepare-network.ts'
import {
  attachmentsOf,
  changeConnections,
  freezeNames,
  networkNamed,
  resolve,
  settle,
  settleNow,
  writeRun,
} from './settle-connections.ts'

/**
 * Joins the container to one more network: at once where it runs, else at its next start.
 * @throws TsrunError not-found, conflict (on it already, address taken), invalid
 */
export async function connectNetwork(
  context: EngineContext,
  container: Container,
  attachment: NetworkAttachment,
): Promise<void> {
  checkJoining(attachment)
  if (standsAlone(attachment.network))
    throw new TsrunError(
      'invalid',
      'network-mode',
      `cannot connect "${container.name}" to "${printableMode(attachment.network)}": that is chosen when a container is created`,
      { hint: `tsrun run --network ${printableMode(attachment.network)} ...` },
    )
  await changeConnections(context, container, async (current, undo, note) => {
    const attachments = attachmentsOf(current).filter(({ network }) => network !== 'none')
    const network = await findNetwork(context, attachment.network)
    const { driver } = await context.drivers(network.driver)
    assertJoinable(current, attachments, network, driver.hasEndpoints)
    const known = resolve(context, attachments)
    if (known.some(other => other.network.id === network.id))
      throw new TsrunError(
        'conflict',
        'already-connected',
        `cannot connect "${current.name}" to network "${network.name}": it is on it already`,
        { hint: `\`tsrun network disconnect ${network.name} ${current.name}\` takes it out` },
      )
    const added: ResolvedAttachment = { attachment: { ...attachment, network: network.name }, network }
    const run = context.store.liveRun(current.id)
    await reserveStatic(context, current, added.attachment, undo).catch((error: unknown) => {
      throw withNames(context, error)
    })
    if (run === undefined) {
      checkDriversOptions(network, driver, attachment.driverOptions)
      planEndpoints([...known, added])
      undo.add('connection record', () => context.store.write(current))
      recordAttachments(context, current, [...attachments, added.attachment])
      return
    }
    const frozen = freezeNames(known, run)
    const plans = planEndpoints([...frozen, added])
    const plan = plans.at(-1)
    if (plan === undefined) return
    // What is inside has to be undone while the namespace is open.
    const joinInside = async (sandbox: Sandbox, undo: Undo) => {
      const inside = { ...plan, defaultRoutes: [], hasPorts: false }
      const reserved = await reserve(context, current, inside, undo)
      const joining = { ...run, endpoints: [...run.endpoints, reserved] }
      writeRun(context, current, joining, run, undo)
      assertMacFree(context, current, plan)
      await plugEndpoint(context, network, { endpoint: reserved, sandbox, undo })
      const place = { plan: inside, endpoint: reserved, sandbox, pid: run.pid }
      const endpoint = await leaseFor(context, current, place, undo)
      const joined = { ...run, endpoints: [...run.endpoints, endpoint] }
      await settle(context, current, { run: joined, plans, sandbox, note }, undo)
      const recorded = [
        ...frozen.map(each => each.attachment),
        { ...added.attachment, interfaceName: plan.containerInterface },
      ]
      // Before the write: it may fail when it is done.
      undo.add('connection record', () => context.store.write(current))
      recordAttachments(context, current, recorded, endpoint)
    }
    await withSandbox(current, run, sandbox => withRollback(undo => joinInside(sandbox, undo)))
    emitConnection(context, current, network, 'connect')
  })
}

/**
 * Takes the container out of a network: at once where it runs. The record of a stopped one is changed.
 * @throws TsrunError not-found, conflict (not on it)
 */
export async function disconnectNetwork(
  context: EngineContext,
  container: Container,
  reference: string,
): Promise<void> {
  await changeConnections(context, container, async current => {
    const attachments = attachmentsOf(current)
    const mode = attachments[0]?.network ?? ''
    if (standsAlone(mode) && mode === reference)
      throw new TsrunError(
        'conflict',
        'network-mode',
        `cannot disconnect "${current.name}" from "${printableMode(mode)}": it has no network of its own to leave`,
        { hint: 'what a container shares, or the lack of a network, is chosen when it is created' },
      )
    const gone = attachmentOf(context, attachments, reference)
    if (gone === undefined)
      throw new TsrunError(
        'conflict',
        'not-connected',
        `cannot disconnect "${current.name}" from network "${reference}": it is not on it`,
        { hint: `\`tsrun inspect -f '{{json .NetworkSettings.Networks}}' ${current.name}\` shows its networks` },
      )
    const run = context.store.liveRun(current.id)
    const left = attachments.filter(attachment => attachment !== gone)
    const kept = run === undefined ? left : frozenAttachments(context, left, run)
    // Nothing left is not the default network again: the container then has only its loopback.
    recordAttachments(context, current, kept.length === 0 ? [{ network: 'none' }] : kept)
    await releaseStatic(context, current, gone)
    await settleNow(context, current.id)
  })
}

/** By name or id; a network that is gone by the name it had. */
function attachmentOf(
  context: EngineContext,
  attachments: readonly NetworkAttachment[],
  reference: string,
): NetworkAttachment | undefined {
  const network = networkNamed(context, reference)
  return attachments.find(
    attachment =>
      attachment.network === reference ||
      (network !== undefined && networkNamed(context, attachment.network)?.id === network.id),
  )
}

function frozenAttachments(
  context: EngineContext,
  attachments: readonly NetworkAttachment[],
  run: RunRecord,
): NetworkAttachment[] {
  return attachments.map(attachment => freezeNames(resolve(context, [attachment]), run)[0]?.attachment ?? attachment)
}

/** @param joined the endpoint that is new: its addresses are asked for again at the next start */
function recordAttachments(
  { store }: EngineContext,
  { id }: Container,
  networks: readonly NetworkAttachment[],
  joined?: Endpoint,
): void {
  store.change(id, container => ({
    ...container,
    spec: { ...container.spec, networks },
    ...(joined === undefined ? {} : { lastAddresses: { ...container.lastAddresses, ...addressesByNetwork([joined]) } }),
  }))
}

function assertJoinable(
  container: Container,
  attachments: readonly NetworkAttachment[],
  network: Network,
  hasEndpoints: boolean,
): void {
  const mode = attachments[0]?.network ?? ''
  const cannot = `cannot connect "${container.name}" to network "${network.name}"`
  if (standsAlone(mode))
    throw new TsrunError(
      'conflict',
      'network-mode',
      `${cannot}: it was created with --network ${printableMode(mode)}`,
      {
        hint: '`host`, `container:NAME` and `ns:PATH` stand alone',
      },
    )
  if (!hasEndpoints)
    throw new TsrunError(
      'invalid',
      'network-mode',
      `${cannot}: containers join ${network.driver} networks at their creation`,
    )
}

function printableMode(mode: string): string {
  return mode.replace(/\p{Cc}/gu, '?')
}
