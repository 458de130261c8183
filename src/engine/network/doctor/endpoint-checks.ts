// A container's link by both its ends, and whether the host finds the way to it.

import { planSourceRoutes, sourceRouteProblems } from '../../../drivers/network/source-routes.ts'
import { hasCode } from '../../../ffi/errno.ts'
import { listAddresses } from '../../../kernel/netlink/address.ts'
import { getLink, type Link } from '../../../kernel/netlink/link.ts'
import { listNeighbours } from '../../../kernel/netlink/neighbour.ts'
import { listRoutes } from '../../../kernel/netlink/route.ts'
import { lookupRoute } from '../../../kernel/netlink/route-lookup.ts'
import { sourceWays } from '../source-ways.ts'
import { bad, bare, type EndpointScene, good, type Steps } from './diagnosis.ts'

/** Addresses of nobody (RFC 5737, RFC 3849): what is asked is the way that leads elsewhere. */
const anywhere = { 4: '192.0.2.1', 6: '2001:db8::1' } as const

/** Steps that need no packet. */
export function* checkEndpoint(scene: EndpointScene): Steps {
  yield* checkInside(scene)
  yield* checkHostEnd(scene)
  yield* checkWayToContainer(scene)
}

function* checkInside(scene: EndpointScene): Steps {
  const { inside, endpoint, run } = scene
  const name = endpoint.containerInterface
  const enter = `nsenter -t ${run.pid} -n`
  const loopback = getLink(inside, 'lo')
  if (loopback?.up !== true) return yield bad('loopback', 'is down in the container', `${enter} ip link set dev lo up`)
  const link = getLink(inside, name)
  if (link === undefined)
    return yield bad('interface', `the container has no "${name}"`, `tsrun restart ${endpoint.containerName}`)
  if (!link.up)
    return yield bad('interface', `"${name}" is down in the container`, `${enter} ip link set dev ${name} up`)
  const present = listAddresses(inside, link.index)
  for (const address of endpoint.addresses)
    if (!present.includes(address))
      return yield bad('address', `"${name}" has not ${address}`, `${enter} ip address add ${address} dev ${name}`)
  yield good('interface', `"${name}" is up in the container, ${endpoint.addresses.join(', ')}`)
  const routes = [...listRoutes(inside, 4), ...listRoutes(inside, 6)]
  for (const gateway of endpoint.gateways) {
    const found = routes.find(
      route => route.destination === undefined && route.family === (gateway.includes(':') ? 6 : 4),
    )
    if (found === undefined)
      return yield bad('default route', `the container has none`, `${enter} ip route add default via ${gateway}`)
    if (found.gateway !== gateway)
      return yield bad(
        'default route',
        `leads to ${found.gateway} and not to ${gateway}`,
        `${enter} ip route replace default via ${gateway}`,
      )
  }
  if (endpoint.gateways.length > 0) yield good('default route', `via ${endpoint.gateways.join(', ')}`)
  yield* checkSourceRoutes(scene, link)
}

/** Of a container with several ways out: whether answers leave by the interface that was asked. */
function* checkSourceRoutes({ inside, endpoint, run, network, networks }: EndpointScene, link: Link): Steps {
  const ways = sourceWays(run.endpoints, networks)
  const [problem] = sourceRouteProblems(inside, ways, link.name)
  const label = 'routing rules'
  if (problem !== undefined)
    return yield bad(label, `the container has ${problem}`, `tsrun network reload ${network.name}`)
  const own = planSourceRoutes(ways).filter(({ interfaceName }) => interfaceName === link.name)
  for (const { family, sources } of own)
    for (const source of sources.map(bare)) {
      const out = wayFrom(inside, source, anywhere[family])
      if (out === link.name) continue
      return yield bad(
        label,
        `what the container answers from ${source} leaves by ${out === undefined ? 'no interface' : `"${out}"`}: another rule comes first`,
        `nsenter -t ${run.pid} -n ip ${family === 6 ? '-6 ' : ''}rule`,
      )
    }
  if (own.length > 0)
    yield good(label, `answers from ${endpoint.addresses.map(bare).join(', ')} leave by "${link.name}"`)
}

