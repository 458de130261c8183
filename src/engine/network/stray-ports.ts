// Ports in the firewall that belong to nobody. Whoever makes the rules anew publishes what is on record; an endpoint that is leaving
// is on record until everything of it is gone, and may have come back meanwhile.

import type { FirewallSnapshot } from '../../drivers/firewall/nft-rules.ts'
import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import type { Endpoint } from '../../model/network.ts'
import { type ContainerStore, isAlive } from '../container/container-store.ts'
import type { EngineContext } from '../context.ts'
import type { Journal } from '../journal.ts'
import type { NetworkStore } from './network-store.ts'
import { kernelPorts } from './port-routes.ts'

/** Withdraws the ports of endpoints that have left the records by now. */
export async function withdrawAgain(
  context: EngineContext,
  container: Container,
  endpoints: readonly Endpoint[],
): Promise<void> {
  for (const endpoint of endpoints.filter(({ ports }) => ports.length > 0)) {
    const network = context.networks.ofEndpoint(endpoint, container)
    // Nothing kept it any more from being removed.
    if (network === undefined) return removeStrayPorts(context)
    await (await context.drivers(network.driver)).firewall.removeEndpoint(network, kernelPorts(endpoint))
  }
}

/** Withdraws the ports of whoever is not on record: reads all records. */
export async function removeStrayPorts(context: EngineContext): Promise<void> {
  await (await context.drivers('bridge')).firewall.removeStrays()
}

/**
 * What should stand in the firewall. A container that has ended has no ports, though its end was not seen to yet: whoever does so
 * withdraws them, and nobody who makes the rules anew then publishes them once more.
 */
export function firewallRecords(
  networks: NetworkStore,
  containers: ContainerStore,
  journal: Journal,
): FirewallSnapshot {
  const all = unlessDamaged(() => networks.all())
  const runs = containers.runningIds().map(id => unlessDamaged(() => ({ record: containers.readRun(id) })))
  const records = runs.flatMap(run => run?.record ?? [])
  const changing = journal.keysOf('connection')
  const endpointsOf = (some: readonly RunRecord[]) => some.flatMap(({ endpoints }) => endpoints).map(kernelPorts)
  const isChanging = ({ containerId }: Endpoint) => changing.has(containerId)
  const endpoints = endpointsOf(records.filter(isAlive))
  return {
    networks: all ?? networks.list(),
    endpoints: endpoints.filter(endpoint => !isChanging(endpoint)),
    changing: endpoints.filter(isChanging),
    starting: endpointsOf(records.filter(({ phase }) => phase === 'starting')),
    isComplete: all !== undefined && runs.every(run => run !== undefined),
  }
}
