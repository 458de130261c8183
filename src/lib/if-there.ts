// What may be absent: a small text file, a folder of names. One that cannot be read for another reason is an error.

import { openSync, readdirSync, readFileSync } from 'node:fs'

/**
 * What counts as absent besides ENOENT, where the caller says so: a file in the way of the path, one that is kept from us, a
 * process that has ended.
 */
type FurtherAbsence = 'ENOTDIR' | 'EACCES' | 'ESRCH'

/** The text of a file (UTF-8); undefined where there is none. */
export function readTextIfThere(path: string, ...further: readonly FurtherAbsence[]): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isAbsent(error, further)) return undefined
    throw error
  }
}

/** A descriptor that is the caller's; undefined where there is no file, and `flags` do not make one (then with mode 0600). */
export function openIfThere(path: string, flags: string | number = 'r'): number | undefined {
  try {
    return openSync(path, flags, 0o600)
  } catch (error) {
    if (isAbsent(error, [])) return undefined
    throw error
  }
}

/** The names in a folder; none where there is no folder. */
export function namesIfThere(path: string, ...further: readonly FurtherAbsence[]): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (isAbsent(error, further)) return []
    throw error
  }
}

function isAbsent(error: unknown, further: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && ['ENOENT', ...further].includes(String(error.code))
}
