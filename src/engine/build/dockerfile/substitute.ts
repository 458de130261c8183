// Variables and quotes in the words of an instruction, by the rules of the Dockerfile language: $x, ${x}, ${x:-y} ${x-y}
// ${x:+y} ${x+y} ${x:?y} ${x?y}, ${x#p} ${x##p} ${x%p} ${x%%p}, ${x/p/r} ${x//p/r}. Pure.

import { globEnds, PatternError, parseGlob, replaceGlob } from '../glob.ts'
import type { EscapeCharacter } from './words.ts'

/** The value of a variable; undefined where it is not set. */
export type Lookup = (name: string) => string | undefined

export interface Substitution {
  readonly lookup: Lookup
  readonly escapeCharacter: EscapeCharacter
}

/** What cannot be replaced; the caller knows file and line. */
export class SubstitutionError extends Error {}

/** More than this after replacing is an accident, or an attack. */
const MAX_LENGTH = 1 << 20

/** One word: variables replaced, quotes and escapes taken away. @throws SubstitutionError */
export function expandWord(text: string, options: Substitution): string {
  return expandPieces(text, options)
    .map(piece => piece.text)
    .join('')
}

/** Words: as expandWord(), and blanks outside of quotes, those of values included, part the words. @throws SubstitutionError */
export function expandWords(text: string, options: Substitution): string[] {
  const words: string[] = []
  let word: string | undefined
  for (const piece of expandPieces(text, options)) {
    if (piece.isQuoted) {
      word = (word ?? '') + piece.text
      continue
    }
    const [first = '', ...rest] = piece.text.split(/[ \t\r\n]+/)
    if (first !== '') word = (word ?? '') + first
    for (const next of rest) {
      if (word !== undefined) words.push(word)
      word = next === '' ? undefined : next
    }
  }
  if (word !== undefined) words.push(word)
  return words
}

/** What is in a heredoc: variables replaced, quotes left alone. @throws SubstitutionError */
export function expandText(text: string, options: Substitution): string {
  return new Expander(text, options).text()
}

interface Piece {
  readonly text: string
  readonly isQuoted: boolean
}

function expandPieces(text: string, options: Substitution): Piece[] {
  return new Expander(text, options).pieces()
}

class Expander {
  readonly #text: string
  readonly #options: Substitution
  readonly #depth: number
  #at = 0
  #length = 0

  constructor(text: string, options: Substitution, depth = 0) {
    if (depth > 16) throw new SubstitutionError('variables are nested too deeply')
    this.#text = text
    this.#options = options
    this.#depth = depth
  }

