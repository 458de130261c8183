// Address arithmetic on bigints, for both families. Our own code and not the package `ip-address`, because loading
// that costs a compiled tsrun 2 ms of its 15 (docs/design/netlink.md); the package is used where a user's text is
// explained (ip-input.ts), and a test compares the two on random input.

export type IpFamily = 4 | 6

/** An IP address: its number, and how many bits that has. */
export interface IpAddress {
  readonly family: IpFamily
  readonly value: bigint
}

/** A subnet (`value` has no host bits) or an address with its prefix length. */
export interface IpPrefix extends IpAddress {
  readonly length: number
}

/** 32 or 128. */
export function bitsOf(family: IpFamily): number {
  return family === 4 ? 32 : 128
}

/** @returns undefined when `text` is no address in plain form (no zone, no prefix length, no leading zeros) */
export function tryParseAddress(text: string): IpAddress | undefined {
  const v6 = text.includes(':')
  const value = v6 ? parseV6(text) : parseV4(text)
  return value === undefined ? undefined : { family: v6 ? 6 : 4, value }
}

/** @throws Error when `text` is no address */
export function parseAddress(text: string): IpAddress {
  const address = tryParseAddress(text)
  if (address === undefined) throw new Error(`not an IP address: "${text}"`)
  return address
}

/** @returns undefined when `text` is not `<address>/<length>`; host bits are kept */
export function tryParsePrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf('/')
  if (slash < 0) return undefined
  const address = tryParseAddress(text.slice(0, slash))
  const digits = text.slice(slash + 1)
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined
  const length = Number(digits)
  return length > bitsOf(address.family) ? undefined : { ...address, length }
}

/** `192.168.0.2/24`; host bits are kept. @throws Error when `text` is no address with a prefix length */
export function parsePrefix(text: string): IpPrefix {
  const prefix = tryParsePrefix(text)
  if (prefix === undefined) throw new Error(`not an IP address with a prefix length: "${text}"`)
  return prefix
}

/** Canonical text: dotted quad, or RFC 5952 (lower case, the longest run of zeros as `::`). */
export function formatAddress({ family, value }: IpAddress): string {
  if (family === 4) {
    const n = Number(value)
    return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`
  }
  return formatV6(value)
}

/** `<address>/<length>`. */
export function formatPrefix(prefix: IpPrefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`
}

/** The address's bytes in network order: 4 or 16. */
export function addressBytes({ family, value }: IpAddress): Buffer {
  const bytes = Buffer.alloc(family === 4 ? 4 : 16)
  if (family === 4) bytes.writeUInt32BE(Number(value))
  else {
    bytes.writeBigUInt64BE(value >> 64n, 0)
    bytes.writeBigUInt64BE(value & 0xffffffffffffffffn, 8)
  }
  return bytes
}

/** @returns undefined unless there are 4 or 16 bytes */
export function addressFromBytes(bytes: Uint8Array): IpAddress | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length === 4) return { family: 4, value: BigInt(buffer.readUInt32BE(0)) }
  if (buffer.length !== 16) return undefined
  return { family: 6, value: (buffer.readBigUInt64BE(0) << 64n) | buffer.readBigUInt64BE(8) }
}

/** The subnet that `prefix` lies in: host bits zero. In IPv4 also called the network address. */
export function networkOf(prefix: IpPrefix): IpPrefix {
  const host = hostBits(prefix)
  return { ...prefix, value: (prefix.value >> host) << host }
}

/** The last address of the subnet; in IPv4 the broadcast address (for lengths up to 30). */
export function lastAddress(prefix: IpPrefix): IpAddress {
  const host = hostBits(prefix)
  return { family: prefix.family, value: ((prefix.value >> host) << host) | ((1n << host) - 1n) }
}

/** The IPv4 broadcast address, or undefined where there is none: IPv6, /31 and /32. */
export function broadcastOf(prefix: IpPrefix): IpAddress | undefined {
  return prefix.family === 4 && prefix.length <= 30 ? lastAddress(prefix) : undefined
}

/** Whether `subnet` holds `inner`, an address or a whole subnet. False across families. */
export function contains(subnet: IpPrefix, inner: IpAddress | IpPrefix): boolean {
  if (subnet.family !== inner.family) return false
  if ('length' in inner && inner.length < subnet.length) return false
  const host = hostBits(subnet)
  return subnet.value >> host === inner.value >> host
}

/** Whether two subnets share an address. */
export function overlaps(a: IpPrefix, b: IpPrefix): boolean {
  return contains(a, { family: b.family, value: b.value }) || contains(b, { family: a.family, value: a.value })
}

/** The address `steps` further (may be negative). @returns undefined outside the family's range */
export function offsetAddress(address: IpAddress, steps: bigint | number): IpAddress | undefined {
  const value = address.value + BigInt(steps)
  return value < 0n || value >> BigInt(bitsOf(address.family)) !== 0n ? undefined : { family: address.family, value }
}

/** The address after this one, or undefined behind the last of its family. */
export function nextAddress(address: IpAddress): IpAddress | undefined {
  return offsetAddress(address, 1)
}

/** Order for sorting: IPv4 before IPv6, then by number. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family - b.family
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0
}

function hostBits({ family, length }: IpPrefix): bigint {
  return BigInt(bitsOf(family) - length)
}

function parseV4(text: string): bigint | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  let value = 0
  for (const part of parts) {
    // A leading zero means octal to some parsers and decimal to others: refused (CVE-2021-29923).
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined
    const octet = Number(part)
    if (octet > 255) return undefined
    value = value * 256 + octet
  }
  return BigInt(value)
}

function parseV6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  let value = 0n
  for (const group of [...head, ...new Array<number>(missing).fill(0), ...tail]) value = (value << 16n) | BigInt(group)
  return value
}

/** @param last whether the address ends here, so that the last group may be a dotted quad */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = last && i === parts.length - 1 ? parseV4(part) : undefined
      if (quad === undefined) return undefined
      groups.push(Number(quad >> 16n), Number(quad & 0xffffn))
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined
      groups.push(Number.parseInt(part, 16))
    }
  }
  return groups
}

function formatV6(value: bigint): string {
  const groups: number[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn))
  // RFC 5952 section 5: v4-mapped addresses keep the dotted quad.
  if (value >> 32n === 0xffffn) return `::ffff:${formatAddress({ family: 4, value: value & 0xffffffffn })}`
  const [start, length] = longestZeroRun(groups)
  const hex = groups.map(group => group.toString(16))
  if (length < 2) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}

function longestZeroRun(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0]
  let start = 0
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue
    if (i - start > best[1]) best = [start, i - start]
    start = i + 1
  }
  return best
}
