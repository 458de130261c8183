// `key=value`, as labels and options are given. Pure.

import { TsrunError } from '../model/errors.ts'

/** `key=value` pairs; a key alone has an empty value. @throws TsrunError invalid */
export function parsePairs(flag: string, pairs: readonly string[]): Record<string, string> {
  const result: Record<string, string> = Object.create(null)
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const key = at < 0 ? pair : pair.slice(0, at)
    if (key === '') throw new TsrunError('invalid', 'pair', `invalid value "${pair}" for ${flag}: the key is empty`)
    result[key] = at < 0 ? '' : pair.slice(at + 1)
  }
  return { ...result }
}
