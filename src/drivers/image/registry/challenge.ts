// The WWW-Authenticate header (RFC 9110, 11.6.1): what a registry wants before it answers. Several challenges may stand in one
// header, separated by the same comma as their parameters.

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const parameterPattern = new RegExp(`^(${token})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}|[^\\s,"]+))`)
const schemePattern = new RegExp(`^(${token})(?:[ \\t]+|(?=,)|$)`)

/** The challenges of a header, in its order. What cannot be understood is passed over. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = []
  let rest = header
  for (;;) {
    rest = rest.replace(/^[\s,]+/, '')
    if (rest === '') return challenges
    const parameter = parameterPattern.exec(rest)
    const current = challenges.at(-1)
    if (parameter !== null && current !== undefined) {
      const [whole, name = '', quoted, plain = ''] = parameter
      current.parameters[name.toLowerCase()] = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1')
      rest = rest.slice(whole.length)
      continue
    }
    const scheme = schemePattern.exec(rest)
    if (scheme === null) {
      // Nothing that we know: go on behind the next comma.
      const comma = rest.indexOf(',')
      if (comma < 0) return challenges
      rest = rest.slice(comma)
      continue
    }
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters: Object.create(null) })
    rest = rest.slice(scheme[0].length)
  }
}
