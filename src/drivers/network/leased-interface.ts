// Gives the container's end of a link what a lease says, and takes away what a lease before it said: address, MTU, routes. The
// default route is the engine's to choose where there are several networks: see default-routes.ts.

import { hasCode } from '../../ffi/errno.ts'
import { addressAdd, addressRemove, listAddresses } from '../../kernel/netlink/address.ts'
import { getLink, type Link, linkSet } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listRoutes, routeAdd, routeRemove } from '../../kernel/netlink/route.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import { contains, parseAddress, parsePrefix } from '../../lib/ip.ts'
import type { Lease } from '../../model/lease.ts'
import type { Endpoint, Sandbox } from '../../model/network.ts'

/**
 * Makes the interface follow its lease. What else the container has set up there is left alone. Idempotent.
 * @param before the lease that it followed until now @param after the one that it follows now; undefined: it has run out
 * @throws SyscallError
 */
export function followLease(
  endpoint: Endpoint,
  sandbox: Sandbox,
  { before, after }: { readonly before: Lease | undefined; readonly after: Lease | undefined },
): void {
  const socket = openNetnsSocket(sandbox.netnsFd, endpoint.containerName)
  try {
    const link = getLink(socket, endpoint.containerInterface)
    if (link === undefined) return
    const has = listAddresses(socket, link.index)
    const named = { index: link.index, interfaceName: link.name }
    if (after?.mtu !== undefined && after.mtu < link.mtu) socket.apply(linkSet(link.name, { mtu: after.mtu }))
    if (after !== undefined && !has.includes(after.address))
      socket.apply(addressAdd({ ...named, address: after.address }))
    for (const change of routeChanges(socket, link, { before, after })) apply(socket, change)
    // Last: routes that leave under the old address would go with it, unseen.
    if (before !== undefined && before.address !== after?.address)
      apply(socket, addressRemove({ ...named, address: before.address }))
  } finally {
    socket.close()
  }
}

function routeChanges(
  socket: NetlinkSocket,
  link: Link,
  { before, after }: { readonly before: Lease | undefined; readonly after: Lease | undefined },
): NetlinkChange[] {
  const stands = listRoutes(socket, 4).filter(({ index }) => index === link.index)
  const wanted = after === undefined ? [] : routesOf(after)
  const isSame = (a: Way, b: Way) => a.destination === b.destination && a.gateway === b.gateway
  const named = { index: link.index, interfaceName: link.name }
  // A default route through a gateway that is no more.
  const oldGateway = before?.gateway !== undefined && before.gateway !== after?.gateway ? before.gateway : undefined
  return [
    ...(before === undefined ? [] : routesOf(before))
      .filter(way => !wanted.some(other => isSame(way, other)))
      .map(way => routeRemove({ ...named, ...way })),
    ...stands
      .filter(
        ({ destination, gateway }) => destination === undefined && gateway !== undefined && gateway === oldGateway,
      )
      .map(() => routeRemove({ ...named, destination: 'default', gateway: oldGateway ?? '' })),
    ...wanted
      .filter(way => !stands.some(route => route.destination === way.destination && route.gateway === way.gateway))
      .map(way => routeAdd({ ...named, ...way })),
  ]
}

interface Way {
  readonly destination: string
  readonly gateway?: string
}

/** Those of the lease, and before them one to a gateway that is outside of the subnet. */
function routesOf({ address, gateway, routes }: Lease): Way[] {
  const subnet = parsePrefix(address)
  const outside = [gateway, ...routes.map(route => route.gateway)].filter(
    (hop): hop is string => hop !== undefined && !contains(subnet, parseAddress(hop)),
  )
  return [...[...new Set(outside)].map(hop => ({ destination: `${hop}/32` })), ...routes]
}

/** What is gone already, or there already, is what was wanted. */
function apply(socket: NetlinkSocket, change: NetlinkChange): void {
  try {
    socket.apply(change)
  } catch (error) {
    if (!hasCode(error, 'ESRCH', 'EEXIST', 'EADDRNOTAVAIL')) throw error
  }
}
