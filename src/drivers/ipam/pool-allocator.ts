// Which subnet a network gets: the one the user wants, checked, or the first free default one. Pure.

import {
  broadcastOf,
  contains,
  formatAddress,
  formatPrefix,
  type IpPrefix,
  networkOf,
  overlaps,
  parsePrefix,
  tryParseAddress,
  tryParsePrefix,
} from '../../lib/ip.ts'
import { parseSubnetInput } from '../../lib/ip-input.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Pool, PoolRequest } from '../../model/network.ts'
import { type AddressRange, firstFree, rangeOf } from './taken-ranges.ts'

/** Where default pools come from: subnets of `length` bits out of `range`. */
export interface DefaultRange {
  readonly range: string
  readonly length: number
}

/** 10.210.0.0 to 10.255.255.255 in /24s: 11,776 networks, away from what VPNs and home routers use (traps 2.3#19). */
export const standardRanges: readonly DefaultRange[] = [
  { range: '10.210.0.0/15', length: 24 },
  { range: '10.212.0.0/14', length: 24 },
  { range: '10.216.0.0/13', length: 24 },
  { range: '10.224.0.0/11', length: 24 },
]

/** A subnet that must not be overlapped, and what to call it in the message, e.g. `the host route 10.0.0.0/8 dev tun0`. */
export interface UsedSubnet {
  readonly subnet: string
  readonly name: string
}

/**
 * @param used what must not be overlapped, each with its name for the message
 * @param taken what a subnet of our choice must not overlap either: nobody asks for its name
 * @throws TsrunError invalid, conflict, unavailable
 */
export async function choosePool(
  wanted: PoolRequest,
  used: readonly UsedSubnet[],
  ranges: readonly DefaultRange[] = standardRanges,
  taken: readonly AddressRange[] = [],
): Promise<Pool> {
  const named = used.flatMap(({ subnet, name }) => {
    const prefix = tryParsePrefix(subnet)
    // A default route overlaps everything and stands in nobody's way.
    return prefix === undefined || prefix.length === 0 ? [] : [{ prefix: networkOf(prefix), name }]
  })
  if (wanted.subnet === undefined)
    return chooseDefault(wanted, [...taken, ...named.map(({ prefix }) => rangeOf(prefix))], ranges)
  const text = await parseSubnetInput(wanted.subnet)
  if (typeof text !== 'string') throw invalid(wanted.subnet, text.message, text.hint)
  const subnet = parsePrefix(text)
  checkSubnet(subnet)
  for (const { prefix, name } of named) {
    if (overlaps(prefix, subnet))
      throw new TsrunError('conflict', 'pool-overlaps', `cannot create a pool ${text}: it overlaps ${name}`, {
        hint: 'choose a free range, e.g. --subnet 10.210.0.0/24, or none and let tsrun choose',
      })
  }
  return completePool(subnet, wanted)
}

function chooseDefault(wanted: PoolRequest, taken: readonly AddressRange[], ranges: readonly DefaultRange[]): Pool {
  for (const [name, value] of [
    ['gateway', wanted.gateway],
    ['IP range', wanted.ipRange],
    ['reserved address', Object.values(wanted.auxiliary ?? {})[0]],
  ] as const)
    if (value !== undefined)
      throw invalid(value, `a ${name} needs a subnet`, `say which one, e.g. --subnet 10.210.0.0/24`)
  for (const { range, length } of ranges) {
    const free = firstFree(parsePrefix(range), length, taken)
    if (free !== undefined) return completePool(free, {})
  }
  const all = ranges.map(({ range }) => range).join(', ')
  throw new TsrunError('unavailable', 'no-free-pool', `cannot choose a subnet: nothing is free in ${all}`, {
    hint: 'give one with --subnet, remove networks that are no longer needed, or widen the ranges in /etc/tsrun/networks.json',
  })
}

function checkSubnet(subnet: IpPrefix): void {
  const text = formatPrefix(subnet)
  const smallest = subnet.family === 4 ? 30 : 126
  if (subnet.length > smallest)
    throw invalid(text, 'it has no room for a gateway and a container', `make it a /${smallest} or larger`)
  for (const [range, what] of unusable)
    if (overlaps(parsePrefix(range), subnet)) throw invalid(text, `it overlaps ${range}, ${what}`, undefined)
}

const unusable = [
  ['0.0.0.0/8', 'which means "this host"'],
  ['127.0.0.0/8', 'the loopback addresses'],
  ['224.0.0.0/3', 'multicast and reserved addresses'],
  ['::/127', 'the unspecified and the loopback address'],
  ['::ffff:0:0/96', 'IPv4 addresses in the form of IPv6'],
  ['fe80::/10', 'link-local addresses, which each interface has of its own'],
  ['ff00::/8', 'multicast addresses'],
] as const

function completePool(subnet: IpPrefix, wanted: PoolRequest): Pool {
  const text = formatPrefix(subnet)
  const gateway = wanted.gateway === undefined ? firstHost(subnet) : checkGateway(subnet, wanted.gateway)
  const auxiliary = checkAuxiliary(subnet, wanted.auxiliary ?? {})
  if (wanted.ipRange === undefined) return { subnet: text, gateway, ...auxiliary }
  const range = tryParsePrefix(wanted.ipRange)
  if (range === undefined) throw invalid(text, `the IP range "${wanted.ipRange}" is not in CIDR form`, undefined)
  if (networkOf(range).value !== range.value)
    throw invalid(
      text,
      `the IP range ${wanted.ipRange} has host bits`,
      `did you mean ${formatPrefix(networkOf(range))}?`,
    )
  if (!contains(subnet, range)) throw invalid(text, `the IP range ${wanted.ipRange} is not inside it`, undefined)
  return { subnet: text, gateway, ipRange: formatPrefix(range), ...auxiliary }
}

function checkGateway(subnet: IpPrefix, text: string): string {
  const pool = formatPrefix(subnet)
  const gateway = tryParseAddress(text)
  if (gateway === undefined) throw invalid(pool, `the gateway "${text}" is not an IP address`, undefined)
  const hint = `e.g. ${firstHost(subnet)}`
  if (!contains(subnet, gateway)) throw invalid(pool, `the gateway ${text} is not inside it`, hint)
  if (gateway.value === subnet.value) throw invalid(pool, `the gateway ${text} is its network address`, hint)
  if (gateway.value === broadcastOf(subnet)?.value)
    throw invalid(pool, `the gateway ${text} is its broadcast address`, hint)
  return formatAddress(gateway)
}

/** IPAM refuses those that are the gateway, network or broadcast address when they are taken. */
function checkAuxiliary(subnet: IpPrefix, wanted: Readonly<Record<string, string>>): Pick<Pool, 'auxiliary'> {
  const entries = Object.entries(wanted).map(([name, text]) => {
    const address = tryParseAddress(text)
    if (address !== undefined && contains(subnet, address)) return [name, formatAddress(address)] as const
    throw invalid(formatPrefix(subnet), `the reserved address ${name}=${text} is not inside it`, undefined)
  })
  return entries.length === 0 ? {} : { auxiliary: Object.fromEntries(entries) }
}

/** The address that is the gateway unless the user says otherwise. */
export function firstHost(subnet: IpPrefix): string {
  return formatAddress({ family: subnet.family, value: subnet.value + 1n })
}

function invalid(pool: string, why: string, hint: string | undefined): TsrunError {
  const message = `cannot create a pool ${pool}: ${why}`
  return new TsrunError('invalid', 'bad-pool', message, hint === undefined ? {} : { hint })
}
