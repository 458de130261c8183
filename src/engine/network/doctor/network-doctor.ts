// `tsrun network doctor [CONTAINER [TARGET]]`: puts the checks of a path together.

import { lookup } from 'node:dns/promises'
import { hasCode } from '../../../ffi/errno.ts'
import { getLink } from '../../../kernel/netlink/link.ts'
import { lookupRoute } from '../../../kernel/netlink/route-lookup.ts'
import { withNetlinkSocket } from '../../../kernel/netlink/socket.ts'
import { tryParseAddress } from '../../../lib/ip.ts'
import type { RunRecord } from '../../../model/container.ts'
import { TsrunError } from '../../../model/errors.ts'
import type { Endpoint, Network } from '../../../model/network.ts'
import { withContainerSocket } from '../../container/container-netns.ts'
import { isAlive } from '../../container/container-store.ts'
import { runningOrThrow } from '../../container/running-or-throw.ts'
import type { EngineContext } from '../../context.ts'
import { usesResolver } from '../../dns/uses-resolver.ts'
import { bare, type Diagnosis, diagnose, type EndpointScene, type HostScene, type Steps } from './diagnosis.ts'
import { checkEndpoint } from './endpoint-checks.ts'
import { checkNames } from './name-checks.ts'
import { checkNetwork } from './network-checks.ts'
import { checkPorts } from './port-checks.ts'
import { checkTarget, type Target } from './target-checks.ts'

/**
 * Without a container: all networks, and the ends of every container that runs. With one: its networks, its ends and its
 * published ports. With a target: the path to it, with real packets.
 * @param target an address, a container or a host name, with `:PORT` for a TCP connection
 * @throws TsrunError not-found, conflict when the container is not running, invalid when it has no network
 */
export async function runNetworkDoctor(
  context: EngineContext,
  container?: string,
  target?: string,
): Promise<Diagnosis[]> {
  const running = context.store.runs().filter(isAlive)
  const scene = {
    tableName: context.cgroupParent,
    networks: context.networks.list(),
    running,
    asksResolver: (id: string) => usesResolver(context, id),
  }
  if (container === undefined) return diagnoseAll(scene)
  const run = runOf(context, container)
  if (target === undefined) return diagnoseContainer(scene, run)
  return [diagnosePath(scene, run, await parseTarget(target, run, running))]
}

function runOf(context: EngineContext, reference: string): RunRecord {
  const container = context.store.find(reference)
  const { name } = container
  const run = runningOrThrow(context, container, 'diagnose')
  if (run.endpoints.length > 0) return run
  throw new TsrunError('invalid', 'no-endpoint', `cannot diagnose "${name}": it is on no network of tsrun`, {
    hint: `connect it to one: tsrun network connect NETWORK ${name}`,
  })
}

type Scene = Omit<HostScene, 'host'>

function diagnoseAll(scene: Scene): Diagnosis[] {
  return withNetlinkSocket(host => {
    const whole = { ...scene, host }
    const networks = scene.networks.map(network => diagnose(`network ${network.name}`, checkNetwork(whole, network)))
    const ends = scene.running.flatMap(run =>
      run.endpoints.map(endpoint =>
        withEndpoint(whole, run, endpoint, each => diagnose(subjectOf(each), checkEndpoint(each))),
      ),
    )
    return [...networks, ...ends]
  })
}

function diagnoseContainer(scene: Scene, run: RunRecord): Diagnosis[] {
  return withNetlinkSocket(host =>
    run.endpoints.map(endpoint =>
      withEndpoint({ ...scene, host }, run, endpoint, each => {
        function* steps(): Steps {
          yield* checkNetwork(each, each.network)
          yield* checkEndpoint(each)
          yield* checkNames(each)
          yield* checkPorts(each)
        }
        return diagnose(subjectOf(each), steps())
      }),
    ),
  )
}

function diagnosePath(scene: Scene, run: RunRecord, target: Target): Diagnosis {
  return withNetlinkSocket(host => {
    const endpoint = endpointTowards(run, target.address)
    return withEndpoint({ ...scene, host }, run, endpoint, each => {
      function* steps(): Steps {
        yield* checkNetwork(each, each.network)
        yield* checkEndpoint(each)
        if (target.host !== undefined) yield* checkNames(each, target.host)
        yield* checkTarget(each, target)
      }
      return diagnose(`${endpoint.containerName} -> ${target.name}`, steps())
    })
  })
}

/**
 * What `text` means: an address, a container, a host name; with `:PORT` behind it for a TCP connection.
 * @param from whose networks are preferred where a container has several addresses
 * @throws TsrunError invalid, not-found
 */
async function parseTarget(text: string, from: RunRecord, running: readonly RunRecord[]): Promise<Target> {
  const [, bracketed, plain = text, portText] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  const name = bracketed ?? plain
  const port = portText === undefined ? undefined : Number(portText)
  if (port !== undefined && (port < 1 || port > 65535))
    throw new TsrunError('invalid', 'bad-port', `"${portText}" is not a port: it must be from 1 to 65535`)
  const rest = { name: text, ...(port === undefined ? {} : { port }) }
  if (tryParseAddress(name) !== undefined) return { address: name, ...rest }
  const networks = new Set(from.endpoints.map(endpoint => endpoint.networkId))
  const ends = running.flatMap(run => run.endpoints).filter(endpoint => endpoint.containerName === name)
  const end = ends.find(endpoint => networks.has(endpoint.networkId)) ?? ends[0]
  if (end?.addresses[0] !== undefined)
    return { address: bare(end.addresses[0]), ...rest, ...(networks.has(end.networkId) ? { host: name } : {}) }
  try {
    return { address: (await lookup(name)).address, ...rest, host: name }
  } catch (cause) {
    throw new TsrunError(
      'not-found',
      'no-target',
      `"${name}" is no address, no running container and no name that this host resolves`,
      {
        hint: 'give an address, e.g. 192.168.0.2 or 192.168.0.2:80',
        cause,
      },
    )
  }
}

function subjectOf({ endpoint, network }: EndpointScene): string {
  return `${endpoint.containerName} on ${network.name}`
}

function endpointTowards(run: RunRecord, address: string): Endpoint {
  const [first] = run.endpoints
  if (first === undefined) throw new Error('a container without endpoints')
  const found = withContainerSocket(run, first.containerName, inside => {
    try {
      const { index } = lookupRoute(inside, { destination: address })
      const name = index === undefined ? undefined : getLink(inside, index)?.name
      return run.endpoints.find(endpoint => endpoint.containerInterface === name)
    } catch (error) {
      if (!hasCode(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL')) throw error
      return undefined
    }
  })
  return found ?? first
}

function withEndpoint<T>(scene: HostScene, run: RunRecord, endpoint: Endpoint, task: (scene: EndpointScene) => T): T {
  const network: Network | undefined = scene.networks.find(({ id }) => id === endpoint.networkId)
  if (network === undefined) throw new Error(`endpoint of an unknown network ${endpoint.networkId}`)
  return withContainerSocket(run, endpoint.containerName, (inside, netnsFd) =>
    task({ ...scene, network, endpoint, run, inside, netnsFd }),
  )
}
