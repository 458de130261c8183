// Which address of a pool is next. Next-fit: the search goes on behind the last one given, so that an address given
// back is not used at once, while neighbours may still remember its MAC (traps 2.3#23).

import {
  broadcastOf,
  contains,
  formatAddress,
  type IpPrefix,
  lastAddress,
  networkOf,
  parseAddress,
  parsePrefix,
  tryParseAddress,
} from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Pool, PoolUsage } from '../../model/network.ts'

/** Where the addresses of one pool are kept. */
export interface AddressStore {
  /** Takes an address for `owner`. @returns false when it is taken */
  reserve(address: string, owner: string): boolean
  ownerOf(address: string): string | undefined
  /** Gives an address back if `owner` has it. */
  release(address: string, owner: string): void
  /** Names of all that are taken; may hold other names as well. */
  takenAddresses(): readonly string[]
  /** The last address given: a hint. */
  last(): string | undefined
  setLast(address: string): void
}

/** How many addresses are tried one by one before the taken ones are listed. */
const probes = 8

/**
 * Takes the wanted address, or the next free one.
 * @returns the address without prefix length
 * @throws TsrunError unavailable, conflict, invalid
 */
export function takeAddress(store: AddressStore, pool: Pool, owner: string, wanted?: string): string {
  if (owner === '') throw new Error('an address needs an owner')
  return wanted === undefined ? takeNext(store, pool, owner) : takeWanted(store, pool, owner, wanted)
}

function takeWanted(store: AddressStore, pool: Pool, owner: string, wanted: string): string {
  const subnet = parsePrefix(pool.subnet)
  const parsed = tryParseAddress(wanted)
  if (parsed === undefined) throw badAddress(wanted, 'it is not an IP address')
  const address = formatAddress(parsed)
  const hint = `choose one between ${rangeText(pool)}, or none and let tsrun choose`
  if (!contains(subnet, parsed)) throw badAddress(address, `it is not in ${pool.subnet}`, hint)
  if (address === pool.gateway) throw badAddress(address, 'it is the gateway', hint)
  if (reservedValues(subnet).includes(parsed.value))
    throw badAddress(address, `it is the ${parsed.value === subnet.value ? 'network' : 'broadcast'} address`, hint)
  if (store.reserve(address, owner)) return address
  const holder = store.ownerOf(address)
  // Given back this very moment: once more, and then it is somebody else's.
  if (holder === undefined && store.reserve(address, owner)) return address
  if (holder === owner) return address
  throw new TsrunError(
    'conflict',
    'address-taken',
    `cannot use address ${address}: it is held by "${holder ?? store.ownerOf(address) ?? 'another container'}"`,
    { hint },
  )
}

function takeNext(store: AddressStore, pool: Pool, owner: string): string {
  const subnet = parsePrefix(pool.subnet)
  const range = parsePrefix(pool.ipRange ?? pool.subnet)
  const first = range.value
  const size = lastAddress(range).value - first + 1n
  const last = parseHint(store.last(), range)
  const start = last === undefined ? 0n : last - first + 1n
  const never = new Set([...reservedValues(subnet), parseAddress(pool.gateway).value])

  let taken: Set<string> | undefined
  let tried = 0
  for (let step = 0n; step < size; step++) {
    const value = first + ((start + step) % size)
    if (never.has(value)) continue
    const address = formatAddress({ family: subnet.family, value })
    if (taken?.has(address) === true) continue
    if (store.reserve(address, owner)) {
      store.setLast(address)
      return address
    }
    if (++tried === probes) taken = new Set(store.takenAddresses())
  }
  throw new TsrunError(
    'unavailable',
    'pool-full',
    `cannot give out an address of ${pool.ipRange ?? pool.subnet}: all ${usable(pool)} are taken`,
    { hint: 'remove containers that are no longer needed, or create a network with a larger subnet' },
  )
}

/** Network and broadcast address, or the router anycast address in IPv6; none in /31 and smaller. */
function reservedValues(subnet: IpPrefix): bigint[] {
  const broadcast = broadcastOf(subnet)
  if (subnet.family === 6) return subnet.length > 126 ? [] : [networkOf(subnet).value]
  return broadcast === undefined ? [] : [networkOf(subnet).value, broadcast.value]
}

/** How many addresses of the pool containers can have. */
export function usable(pool: Pool): bigint {
  const range = parsePrefix(pool.ipRange ?? pool.subnet)
  const never = new Set([...reservedValues(parsePrefix(pool.subnet)), parseAddress(pool.gateway).value])
  const excluded = [...never].filter(value => contains(range, { family: range.family, value })).length
  return lastAddress(range).value - range.value + 1n - BigInt(excluded)
}

/** How full the pool is. @param taken canonical addresses without prefix length */
export function usageOf(pool: Pool, taken: ReadonlySet<string>): PoolUsage {
  const subnet = parsePrefix(pool.subnet)
  const range = parsePrefix(pool.ipRange ?? pool.subnet)
  const kept = [...reservedValues(subnet), parseAddress(pool.gateway).value]
  const inRange = [...taken].filter(address => address !== pool.gateway && contains(range, parseAddress(address)))
  const values = new Set([...kept, ...[...taken].map(address => parseAddress(address).value)])
  return {
    subnet: pool.subnet,
    inUse: values.size,
    available: usable(pool) - BigInt(inRange.length),
  }
}

function rangeText(pool: Pool): string {
  const subnet = parsePrefix(pool.subnet)
  const reserved = reservedValues(subnet)
  const end = lastAddress(subnet)
  const first = reserved.includes(subnet.value) ? subnet.value + 1n : subnet.value
  const last = reserved.includes(end.value) ? end.value - 1n : end.value
  return `${formatAddress({ family: subnet.family, value: first })} and ${formatAddress({ family: subnet.family, value: last })}`
}

function parseHint(text: string | undefined, range: IpPrefix): bigint | undefined {
  const address = text === undefined ? undefined : tryParseAddress(text)
  return address !== undefined && contains(range, address) ? address.value : undefined
}

function badAddress(address: string, why: string, hint?: string): TsrunError {
  return new TsrunError(
    'invalid',
    'bad-address',
    `cannot use address ${address}: ${why}`,
    hint === undefined ? {} : { hint },
  )
}
