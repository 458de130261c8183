// A container on several networks that lead out answers by the interface that was asked: `ip rule` sends what leaves under an
// endpoint's address to a table of that endpoint's, which knows its own subnets and its own gateway. Without it, answers follow the
// one default route, or the link of another network where the client happens to be, and the client waits for ever.

import { hasCode } from '../../ffi/errno.ts'
import { getLink } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listRoutes, type RouteSpec, routeRemove, routeReplace } from '../../kernel/netlink/route.ts'
import { listRules, type RuleSpec, ruleAdd, ruleRemove } from '../../kernel/netlink/rule.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import { bitsOf, formatPrefix, type IpFamily, networkOf, parsePrefix } from '../../lib/ip.ts'
import type { Endpoint, Sandbox } from '../../model/network.ts'
import { familyOf } from './peers.ts'
import { routeProtocol } from './route-protocol.ts'

/** Before `main`, which has 32766; behind whatever a container puts there itself with a smaller number. */
export const sourcePriority = 8400
/** The table of an interface is this and its index. */
const firstTable = 84_000
const linkLocal6 = 'fe80::/64'

/** An endpoint, and the gateways of its network: at most one of each IP version, whether or not they are the way out. */
export type SourceWay = Pick<Endpoint, 'containerInterface' | 'addresses' | 'gateways'>

/** What sends the packets of one address its own way. */
export interface SourceRoute {
  readonly family: IpFamily
  readonly interfaceName: string
  readonly gateway: string
  /** Addresses of the endpoint, as prefixes of one. */
  readonly sources: readonly string[]
  /** Subnets that are on its link. */
  readonly onLink: readonly string[]
}

/** The way of each endpoint, for the IP versions of which more than one network has a gateway. Pure. */
export function planSourceRoutes(ways: readonly SourceWay[]): SourceRoute[] {
  return ([4, 6] as const).flatMap(family => {
    const routes = ways.flatMap(way => routeOf(way, family) ?? [])
    return routes.length < 2 ? [] : routes
  })
}

/**
 * Makes the rules and tables that `ways` call for, and takes away ours that they do not. Idempotent. On a kernel without routing
 * rules nothing happens: `tsrun doctor` says so. @throws SyscallError
 */
export function settleSourceRoutes(sandbox: Sandbox, ways: readonly SourceWay[], label: string): void {
  const socket = openNetnsSocket(sandbox.netnsFd, label)
  try {
    const { rules, routes, standing } = compare(socket, ways)
    const surplus = standing.filter(each => !rules.some(wanted => isSame(wanted, each)))
    for (const rule of surplus) apply(socket, ruleRemove(rule), 'ENOENT')
    // Those of an interface that has gone went with it.
    for (const { table, source } of surplus)
      if (!routes.some(route => route.table === table)) emptyTable(socket, familyOf(source), table)
    // The table first: a rule that leads to an empty one is passed over, and the main table would answer.
    socket.apply(routes.map(routeReplace))
    for (const rule of rules.filter(wanted => !standing.some(each => isSame(wanted, each))))
      apply(socket, ruleAdd(rule), 'EEXIST')
  } finally {
    socket.close()
  }
}

/**
 * What is wrong with the rules and tables of one interface: missing, or left over. Reads the kernel only.
 * @param socket serves the container's namespace
 */
export function sourceRouteProblems(
  socket: NetlinkSocket,
  ways: readonly SourceWay[],
  interfaceName: string,
): string[] {
  const { rules, routes, standing } = compare(socket, ways)
  const index = getLink(socket, interfaceName)?.index
  const mine = rules.filter(({ table }) => table === tableOf(index))
  const missing = mine.filter(wanted => !standing.some(each => isSame(wanted, each)))
  const surplus = standing.filter(
    ({ table, source }) =>
      table === tableOf(index) && !mine.some(wanted => wanted.source === source && wanted.table === table),
  )
  return [
    ...missing.map(({ source, table }) => `no rule "from ${bare(source)} lookup ${table}"`),
    ...surplus.map(({ source, table }) => `a rule "from ${bare(source)} lookup ${table}" that is of no use`),
    ...routes.filter(({ index: at }) => at === index).flatMap(spec => routeProblem(socket, spec) ?? []),
  ]
}

/** A rule of ours as it stands in the kernel, with the gateway that its table leads to. */
export interface StandingSourceRoute {
  readonly address: string
  readonly table: number
  /** Absent where the table has no default route. */
  readonly gateway?: string
}

