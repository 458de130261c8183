// Points in time as docker takes them: RFC 3339, seconds since 1970, or a duration ago. Pure but for the clock.

import { TsrunError } from '../model/errors.ts'

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `1h30m`, `500ms` -> milliseconds, or undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined
  let total = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(number) * (unitMs[unit ?? ''] ?? 0)
  return total
}

/** @returns RFC 3339 @throws TsrunError invalid */
export function parseTime(flag: string, text: string): string {
  const duration = parseDuration(text)
  const instant =
    duration !== undefined ? Date.now() - duration : /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (Number.isNaN(instant) || Math.abs(instant) > 8.64e15)
    throw new TsrunError('invalid', 'time', `invalid value "${text}" for ${flag}`, {
      hint: 'e.g. 2026-11-20T10:00:00Z, 1795168800 (seconds since 1970), or 10m (ten minutes ago)',
    })
  return new Date(instant).toISOString()
}
