// From a container to somewhere: by design, by route, and by a real packet with a trace of the rules it meets.

import { isRouted } from '../../../drivers/firewall/network-elements.ts'
import { readPublishedPorts } from '../../../drivers/firewall/read-ports.ts'
import { hasCode } from '../../../ffi/errno.ts'
import { getLink } from '../../../kernel/netlink/link.ts'
import { listNeighbours } from '../../../kernel/netlink/neighbour.ts'
import { lookupRoute, type RouteDecision } from '../../../kernel/netlink/route-lookup.ts'
import { runInNetns } from '../../../kernel/netns.ts'
import { PacketTrace, type TracedDrop } from '../../../kernel/nftables/trace.ts'
import { connectTcp, type ProbeResult, ping } from '../../../kernel/probe.ts'
import { contains, parseAddress, parsePrefix } from '../../../lib/ip.ts'
import { bad, bare, type DiagnosisStep, type EndpointScene, good, type Steps } from './diagnosis.ts'

/** Where to. */
export interface Target {
  readonly address: string
  /** Asked for a TCP connection; else for an echo. */
  readonly port?: number
  /** The name that the container would ask for, where it was given by one that it may know. */
  readonly host?: string
  /** How to call it. */
  readonly name: string
}

const answerMs = 1500
const headerBytes = { 4: 28, 6: 48 } as const

/** Steps from the container to `target`, after those of its own end. */
export function* checkTarget(scene: EndpointScene, target: Target): Steps {
  yield* checkDesign(scene, target)
  const route = yield* checkRoutes(scene, target)
  if (route === undefined) return
  const { result, drops } = probe(scene, target)
  if (result.kind !== 'answered') {
    yield explainSilence(scene, target, { result, drops, route })
    return
  }
  yield good('probe', `${target.name} answers`)
  yield* checkSize(scene, target)
}

/** What no mending changes: the networks were made that way. */
function* checkDesign({ networks, network, endpoint }: EndpointScene, { address }: Target): Steps {
  const own = endpoint.addresses.some(each => contains(parsePrefix(each), parseAddress(address)))
  if (own) return
  if (network.internal)
    yield bad(
      'isolation',
      `network "${network.name}" is internal: it has no way out`,
      `tsrun network connect NETWORK ${endpoint.containerName}`,
    )
  // A network that is not ours to route, such as macvlan's, is a part of the LAN.
  const other = networks.find(
    each =>
      each.id !== network.id &&
      isRouted(each) &&
      each.pools.some(pool => contains(parsePrefix(pool.subnet), parseAddress(address))),
  )
  if (other !== undefined)
    yield bad(
      'isolation',
      `${address} is on network "${other.name}", and networks are kept apart`,
      `tsrun network connect ${other.name} ${endpoint.containerName}`,
    )
}

