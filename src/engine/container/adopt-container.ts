// A container that runs while its run folder has gone: somebody has wiped the state directory. What it was is on record, that it
// runs is seen in its cgroup; from both its run record is written again, and it can be listed, stopped and removed as before.

import { mkdirSync } from 'node:fs'
import { listPids } from '../../kernel/cgroup/cgroup.ts'
import { processStartTime } from '../../kernel/pidfd.ts'
import type { Container } from '../../model/container.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { endpointId, gatewaysOf } from '../network/connect-sandbox.ts'
import { type EndpointPlan, planEndpoints } from '../network/plan-endpoints.ts'
import { onHostAddresses } from '../network/port-routes.ts'
import { cgroupPathOf } from './teardown.ts'

/**
 * Writes the run record of a container again whose processes live. What was only in the run folder is lost: the socket to attach to,
 * and the configuration that `exec` copies. The caller holds the container's lock.
 * @returns false where it has no process, as after a reboot
 */
export function adoptContainer(context: EngineContext, container: Container): boolean {
  const cgroup = cgroupPathOf(context, container)
  const first = oldestProcess(listPids(cgroup))
  if (first === undefined) return false
  mkdirSync(context.paths.runFile(container.id, 'rootfs'), { recursive: true, mode: 0o700 })
  const endpoints = endpointsOf(context, container)
  context.store.writeRun(container.id, {
    phase: 'running',
    pid: first.pid,
    pidStartTime: first.startTime,
    startedAt: container.startedAt ?? new Date().toISOString(),
    endpoints,
    cgroup,
  })
  markLeases(context, endpoints)
  return true
}

/** A lease without a keeper: whoever looks after those gives it one, which finds out what is granted. */
function markLeases({ paths, networks }: EngineContext, endpoints: readonly Endpoint[]): void {
  const leased = networks.list().filter(({ isLeased }) => isLeased === true)
  for (const { id, networkId } of endpoints)
    if (leased.some(network => network.id === networkId))
      mkdirSync(`${paths.leases}/${id}`, { recursive: true, mode: 0o700 })
}

/** Pid 1 of the container: all others came after it. */
function oldestProcess(pids: readonly number[]): { pid: number; startTime: string } | undefined {
  const known = pids.flatMap(pid => {
    const startTime = processStartTime(pid)
    return startTime === undefined ? [] : [{ pid, startTime }]
  })
  return known.sort((a, b) => Number(a.startTime) - Number(b.startTime) || a.pid - b.pid)[0]
}

/** Its endpoints, as its last start noted down their addresses. */
function endpointsOf(context: EngineContext, container: Container): Endpoint[] {
  const joined = context.networks.list().filter(({ id }) => container.lastAddresses?.[id] !== undefined)
  const wanted = container.spec.networks ?? []
  const attached = [
    ...wanted.flatMap(attachment => {
      const network = joined.find(({ id, name }) => name === attachment.network || id.startsWith(attachment.network))
      return network === undefined ? [] : [{ attachment, network }]
    }),
    ...(wanted.length > 0 ? [] : joined.map(network => ({ attachment: { network: network.name }, network }))),
  ]
  return planEndpoints(attached).map(plan => endpointOf(context, container, plan))
}

function endpointOf(context: EngineContext, container: Container, plan: EndpointPlan): Endpoint {
  const { network, attachment } = plan
  const id = endpointId(container.id, network.id)
  return {
    id,
    networkId: network.id,
    containerId: container.id,
    containerName: container.name,
    hostInterface: context.hostInterfaceOf(id),
    containerInterface: plan.containerInterface,
    mac: attachment.mac ?? '',
    addresses: (container.lastAddresses?.[network.id] ?? []).map(address => withPrefix(network, address)),
    gateways: gatewaysOf(network, plan.defaultRoutes),
    ports: plan.hasPorts ? onHostAddresses(container.ports, network) : [],
    ...(attachment.aliases === undefined ? {} : { aliases: attachment.aliases }),
  }
}

function withPrefix(network: Network, address: string): string {
  const bare = address.split('/', 1)[0] ?? ''
  const pool = network.pools.find(({ subnet }) => subnet.includes(':') === bare.includes(':'))
  return `${bare}/${pool?.subnet.split('/')[1] ?? (bare.includes(':') ? '128' : '32')}`
}
