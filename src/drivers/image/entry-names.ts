// Names of archive members: as paths below the root, and in errors.

import { hasCode } from '../../ffi/errno.ts'
import { displayName } from '../../lib/tar-entry.ts'
import { TsrunError } from '../../model/errors.ts'

/**
 * A member's name as a path below the root: no leading slash, no empty or "." parts.
 * ".." has no honest use in an archive and is refused; that nothing leaves the root does not rest on it.
 */
export function normalise(name: string): string {
  if (!/(^|\/)(\.{0,2})(\/|$)/.test(name)) return name
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (parts.includes('..')) {
    throw new TsrunError('invalid', 'layer-escape', `the name "${displayName(name)}" leads out of its directory`)
  }
  return parts.join('/')
}

/** Says which entry it was. */
export function explain(error: unknown, name: string): unknown {
  if (!(error instanceof Error)) return error
  const kind =
    error instanceof TsrunError
      ? error.kind
      : hasCode(error, 'ENOSPC', 'EDQUOT', 'EIO', 'EMFILE')
        ? 'system'
        : 'invalid'
  const code = error instanceof TsrunError ? error.code : 'invalid-layer'
  return new TsrunError(kind, code, `cannot unpack "${displayName(name)}": ${error.message}`, { cause: error })
}