function* checkRoutes(scene: EndpointScene, { address }: Target): Generator<DiagnosisStep, RouteDecision | undefined> {
  const { inside, host, network, endpoint } = scene
  try {
    lookupRoute(inside, { destination: address })
  } catch (error) {
    yield bad('route in the container', `it has no route to ${address}`, `nsenter -t ${scene.run.pid} -n ip route`)
    if (!hasCode(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL')) throw error
    return undefined
  }
  const bridge = network.hostInterface === undefined ? undefined : getLink(host, network.hostInterface)
  const source = endpoint.addresses.map(bare).find(each => each.includes(':') === address.includes(':'))
  if (bridge === undefined || source === undefined)
    return { kind: '', index: undefined, gateway: undefined, table: undefined }
  try {
    const route = lookupRoute(host, { destination: address, source, inputIndex: bridge.index })
    const out = route.index === undefined ? 'itself' : `"${getLink(host, route.index)?.name}"`
    yield good(
      'route on the host',
      `${address} is reached by ${route.kind === 'local' ? 'the host itself' : out}${route.gateway === undefined ? '' : ` via ${route.gateway}`}`,
    )
    return route
  } catch (error) {
    yield bad(
      'route on the host',
      routeProblem(error, address, source),
      `ip route get ${address} from ${source} iif ${bridge.name}`,
    )
    return undefined
  }
}

function routeProblem(error: unknown, address: string, source: string): string {
  if (hasCode(error, 'EXDEV'))
    return `the reverse path filter refuses ${source}: its route does not lead back to the bridge`
  if (hasCode(error, 'EACCES')) return `a routing rule prohibits the way to ${address}`
  if (hasCode(error, 'EINVAL')) return `a blackhole route swallows packets for ${address}`
  if (hasCode(error, 'ENETUNREACH', 'EHOSTUNREACH')) return `the host has no route to ${address}`
  throw error
}

function probe(scene: EndpointScene, target: Target): { result: ProbeResult; drops: TracedDrop[] } {
  const source = scene.endpoint.addresses.map(bare).find(each => each.includes(':') === target.address.includes(':'))
  using trace = new PacketTrace(source ?? target.address, target.address)
  const result = runInNetns(scene.netnsFd, () =>
    target.port === undefined
      ? ping(target.address, { timeoutMs: answerMs })
      : connectTcp(target.address, target.port, answerMs),
  )
  return { result, drops: trace.drops() }
}

interface Outcome {
  readonly result: ProbeResult
  readonly drops: readonly TracedDrop[]
  readonly route: RouteDecision
}

function explainSilence(scene: EndpointScene, target: Target, { result, drops, route }: Outcome): DiagnosisStep {
  const [drop] = drops
  if (drop !== undefined) return describeDrop(drop)
  if (result.kind === 'refused' && result.code === 'ECONNREFUSED')
    return bad('probe', `${target.name} is reached and says no: nothing listens on port ${target.port}`)
  const { host } = scene
  const link = route.index === undefined || route.kind === 'local' ? undefined : getLink(host, route.index)
  const nextHop = route.gateway ?? target.address
  if (link !== undefined) {
    const neighbour = listNeighbours(host, link.index).find(each => each.address === nextHop)
    if (neighbour?.state === 'failed')
      return bad(
        'probe',
        `${nextHop} does not answer on "${link.name}" (ARP): it is off, or not on that link`,
        `ip neighbour show dev ${link.name}`,
      )
  }
  const where = link === undefined ? 'the packet arrived' : `the packet left by "${link.name}"`
  return bad(
    'probe',
    `${where} and no answer came: look at ${target.name} itself, or at what is between`,
    `tsrun network capture ${scene.endpoint.containerName} | tcpdump -nr -`,
  )
}

/** A rule that ended a packet's way. */
export function describeDrop({ chain, rule }: TracedDrop): DiagnosisStep {
  const [family = '', table = '', name = ''] = chain.split(' ')
  const list = `nft -a list chain ${family} ${table} ${name}`
  if (rule === undefined)
    return bad('rules of the host', `the policy of chain ${chain} drops it`, `tsrun network reload; ${list}`)
  return bad('rules of the host', `a rule of chain ${chain} drops it: ${rule}`, list)
}

/** Small packets pass everywhere: do those of full size? */
function* checkSize(scene: EndpointScene, { address, port }: Target): Steps {
  if (port !== undefined) return
  const mtu = getLink(scene.inside, scene.endpoint.containerInterface)?.mtu ?? 1500
  const payloadBytes = mtu - headerBytes[parseAddress(address).family]
  const result = runInNetns(scene.netnsFd, () =>
    ping(address, { timeoutMs: answerMs, payloadBytes, unfragmented: true }),
  )
  if (result.kind === 'answered') return yield good('size', `packets of ${mtu} bytes pass`)
  if (result.kind === 'refused' && result.code === 'EMSGSIZE')
    return yield good('size', `the path takes less than ${mtu} bytes, and says so`)
  yield bad(
    'size',
    `small packets pass, those of ${mtu} bytes vanish: the path takes less and does not say so`,
    `make the network with a smaller MTU: tsrun network create -o mtu=${mtu - 100} NAME`,
  )
}

/** Whether the kernel leads the ports of an endpoint to it. */
export function publishedTo(scene: EndpointScene) {
  return readPublishedPorts(scene.tableName).filter(port => scene.endpoint.containerId.startsWith(port.owner.container))
}
