// The addresses that pools take, as few ranges: neighbours are joined, so that ten thousand subnets in a row are one range.
// Pure.

import {
  bitsOf,
  formatAddress,
  type IpFamily,
  type IpPrefix,
  lastAddress,
  networkOf,
  tryParseAddress,
} from '../../lib/ip.ts'

/** All addresses from `first` to `last`, both included. */
export interface AddressRange {
  readonly family: IpFamily
  readonly first: bigint
  readonly last: bigint
}

/** The addresses of a subnet. */
export function rangeOf(prefix: IpPrefix): AddressRange {
  return { family: prefix.family, first: networkOf(prefix).value, last: lastAddress(prefix).value }
}

/** Sorted, IPv4 first; what overlaps or touches is joined. */
export function joinRanges(ranges: readonly AddressRange[]): AddressRange[] {
  const joined: AddressRange[] = []
  for (const range of ranges.toSorted(compare)) {
    const before = joined.at(-1)
    if (before === undefined || before.family !== range.family || range.first > before.last + 1n) joined.push(range)
    else if (range.last > before.last) joined.splice(-1, 1, { ...before, last: range.last })
  }
  return joined
}

/** What remains of `ranges` without the addresses of `gone`. */
export function withoutRange(ranges: readonly AddressRange[], gone: AddressRange): AddressRange[] {
  return ranges.flatMap(range => {
    if (!rangesOverlap(range, gone)) return [range]
    const head = { ...range, last: gone.first - 1n }
    const tail = { ...range, first: gone.last + 1n }
    return [head, tail].filter(({ first, last }) => first <= last)
  })
}

/** Whether two ranges share an address. */
export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last
}

/** The first subnet of `length` bits in `within` that overlaps none of `taken`; undefined where there is none. */
export function firstFree(within: IpPrefix, length: number, taken: readonly AddressRange[]): IpPrefix | undefined {
  const size = 1n << BigInt(bitsOf(within.family) - length)
  const end = lastAddress(within).value
  let value = within.value
  for (const { family, first, last } of joinRanges(taken)) {
    if (family !== within.family || last < value) continue
    if (first >= value + size) break
    value = (last / size + 1n) * size
  }
  return value + size - 1n > end ? undefined : { family: within.family, value, length }
}

/** `10.210.0.0-10.210.7.255`. */
export function formatRange({ family, first, last }: AddressRange): string {
  return `${formatAddress({ family, value: first })}-${formatAddress({ family, value: last })}`
}

/** @returns undefined for what formatRange() does not make */
export function tryParseRange(text: string): AddressRange | undefined {
  const [first, last, ...rest] = text.split('-').map(tryParseAddress)
  if (first === undefined || last === undefined || rest.length > 0) return undefined
  if (first.family !== last.family || first.value > last.value) return undefined
  return { family: first.family, first: first.value, last: last.value }
}

function compare(a: AddressRange, b: AddressRange): number {
  if (a.family !== b.family) return a.family - b.family
  return a.first < b.first ? -1 : a.first > b.first ? 1 : 0
}
