// Columns as docker prints them, and the few ways to say how long ago something was.

/** Left-aligned columns with three spaces between them, none narrower than `least`, as docker has it. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[], least = 10): string {
  const all = [header, ...rows]
  const count = Math.max(...all.map(row => row.length))
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(least, ...all.map(row => displayWidth(row[column] ?? '') + 3)),
  )
  const pad = (cell: string, column: number) => cell + ' '.repeat((widths[column] ?? 0) - displayWidth(cell))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : pad(cell, column)))
      .join('')
      .trimEnd()
  return `${all.map(line).join('\n')}\n`
}

/** How many columns of a terminal `text` takes: none for combining characters, two for those of East Asia and emoji. */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const character of text) width += characterWidth(character)
  return width
}

// Unicode's East_Asian_Width W and F (UAX 11), in whole blocks: regular expressions have no name for them.
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u

function characterWidth(character: string): number {
  if (/[\p{Mn}\p{Me}\p{Cf}\p{Cc}\u1160-\u11ff]/u.test(character)) return 0
  return wide.test(character) ? 2 : 1
}

/** `5 seconds`, `About a minute`, `3 hours`, `2 weeks`: docker's words. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return 'an unknown time'
  const seconds = Math.floor(ms / 1000)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < 60) return `${seconds} seconds`
  const minutes = Math.floor(seconds / 60)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.round(minutes / 60)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  const days = Math.floor(hours / 24)
  if (days < 14) return `${days} days`
  if (days < 60) return `${Math.floor(days / 7)} weeks`
  if (days < 730) return `${Math.floor(days / 30)} months`
  return `${Math.floor(days / 365)} years`
}

/** `2026-11-20 23:14:35 +0000 UTC`, in this machine's time zone. */
export function formatDate(time: string): string {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return 'N/A'
  const offset = -date.getTimezoneOffset()
  const two = (value: number) => String(Math.floor(Math.abs(value))).padStart(2, '0')
  const local = new Date(date.getTime() + offset * 60_000).toISOString()
  const zone = `${offset < 0 ? '-' : '+'}${two(offset / 60)}${two(offset % 60)}`
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${zone} ${offset === 0 ? 'UTC' : zone}`
}

/** `5 minutes ago`; `N/A` where there is no time. @param time RFC 3339 */
export function formatAgo(time: string): string {
  const ms = Date.now() - Date.parse(time)
  return Number.isNaN(ms) ? 'N/A' : `${formatDuration(Math.max(0, ms))} ago`
}

/** Decimal units with three digits, as `docker images`: `1.25MB`. */
export function formatBytes(bytes: number): string {
  return inUnits(bytes, { units: ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'], base: 1000, digits: 3 })
}

/** Binary units with four digits, as docker shows memory: `1.953MiB`. */
export function formatBinaryBytes(bytes: number): string {
  return inUnits(bytes, { units: ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'], base: 1024, digits: 4 })
}

function inUnits(
  bytes: number,
  { units, base, digits }: { units: readonly string[]; base: number; digits: number },
): string {
  let value = bytes
  let unit = 0
  // Rounded first: 999 999 bytes are 1MB, not 1000kB.
  while (Number(value.toPrecision(digits)) >= base && unit < units.length - 1) {
    value /= base
    unit += 1
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`
}

/** At most `width` columns of a terminal, with an ellipsis where `text` takes more. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let kept = ''
  let room = width - 1
  for (const character of text) {
    room -= characterWidth(character)
    if (room < 0) break
    kept += character
  }
  return `${kept}…`
}
