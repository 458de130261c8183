// Points in time as docker takes them: RFC 3339, seconds since 1970, or a duration ago. Pure but for the clock.

import { parseDuration } from '../lib/duration.ts'
import { TsrunError } from '../model/errors.ts'

/** @returns RFC 3339 @throws TsrunError invalid */
export function parseTime(flag: string, text: string): string {
  const duration = parseDuration(text)
  const instant =
    duration !== undefined
      ? Date.now() - duration
      : /^\d+(\.\d+)?$/.test(text)
        ? Number(text) * 1000
        : parseTimestamp(text)
  if (Number.isNaN(instant) || Math.abs(instant) > 8.64e15)
    throw new TsrunError('invalid', 'time', `invalid value "${text}" for ${flag}`, {
      hint: 'e.g. 2026-11-20T10:00:00Z, 1795168800 (seconds since 1970), or 10m (ten minutes ago)',
    })
  return new Date(instant).toISOString()
}

/** RFC 3339 and docker's shorter forms of it, down to the date alone; without a zone it is local time. NaN for others. */
function parseTimestamp(text: string): number {
  // Date.parse alone takes almost anything that holds a number: `soon 5` is a day in May 2001 to it.
  const match = /^(\d{4}-\d\d-\d\d)(?:T(\d\d)(:\d\d(?::\d\d(?:\.\d{1,9})?)?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(text)
  if (match === null) return Number.NaN
  const [, date = '', hour = '00', rest = ':00', zone = ''] = match
  // JavaScript takes 31 February for a day in March.
  if (Number(date.slice(8)) > new Date(Date.UTC(Number(date.slice(0, 4)), Number(date.slice(5, 7)), 0)).getUTCDate())
    return Number.NaN
  return Date.parse(`${date}T${hour}${rest}${zone}`)
}
