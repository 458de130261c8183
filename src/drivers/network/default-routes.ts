// Which of a sandbox's interfaces the way out leads through, when that changes while the container runs.

import { hasCode } from '../../ffi/errno.ts'
import { getLink } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listRoutes, routeAdd, routeRemove } from '../../kernel/netlink/route.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import type { Endpoint, Sandbox } from '../../model/network.ts'

type Way = Pick<Endpoint, 'containerInterface' | 'gateways'>

/**
 * Takes away the default routes of `before` that `after` has not, and adds those that are missing. Routes that the container
 * made itself are left alone. Idempotent. @throws SyscallError
 */
export function moveDefaultRoutes(
  sandbox: Sandbox,
  before: readonly Way[],
  after: readonly Way[],
  label: string,
): void {
  const socket = openNetnsSocket(sandbox.netnsFd, label)
  try {
    const routes = ([4, 6] as const)
      .flatMap(family => listRoutes(socket, family))
      .filter(({ destination, gateway }) => destination === undefined && gateway !== undefined)
    const toSpecs = (ways: readonly Way[]) =>
      ways.flatMap(({ containerInterface: interfaceName, gateways }) => {
        const index = gateways.length === 0 ? undefined : getLink(socket, interfaceName)?.index
        if (index === undefined) return []
        return gateways.map(gateway => ({ destination: 'default' as const, gateway, index, interfaceName }))
      })
    const stands = (spec: { readonly gateway: string; readonly index: number }) =>
      routes.some(route => route.gateway === spec.gateway && route.index === spec.index)
    const wanted = toSpecs(after)
    const isWanted = (spec: { readonly gateway: string; readonly index: number }) =>
      wanted.some(other => other.gateway === spec.gateway && other.index === spec.index)
    const removals = toSpecs(before)
      .filter(spec => stands(spec) && !isWanted(spec))
      .map(routeRemove)
    // One after the other: two default routes of one metric cannot stand at once.
    for (const change of [...removals, ...wanted.filter(spec => !stands(spec)).map(routeAdd)]) apply(socket, change)
  } finally {
    socket.close()
  }
}

/** ESRCH and EEXIST are what was wanted: a route that is gone already, and one that is there. */
function apply(socket: NetlinkSocket, change: NetlinkChange): void {
  try {
    socket.apply(change)
  } catch (error) {
    if (!hasCode(error, 'ESRCH', 'EEXIST')) throw error
  }
}
