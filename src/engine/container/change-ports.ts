// Publishes further ports of a container and withdraws others: at once where it runs, and for its next starts.

import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { PortMapping } from '../../model/network.ts'
import { type PortRequest, toPortMapping } from '../../model/port-request.ts'
import type { EngineContext } from '../context.ts'
import { emitContainer } from './container-events.ts'
import { portsInUse, withHostPorts } from './host-ports.ts'
import { changeConnections, settleWith } from './settle-connections.ts'

/** Which ports come and which go; those that are in neither list stay as they are. */
export interface PortChange {
  readonly add?: readonly PortRequest[]
  /** Host port 0 and an empty host address mean any. */
  readonly remove?: readonly PortRequest[]
}

/** @throws TsrunError conflict (port taken, no network to publish on), not-found (no such port) */
export async function changePorts(
  context: EngineContext,
  container: Container,
  { add = [], remove: withdrawn = [] }: PortChange,
): Promise<void> {
  const wanted = add.map(toPortMapping)
  const remove = withdrawn.map(toPortMapping)
  await changeConnections(context, container, async (current, undo, note) => {
    const left = current.ports.filter(port => !remove.some(wish => isMeant(port, wish)))
    const missing = remove.find(wish => !current.ports.some(port => isMeant(port, wish)))
    if (missing !== undefined)
      throw new TsrunError(
        'not-found',
        'no-such-port',
        `cannot withdraw port ${missing.containerPort}/${missing.protocol} of "${current.name}": it is not published`,
        { hint: `\`tsrun port ${current.name}\` lists those that are` },
      )
    const run = context.store.liveRun(current.id)
    if (run !== undefined && run.endpoints.length === 0)
      throw new TsrunError(
        'conflict',
        'cannot-publish',
        `cannot publish ports of "${current.name}": it is on no network of its own`,
        { hint: 'connect it to one first: tsrun network connect bridge NAME' },
      )
    const others = [...left, ...portsInUse(context, { id: current.id, ports: wanted })]
    const changed = { ...current, ports: [...left, ...(run === undefined ? wanted : withHostPorts(wanted, others))] }
    if (run !== undefined) await settleWith(context, changed, run, { undo, note, added: wanted })
    // Before the write: it may fail when it is done.
    undo.add('port record', () => context.store.write(current))
    context.store.change(current.id, latest => ({ ...latest, ports: changed.ports }))
    emitContainer(context, current, 'update')
  })
}

function isMeant(port: PortMapping, wish: PortMapping): boolean {
  return (
    port.protocol === wish.protocol &&
    port.containerPort === wish.containerPort &&
    (wish.hostPort === 0 || wish.hostPort === port.hostPort) &&
    (wish.hostIp === '' || wish.hostIp === port.hostIp)
  )
}
