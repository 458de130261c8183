// A lease was renewed, has changed or has run out: the container's interface, record and files follow it.

import type { EngineContext } from '../context.ts'
import { addressesByNetwork } from '../network/connect-sandbox.ts'
import { endpointParties } from '../network/leases.ts'
import { changeConnections, settleNow } from './settle-connections.ts'

/** Idempotent; nothing where the container has ended or left the network. */
export async function leaseChanged(context: EngineContext, endpointId: string): Promise<void> {
  const parties = endpointParties(context, endpointId)
  const container = parties === undefined ? undefined : context.store.read(parties.containerId)
  if (container === undefined) return
  await changeConnections(context, container, async ({ id }) => {
    await settleNow(context, id)
    const leased = context.store.readRun(id)?.endpoints.filter(({ lease }) => lease !== undefined) ?? []
    // What a restart asks for.
    context.store.change(id, current => ({
      ...current,
      lastAddresses: { ...current.lastAddresses, ...addressesByNetwork(leased) },
    }))
  })
}
