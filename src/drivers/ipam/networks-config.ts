// /etc/tsrun/networks.json: where the subnets come from that nobody chose. Its form is in docs/networking.md, under docker's names.
// An unknown key is an error: a misspelt one should not pass for its absence.

import { readFileSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { bitsOf, formatPrefix, networkOf, overlaps, parsePrefix, tryParsePrefix } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DefaultRange } from './pool-allocator.ts'

const defaultPath = '/etc/tsrun/networks.json'
const poolsKey = 'default-address-pools'

/** Where the configuration is: $TSRUN_NETWORKS, else /etc/tsrun/networks.json. */
export function networksConfigPath(): string {
  return process.env.TSRUN_NETWORKS || defaultPath
}

/** The ranges that the host's administrator wants; none where there is no file or it names none. @throws TsrunError invalid */
export function readDefaultRanges(path = networksConfigPath()): readonly DefaultRange[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
  try {
    return parseNetworksConfig(JSON.parse(text))
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new TsrunError('invalid', 'networks-config', `cannot read "${path}": ${error.message}`, {
      hint: 'docs/networking.md, "Addresses", says how it is written',
      cause: error,
    })
  }
}

/** @throws Error saying what is wrong */
export function parseNetworksConfig(value: unknown): DefaultRange[] {
  const { [poolsKey]: pools = [] } = objectOf(value, 'it', [poolsKey])
  if (!Array.isArray(pools)) throw new Error(`"${poolsKey}" is not a list`)
  const ranges = pools.map(parseRange)
  for (const [index, { range }] of ranges.entries())
    for (const other of ranges.slice(index + 1))
      if (overlaps(parsePrefix(range), parsePrefix(other.range)))
        throw new Error(`the bases ${range} and ${other.range} overlap`)
  return ranges
}

function parseRange(value: unknown): DefaultRange {
  const { base, size } = objectOf(value, `an entry of "${poolsKey}"`, ['base', 'size'])
  const prefix = typeof base === 'string' ? tryParsePrefix(base) : undefined
  if (prefix === undefined) throw new Error(`the base ${JSON.stringify(base)} is not in CIDR form`)
  const range = formatPrefix(networkOf(prefix))
  if (range !== formatPrefix(prefix)) throw new Error(`the base ${base} has host bits: did you mean ${range}?`)
  // A gateway and a container have to fit in.
  const longest = bitsOf(prefix.family) - 2
  if (typeof size !== 'number' || !Number.isInteger(size) || size < Math.max(prefix.length, 1) || size > longest)
    throw new Error(`the size of ${range} is not a prefix length from ${Math.max(prefix.length, 1)} to ${longest}`)
  return { range, length: size }
}

function objectOf(value: unknown, what: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${what} is not an object`)
  const unknown = Object.keys(value).find(key => !keys.includes(key))
  if (unknown !== undefined) throw new Error(`${what} has no key "${unknown}": it takes ${keys.join(', ')}`)
  return value as Record<string, unknown>
}
