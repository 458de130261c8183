// The IPv6 addresses that this host gives out unasked: a /48 of unique local addresses whose 40 bits were drawn once
// (RFC 4193 section 3.2), so that networks of two hosts do not meet when they are joined one day. Kept in a file.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { formatPrefix, tryParsePrefix } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DefaultRange } from './pool-allocator.ts'

/** A /64 for each network, as SLAAC and everybody's habits have it. */
const subnetLength = 64

/** The host's range; drawn and written to `directory` at the first call. The caller holds the lock of the pools. */
export async function localRange(directory: string): Promise<DefaultRange> {
  const file = join(directory, 'local-range6')
  const text = readOrUndefined(file) ?? draw(file)
  const prefix = tryParsePrefix(text)
  if (prefix?.family === 6 && prefix.length <= subnetLength)
    return { range: formatPrefix(prefix), length: subnetLength }
  throw new TsrunError('system', 'damaged-state', `cannot choose an IPv6 subnet: "${file}" holds no IPv6 range`, {
    hint: 'write one into it, e.g. fd12:3456:789a::/48, or remove the file: tsrun then draws another one',
  })
}

function draw(file: string): string {
  // Loaded here: once in the life of a host.
  const { randomBytes } = process.getBuiltinModule('node:crypto')
  const [a, ...words] =
    randomBytes(5)
      .toString('hex')
      .match(/^..|..../g) ?? []
  const text = `fd${a}:${words.join(':')}::/48`
  writeFileSync(file, `${text}\n`, { mode: 0o600, flag: 'wx' })
  return text
}

function readOrUndefined(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
