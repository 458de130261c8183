// Ids of the host that may be lent to containers: what /etc/subuid and /etc/subgid give to an account (subuid(5)), or a plain
// range.

import { readTextIfThere } from '../../lib/if-there.ts'
import { findPasswd, parseId } from '../../lib/passwd.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IdMapping, IdMaps } from '../../model/id-maps.ts'

/** Ids from `start` on. */
export interface IdRange {
  readonly start: number
  readonly size: number
}

/** What containers may be mapped to. */
export interface SubordinateIds {
  readonly uid: readonly IdRange[]
  readonly gid: readonly IdRange[]
}

/** Looked for in this order when nobody says whose ids to use; podman's account is the second. */
const accounts = ['tsrun', 'containers']

/**
 * What `--userns-remap` names: `default`, `USER[:GROUP]` (a name or a number of an account in /etc/subuid and /etc/subgid), or
 * `START:SIZE`, a range with a size of at least 1000.
 * @param etc where those files are @throws TsrunError invalid, not-found
 */
export function subordinateIds(setting: string, etc = '/etc'): SubordinateIds {
  const [first = '', second, ...more] = setting.split(':')
  const start = parseId(first)
  const size = second === undefined ? undefined : parseId(second)
  if (start !== undefined && size !== undefined && size >= 1000 && more.length === 0) {
    if (start === 0 || start + size > 2 ** 32 - 1)
      throw invalid(setting, 'that range holds the root of the host, or ends beyond the last id')
    return { uid: [{ start, size }], gid: [{ start, size }] }
  }
  if (first === '' || second === '' || more.length > 0) throw invalid(setting, 'it is neither an account nor a range')
  if (setting === 'default') {
    for (const account of accounts) {
      const found = ofAccount(account, account, etc)
      if (found.uid.length > 0 && found.gid.length > 0) return found
    }
    throw missing(accounts.join('" or "'), etc)
  }
  const found = ofAccount(first, second ?? first, etc)
  if (found.uid.length > 0 && found.gid.length > 0) return found
  throw missing(first, etc)
}

/** The first `size` ids of the ranges, as one mapping from 0 on. @throws TsrunError invalid when there are fewer than 1000 */
export function mapWhole(ids: SubordinateIds): IdMaps {
  return { uid: lineUp(ids.uid), gid: lineUp(ids.gid) }
}

/** Range after range: container ids without a gap. */
function lineUp(ranges: readonly IdRange[]): IdMapping[] {
  let containerId = 0
  return ranges.map(({ start, size }) => {
    const mapping = { containerId, hostId: start, size }
    containerId += size
    return mapping
  })
}

function ofAccount(user: string, group: string, etc: string): SubordinateIds {
  return { uid: rangesOf(`${etc}/subuid`, user, etc), gid: rangesOf(`${etc}/subgid`, group, etc) }
}

/** Lines `ACCOUNT:START:SIZE`; the account may stand there by its number. */
function rangesOf(file: string, account: string, etc: string): IdRange[] {
  const number = findPasswd(readTextIfThere(`${etc}/passwd`) ?? '', entry => entry.name === account)?.uid
  const names = new Set([account, ...(number === undefined ? [] : [String(number)])])
  return (readTextIfThere(file) ?? '').split('\n').flatMap(line => {
    const [name = '', startText = '', sizeText = ''] = line.trim().split(':')
    const [start, size] = [parseId(startText), parseId(sizeText)]
    return names.has(name) && start !== undefined && start > 0 && size !== undefined && size > 0
      ? [{ start, size }]
      : []
  })
}

function invalid(setting: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'userns-remap', `invalid value "${setting}" for --userns-remap: ${reason}`, {
    hint: 'default, USER[:GROUP] of /etc/subuid and /etc/subgid, or START:SIZE, e.g. 165536:65536',
  })
}

function missing(account: string, etc: string): TsrunError {
  return new TsrunError(
    'not-found',
    'no-subordinate-ids',
    `cannot map users: ${etc}/subuid and ${etc}/subgid give no ids to "${account}"`,
    {
      hint: 'add a line such as "tsrun:2147483648:1073741824" to both, or name a range: --userns-remap 165536:65536',
    },
  )
}
