// `--filter key=value`, several: values of one key are alternatives, keys are all needed. Pure.

import { TsrunError } from '../model/errors.ts'

/** @param known the keys that the verb has @throws TsrunError invalid */
export function parseFilters(
  texts: readonly string[],
  known: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const filters = new Map<string, string[]>()
  for (const text of texts) {
    const at = text.indexOf('=')
    const key = at < 0 ? text : text.slice(0, at)
    if (at < 0 || !known.includes(key))
      throw new TsrunError('invalid', 'filter', `invalid filter "${text}"`, {
        hint: `KEY=VALUE with one of: ${known.join(', ')}`,
      })
    filters.set(key, [...(filters.get(key) ?? []), text.slice(at + 1)])
  }
  return filters
}

/** Whether `labels` hold what `label=key[=value]` asks for. */
export function matchesLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=')
  const key = at < 0 ? wanted : wanted.slice(0, at)
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1))
}
