// What an output has no room for, or takes no more: in the words of every face.

import { TsrunError } from './errors.ts'

/** @param where what was written to, e.g. `standard output` @param error Node's, or a failed system call */
export function outputError(where: string, error: unknown): TsrunError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  const reason = isFull ? 'no space left on device' : reasonOf(error)
  return new TsrunError(
    'system',
    'output',
    `cannot write to ${where}: ${reason}${code === undefined ? '' : ` (${code})`}`,
    {
      cause: error,
      ...(isFull ? { hint: '`df` shows which disk is full; send the output elsewhere' } : {}),
    },
  )
}

/** Node says `EISDIR: illegal operation on a directory, open`: the part that is for people. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message
}