/** The name of the interface by which packets from `source` leave. */
function wayFrom(inside: EndpointScene['inside'], source: string, destination: string): string | undefined {
  try {
    const { index } = lookupRoute(inside, { destination, source })
    return index === undefined ? undefined : getLink(inside, index)?.name
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH')) throw error
    return undefined
  }
}

function* checkHostEnd({ host, network, endpoint, inside }: EndpointScene): Steps {
  const name = endpoint.hostInterface
  if (name === undefined || network.hostInterface === undefined) return
  const link = getLink(host, name)
  if (link === undefined)
    return yield bad('host end', `the host has no "${name}"`, `tsrun restart ${endpoint.containerName}`)
  const own = [network.hostInterface, ...(network.furtherInterfaces ?? [])].flatMap(each => getLink(host, each) ?? [])
  const bridges = own.filter(each => each.kind === 'bridge')
  const bridge = bridges.find(each => each.index === link.master)
  if (bridges.length > 0 && bridge === undefined)
    return yield bad(
      'host end',
      `"${name}" is not plugged into "${bridges[0]?.name}"`,
      `ip link set dev ${name} master ${bridges[0]?.name}`,
    )
  if (!link.up) return yield bad('host end', `"${name}" is down`, `ip link set dev ${name} up`)
  const far = getLink(inside, endpoint.containerInterface)
  const narrow = [link, ...(bridge === undefined ? [] : [bridge])].find(each => far !== undefined && each.mtu < far.mtu)
  if (narrow !== undefined)
    return yield bad(
      'mtu',
      `the container sends up to ${far?.mtu} bytes, "${narrow.name}" takes ${narrow.mtu}`,
      `ip link set dev ${narrow.name} mtu ${far?.mtu}`,
    )
  yield good('host end', `"${name}" is up${bridge === undefined ? '' : ` and plugged into "${bridge.name}"`}`)
}

function* checkWayToContainer({ host, network, endpoint }: EndpointScene): Steps {
  const own = [network.hostInterface, ...(network.furtherInterfaces ?? []), endpoint.hostInterface]
  const links = own.flatMap(name => (name === undefined ? [] : (getLink(host, name) ?? [])))
  if (links.length === 0) return
  for (const address of endpoint.addresses.map(bare)) {
    const problem = wrongRoute(address, links, host)
    if (problem !== undefined)
      return yield bad(
        'route to the container',
        problem,
        `ip route get ${address}; ip rule; ip route show table all ${address}`,
      )
    for (const link of links) {
      const known = listNeighbours(host, link.index).find(neighbour => neighbour.address === address)
      if (known?.mac !== undefined && known.mac !== endpoint.mac)
        return yield bad(
          'neighbour entry',
          `the host believes ${address} is at ${known.mac}${known.state === 'permanent' ? ' for good' : ''}; it is at ${endpoint.mac}`,
          `ip neighbour delete ${address} dev ${link.name}`,
        )
    }
  }
  yield good('route to the container', `the host sends to it by "${links[0]?.name}"`)
}

function wrongRoute(address: string, links: readonly Link[], host: EndpointScene['host']): string | undefined {
  try {
    const route = lookupRoute(host, { destination: address })
    if (links.some(link => link.index === route.index)) return undefined
    const elsewhere = route.index === undefined ? route.kind : `"${getLink(host, route.index)?.name}"`
    return `the host sends packets for ${address} to ${elsewhere}${route.table === undefined ? '' : `, by routing table ${route.table}`}`
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH')) throw error
    const what = hasCode(error, 'EINVAL')
      ? 'a blackhole route'
      : hasCode(error, 'EACCES')
        ? 'a rule or route that prohibits it'
        : 'no route'
    return `the host has ${what} for ${address}`
  }
}
