// `--filter key=value`, several: values of one key are alternatives, keys are all needed, and so are all labels. Pure.

import type { PruneFilter } from '../engine/prune-filter.ts'
import { hasLabel } from '../engine/prune-filter.ts'
import { TsrunError } from '../model/errors.ts'
import { parseBoolean } from './parse-boolean.ts'
import { parseTime } from './parse-time.ts'

/** Key -> the values it was given. */
export type Filters = ReadonlyMap<string, readonly string[]>

/** @param known the keys that the verb has @throws TsrunError invalid */
export function parseFilters(texts: readonly string[], known: readonly string[]): Filters {
  const filters = new Map<string, string[]>()
  for (const text of texts) {
    const at = text.indexOf('=')
    // `label!=key` has its sign in the key.
    const key = at < 0 ? text : text.slice(0, at)
    if (at < 0 || !known.includes(key))
      throw new TsrunError('invalid', 'filter', `invalid filter "${text}"`, {
        hint: `KEY=VALUE with one of: ${known.join(', ')}`,
      })
    filters.set(key, [...(filters.get(key) ?? []), text.slice(at + 1)])
  }
  return filters
}

/** Whether a thing passes: `tests` says of one value of a key whether it fits. */
export function passesFilters(filters: Filters, tests: Readonly<Record<string, (value: string) => boolean>>): boolean {
  return [...filters].every(([key, values]) => {
    const fits = (value: string) => tests[key]?.(value) === true
    return key === 'label' ? values.every(fits) : values.some(fits)
  })
}

/** Whether `labels` hold what `label=key[=value]` asks for. */
export function matchesLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  return hasLabel(labels, wanted)
}

/** A filter's value as a truth. @throws TsrunError invalid */
export function parseTruth(key: string, value: string): boolean {
  return parseBoolean(`--filter ${key}`, value)
}

/** `until=`, `label=` and `label!=` of the prune verbs. @param known those that the verb has @throws TsrunError invalid */
export function parsePruneFilter(
  texts: readonly string[] | undefined,
  known: readonly string[] = ['until', 'label', 'label!'],
): PruneFilter {
  const filters = parseFilters(texts ?? [], known)
  const until = filters.get('until')
  if (until !== undefined && until.length > 1)
    throw new TsrunError('invalid', 'filter', 'cannot use several until filters: one point in time is enough')
  return {
    ...(until?.[0] === undefined ? {} : { until: parseTime('--filter until', until[0]) }),
    labels: filters.get('label') ?? [],
    withoutLabels: filters.get('label!') ?? [],
  }
}
