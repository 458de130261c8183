// One line of comma-separated fields, as Go's encoding/csv reads docker's `--mount` and `--network`: a field in quotes
// may hold commas, and a doubled quote in it stands for one. Pure.

/** @returns the fields, or undefined where the quotes do not fit */
export function tryParseCsv(text: string): string[] | undefined {
  const fields: string[] = []
  let rest = text
  for (;;) {
    const match = /^"((?:[^"]|"")*)"(?=,|$)/.exec(rest) ?? /^([^",]*)(?=,|$)/.exec(rest)
    if (match === null) return undefined
    const quoted = match[0].startsWith('"')
    fields.push(quoted ? (match[1] ?? '').replaceAll('""', '"') : match[0])
    if (match[0].length === rest.length) return fields
    rest = rest.slice(match[0].length + 1)
  }
}
