// Patterns of Go's filepath.Match, which COPY, .dockerignore and ${x#pattern} use. Pure.
//
// Not by way of regular expressions: V8's backtrack, and "**/**/**/…" in somebody's .dockerignore would hold a build for ever. Here
// no place of the pattern is tried twice at the same place of the text, so the cost is at most the product of their lengths.

/** `path`: * and ? stop at a slash. `deep`: ** does not. `any`: nothing stops at a slash. */
export type GlobKind = 'path' | 'deep' | 'any'

export class PatternError extends Error {}

/** One character, any number of them, or (`folders`) nothing or anything that ends in a slash. */
type Step =
  | { readonly kind: 'one' | 'many'; readonly accepts: (character: string) => boolean }
  | { readonly kind: 'folders' }

/** A pattern that has been read. */
export type Glob = readonly Step[]

/** A replacement in many places must not fill the memory. */
const maxReplaced = 1 << 24

/** More places than this, pattern times text, are an attack. */
const maxPlaces = 1 << 28

/** Reads a pattern. @throws PatternError for a [ without ], or a backslash at the end */
export function parseGlob(pattern: string, kind: GlobKind): Glob {
  const any = kind === 'any' ? () => true : (character: string) => character !== '/'
  const steps: Step[] = []
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern.charAt(at)
    if (character === '*') {
      const start = at
      while (pattern.charAt(at + 1) === '*') at += 1
      if (kind !== 'deep' || at === start) steps.push({ kind: 'many', accepts: any })
      else if (at + 1 >= pattern.length) steps.push({ kind: 'many', accepts: () => true })
      else {
        // "**/" also matches no directory at all.
        if (pattern.charAt(at + 1) === '/') at += 1
        steps.push({ kind: 'folders' })
      }
    } else if (character === '?') steps.push({ kind: 'one', accepts: any })
    else if (character === '[') {
      const [length, range] = readClass(pattern, at)
      steps.push({ kind: 'one', accepts: text => range.test(text) })
      at += length - 1
    } else {
      if (character === '\\') at += 1
      if (at >= pattern.length) throw new PatternError(`"${pattern}" ends in a backslash`)
      const wanted = pattern.charAt(at)
      steps.push({ kind: 'one', accepts: text => text === wanted })
    }
  }
  return steps
}

/** Whether a pattern has anything in it but plain characters. */
export function hasGlob(pattern: string): boolean {
  return /[*?[\\]/.test(pattern)
}

/** Whether it matches the whole of `text`. @throws PatternError when that would take too long */
export function matchesGlob(glob: Glob, text: string): boolean {
  let matches = false
  search(glob, text, 0, new Set(), end => {
    matches = end === text.length
    return matches
  })
  return matches
}

/** Where the matches end that begin at 0, in order. @throws PatternError when that would take too long */
export function globEnds(glob: Glob, text: string): number[] {
  const ends = new Set<number>()
  search(glob, text, 0, new Set(), end => {
    ends.add(end)
    return false
  })
  return [...ends].sort((a, b) => a - b)
}

/** Replaces the first match, the longest of those that begin there; or `all`, one after another. @throws PatternError */
export function replaceGlob(glob: Glob, text: string, replacement: string, all: boolean): string {
  const pieces: string[] = []
  let kept = 0
  let added = 0
  // What led nowhere from one beginning leads nowhere from the next.
  let dead = new Set<number>()
  for (let at = 0; at <= text.length; at += 1) {
    let longest = -1
    search(glob, text, at, dead, end => {
      longest = Math.max(longest, end)
      return false
    })
    if (longest < at) continue
    pieces.push(text.slice(kept, at), replacement)
    added += replacement.length
    if (added > maxReplaced) throw new PatternError('what the pattern is replaced with is too long')
    kept = longest
    if (!all) break
    // Behind a match of nothing the next character stays.
    if (longest > at) at = longest - 1
    dead = new Set()
  }
  return pieces.join('') + text.slice(kept)
}

/**
 * Visits the places that can be reached from the beginning of the pattern at `from`, each once.
 * @param visited where it has been; added to
 * @param found told each end of a match; true ends the search
 */
function search(glob: Glob, text: string, from: number, visited: Set<number>, found: (end: number) => boolean): void {
  const width = text.length + 1
  if ((glob.length + 1) * width > maxPlaces)
    throw new PatternError('the pattern is too long for what it is held against')
  const open = [from]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (visited.has(place)) continue
    const step = glob[Math.floor(place / width)]
    const at = place % width
    if (step === undefined) {
      if (found(at)) return
      continue
    }
    // A plain character leads to one place only, and need not be remembered.
    if (step.kind === 'one') {
      if (at < text.length && step.accepts(text.charAt(at))) open.push(place + width + 1)
      continue
    }
    visited.add(place)
    if (step.kind === 'many') {
      if (at < text.length && step.accepts(text.charAt(at))) open.push(place + 1)
      open.push(place + width)
    } else {
      // Over each folder at once: the place in the middle of a name is nobody's.
      const slash = text.indexOf('/', at)
      if (slash >= 0) open.push(place + slash + 1 - at)
      open.push(place + width)
    }
  }
}

/** `[a-z]`, `[^a-z]` at a place: its length, and what it matches. */
function readClass(pattern: string, start: number): [length: number, range: RegExp] {
  const match = /^\[(\^?)((?:[^\]\\]|\\[\s\S])+)\]/.exec(pattern.slice(start))
  if (match === null) throw new PatternError(`"${pattern}": [ without ]`)
  const [whole, negation = '', content = ''] = match
  const members = content.replace(/\\?([\s\S])/g, (_, member: string) =>
    /[\]^[\\]/.test(member) ? `\\${member}` : member,
  )
  try {
    return [whole.length, new RegExp(`^[${negation}${members}]$`)]
  } catch {
    throw new PatternError(`"${pattern}": "${whole}" is no range of characters`)
  }
}
