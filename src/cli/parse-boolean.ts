// Truth as Go's strconv.ParseBool spells it: docker's users write `--rm=false` and `readonly=1`. Pure.

import { TsrunError } from '../model/errors.ts'

const truths = ['1', 't', 'T', 'TRUE', 'true', 'True']
const lies = ['0', 'f', 'F', 'FALSE', 'false', 'False']

/** @returns undefined for anything but the twelve spellings */
export function tryParseBoolean(text: string): boolean | undefined {
  if (truths.includes(text)) return true
  return lies.includes(text) ? false : undefined
}

/** @throws TsrunError invalid, naming the flag and the value */
export function parseBoolean(flag: string, text: string): boolean {
  const value = tryParseBoolean(text)
  if (value !== undefined) return value
  throw new TsrunError('invalid', 'boolean', `invalid value "${text}" for ${flag}: it is neither true nor false`, {
    hint: 'true, t or 1; false, f or 0',
  })
}
