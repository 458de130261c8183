// Patterns of Go's filepath.Match, which COPY, .dockerignore and ${x#pattern} use, as regular expressions. Pure.
//
// A hostile pattern must not cost us: runs of * are one, and the ones of our parts that could match in many ways ([^/]*, .*) are
// followed by what bounds them. The patterns are the user's own anyway.

/** `path`: * and ? stop at a slash. `deep`: ** does not. `any`: nothing stops at a slash. */
export type GlobKind = 'path' | 'deep' | 'any'

export class PatternError extends Error {}

/** The source of a regular expression, not anchored. @throws PatternError for a [ without ], or a backslash at the end */
export function globSource(pattern: string, kind: GlobKind): string {
  const one = kind === 'any' ? '[\\s\\S]' : '[^/]'
  let source = ''
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern.charAt(at)
    if (character === '*') {
      const stars = /^\*+/.exec(pattern.slice(at))?.[0].length ?? 1
      at += stars - 1
      if (kind !== 'deep' || stars < 2) source += `${one}*`
      else if (at + 1 >= pattern.length) source += '[\\s\\S]*'
      else {
        // "**/" also matches no directory at all.
        if (pattern.charAt(at + 1) === '/') at += 1
        source += '(?:[\\s\\S]*/)?'
      }
    } else if (character === '?') source += one
    else if (character === '[') {
      const [taken, range] = classSource(pattern, at)
      source += range
      at += taken - 1
    } else if (character === '\\') {
      at += 1
      if (at >= pattern.length) throw new PatternError(`"${pattern}" ends in a backslash`)
      source += escaped(pattern.charAt(at))
    } else source += escaped(character)
  }
  return source
}

/** Whether a pattern has anything in it but plain characters. */
export function hasGlob(pattern: string): boolean {
  return /[*?[\\]/.test(pattern)
}

/** `[a-z]`, `[^a-z]` at a place: its length and source. */
function classSource(pattern: string, start: number): [length: number, source: string] {
  const match = /^\[(\^?)((?:[^\]\\]|\\[\s\S])+)\]/.exec(pattern.slice(start))
  if (match === null) throw new PatternError(`"${pattern}": [ without ]`)
  const [whole, negation = '', content = ''] = match
  const members = content.replace(/\\?([\s\S])/g, (_, member: string) =>
    /[\]^[\\]/.test(member) ? `\\${member}` : member,
  )
  try {
    new RegExp(`[${members}]`)
  } catch {
    throw new PatternError(`"${pattern}": "${whole}" is no range of characters`)
  }
  return [whole.length, `[${negation}${members}]`]
}

function escaped(character: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(character) ? `\\${character}` : character
}