/** Ours, of one interface. @param socket serves the container's namespace */
export function listSourceRoutes(socket: NetlinkSocket, index: number): StandingSourceRoute[] {
  return ([4, 6] as const).flatMap(family => {
    const rules = (ownRules(socket, family) ?? []).filter(({ table }) => table === tableOf(index))
    if (rules.length === 0) return []
    const routes = listRoutes(socket, family, tableOf(index))
    const gateway = routes.find(({ destination }) => destination === undefined)?.gateway
    const via = gateway === undefined ? {} : { gateway }
    return rules.map(({ source, table }) => ({ address: bare(source), table, ...via }))
  })
}

function routeProblem(socket: NetlinkSocket, { destination, gateway, table, index }: RouteSpec): string | undefined {
  const found = listRoutes(socket, familyOf(gateway ?? destination), table).find(
    route => (route.destination ?? 'default') === destination && route.index === index,
  )
  const what = `${destination}${gateway === undefined ? '' : ` via ${gateway}`}`
  if (found === undefined) return `no route ${what} in table ${table}`
  return found.gateway === gateway ? undefined : `in table ${table} ${destination} leads to ${found.gateway}`
}

function routeOf({ containerInterface, addresses, gateways }: SourceWay, family: IpFamily): SourceRoute | undefined {
  const own = addresses.map(parsePrefix).filter(prefix => prefix.family === family)
  const gateway = gateways.find(each => each.includes(':') === (family === 6))
  if (gateway === undefined || own.length === 0) return undefined
  const bits = bitsOf(family)
  // A prefix of one is no subnet: what is there lies behind the gateway (ptp).
  const subnets = own.filter(({ length }) => length < bits).map(prefix => formatPrefix(networkOf(prefix)))
  return {
    family,
    interfaceName: containerInterface,
    gateway,
    sources: own.map(prefix => formatPrefix({ ...prefix, length: bits })),
    onLink: [...new Set([...subnets, ...(family === 6 ? [linkLocal6] : [])])],
  }
}

interface Comparison {
  /** Wanted. */
  readonly rules: readonly RuleSpec[]
  readonly routes: readonly RouteSpec[]
  /** Ours, in the kernel. */
  readonly standing: readonly RuleSpec[]
}

function compare(socket: NetlinkSocket, ways: readonly SourceWay[]): Comparison {
  const rules: RuleSpec[] = []
  const routes: RouteSpec[] = []
  const own = new Map(([4, 6] as const).map(family => [family, ownRules(socket, family)]))
  for (const { family, interfaceName, gateway, sources, onLink } of planSourceRoutes(ways)) {
    const index = getLink(socket, interfaceName)?.index
    if (index === undefined || own.get(family) === undefined) continue
    const table = tableOf(index)
    const to = { index, interfaceName, protocol: routeProtocol, table }
    routes.push(...onLink.map(destination => ({ ...to, destination })))
    // On the link, whatever the table knows of it: the gateway of a ptp network is in no subnet of the container's.
    routes.push({ ...to, destination: 'default', gateway, onlink: true })
    rules.push(...sources.map(source => ({ source, table, priority: sourcePriority, protocol: routeProtocol })))
  }
  return { rules, routes, standing: [...own.values()].flatMap(found => found ?? []) }
}

/** Our rules of one IP version; undefined where the kernel knows none. */
function ownRules(socket: NetlinkSocket, family: IpFamily): RuleSpec[] | undefined {
  try {
    return listRules(socket, family).flatMap(({ source, table, priority, protocol }) =>
      source === undefined || table === undefined || protocol !== routeProtocol || priority !== sourcePriority
        ? []
        : [{ source, table, priority, protocol }],
    )
  } catch (error) {
    if (hasCode(error, 'EAFNOSUPPORT', 'EOPNOTSUPP')) return undefined
    throw error
  }
}

function emptyTable(socket: NetlinkSocket, family: IpFamily, table: number): void {
  for (const { destination = 'default', gateway, index = 0, protocol } of listRoutes(socket, family, table)) {
    const interfaceName = getLink(socket, index)?.name ?? String(index)
    const way = { index, interfaceName, ...(gateway === undefined ? {} : { gateway }) }
    if (protocol === routeProtocol) apply(socket, routeRemove({ destination, ...way, protocol, table }), 'ESRCH')
  }
}

function apply(socket: NetlinkSocket, change: NetlinkChange, ...wanted: string[]): void {
  try {
    socket.apply(change)
  } catch (error) {
    if (!hasCode(error, ...wanted)) throw error
  }
}

function isSame(a: RuleSpec, b: RuleSpec): boolean {
  return a.source === b.source && a.table === b.table
}

function tableOf(index: number | undefined): number {
  return firstTable + (index ?? 0)
}

function bare(source: string): string {
  return source.replace(/\/.*/, '')
}