  pieces(): Piece[] {
    const pieces: Piece[] = []
    while (this.#at < this.#text.length) {
      const piece = this.#piece()
      this.#length += piece.text.length
      if (this.#length > MAX_LENGTH) throw new SubstitutionError('the value is longer than 1 MiB')
      pieces.push(piece)
    }
    return pieces
  }

  text(): string {
    const parts: string[] = []
    while (this.#at < this.#text.length) {
      const character = this.#take()
      const next = this.#text.charAt(this.#at)
      if (character === this.#options.escapeCharacter && (next === '$' || next === this.#options.escapeCharacter))
        parts.push(this.#take())
      else parts.push(character === '$' ? this.#variable() : character)
    }
    return parts.join('')
  }

  #piece(): Piece {
    const character = this.#take()
    if (character === "'") return { text: this.#singleQuoted(), isQuoted: true }
    if (character === '"') return { text: this.#doubleQuoted(), isQuoted: true }
    // The escape character at the very end stands for itself.
    if (character === this.#options.escapeCharacter) return { text: this.#take() || character, isQuoted: true }
    if (character === '$') return { text: this.#variable(), isQuoted: false }
    return { text: character, isQuoted: false }
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at)
    if (end < 0) throw new SubstitutionError("a single quote (') is not closed")
    const text = this.#text.slice(this.#at, end)
    this.#at = end + 1
    return text
  }

  #doubleQuoted(): string {
    const parts: string[] = []
    while (this.#at < this.#text.length) {
      const character = this.#take()
      if (character === '"') return parts.join('')
      if (character === '$') parts.push(this.#variable())
      else if (character !== this.#options.escapeCharacter) parts.push(character)
      else {
        const next = this.#take()
        const isSpecial = next === '"' || next === '$' || next === this.#options.escapeCharacter
        parts.push(isSpecial ? next : `${character}${next}`)
      }
    }
    throw new SubstitutionError('a double quote (") is not closed')
  }

  /** Behind a `$`. */
  #variable(): string {
    if (this.#text.charAt(this.#at) !== '{') {
      const [name] = /^([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!-])/.exec(this.#text.slice(this.#at, this.#at + 4096)) ?? []
      if (name === undefined) return '$'
      this.#at += name.length
      return this.#options.lookup(name) ?? ''
    }
    const end = this.#closingBrace()
    const inner = this.#text.slice(this.#at + 1, end)
    this.#at = end + 1
    const [, name, operator = '', word = ''] =
      /^([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!-])(:?[-+?]|##?|%%?|\/\/?|)([\s\S]*)$/.exec(inner) ?? []
    if (name === undefined || (operator === '' && word !== ''))
      throw new SubstitutionError(`"\${${inner}}" is no variable: expected a name, e.g. \${NAME} or \${NAME:-default}`)
    return this.#modified(name, operator, word)
  }

  #modified(name: string, operator: string, word: string): string {
    const value = this.#options.lookup(name)
    const isSet = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined
    const other = () =>
      new Expander(word, this.#options, this.#depth + 1)
        .pieces()
        .map(piece => piece.text)
        .join('')
    if (operator.endsWith('-')) return isSet ? (value ?? '') : other()
    if (operator.endsWith('+')) return isSet ? other() : ''
    if (operator.endsWith('?')) {
      if (isSet) return value ?? ''
      throw new SubstitutionError(`${name}: ${other() || 'is not set'}`)
    }
    if (operator.startsWith('#') || operator.startsWith('%'))
      return byPattern(() => trimmed(value ?? '', operator, other()))
    if (operator.startsWith('/')) {
      const slash = word.indexOf('/')
      const pattern = slash < 0 ? word : word.slice(0, slash)
      const replacement = slash < 0 ? '' : word.slice(slash + 1)
      return byPattern(() => replaceGlob(parseGlob(pattern, 'any'), value ?? '', replacement, operator === '//'))
    }
    return value ?? ''
  }

  /** Where the brace at the current place is closed, inner ones skipped. */
  #closingBrace(): number {
    let depth = 0
    for (let at = this.#at; at < this.#text.length; at += 1) {
      const character = this.#text.charAt(at)
      if (character === this.#options.escapeCharacter) at += 1
      else if (character === '{') depth += 1
      else if (character === '}') {
        depth -= 1
        if (depth === 0) return at
      }
    }
    throw new SubstitutionError('a brace behind "$" is not closed: expected "}"')
  }

  #take(): string {
    const character = this.#text.charAt(this.#at)
    this.#at += 1
    return character
  }
}

function byPattern(work: () => string): string {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new SubstitutionError(error.message)
  }
}

/** Without what matches at its beginning (#) or end (%): the shortest, doubled the longest. */
function trimmed(value: string, operator: string, pattern: string): string {
  const isPrefix = operator.startsWith('#')
  const glob = parseGlob(pattern, 'any')
  // From the end, everything is read backwards.
  const ends = isPrefix ? globEnds(glob, value) : globEnds(glob.toReversed(), [...value].reverse().join(''))
  const length = operator.length === 2 ? ends.at(-1) : ends[0]
  if (length === undefined) return value
  return isPrefix ? value.slice(length) : value.slice(0, value.length - length)
}
