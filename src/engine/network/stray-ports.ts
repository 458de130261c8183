// Ports in the firewall that belong to nobody. Whoever makes the rules anew publishes what is on record; an endpoint that is leaving
// is on record until everything of it is gone, and may have come back meanwhile.

import type { FirewallSnapshot } from '../../drivers/firewall/nft-rules.ts'
import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container } from '../../model/container.ts'
import type { Endpoint } from '../../model/network.ts'
import { type ContainerStore, isAlive } from '../container/container-store.ts'
import type { EngineContext } from '../context.ts'
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
export function firewallRecords(networks: NetworkStore, containers: ContainerStore): FirewallSnapshot {
  const all = unlessDamaged(() => networks.all())
  const runs = containers.runningIds().map(id => unlessDamaged(() => ({ record: containers.readRun(id) })))
  const present = runs.flatMap(run => run?.record ?? []).filter(run => run.phase === 'starting' || isAlive(run))
  return {
    networks: all ?? networks.list(),
    endpoints: present.flatMap(({ endpoints }) => endpoints).map(kernelPorts),
    isComplete: all !== undefined && runs.every(run => run !== undefined),
  }
}
