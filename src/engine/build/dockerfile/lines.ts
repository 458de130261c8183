// Text -> instructions as text: directives, comments, continued lines and heredocs are taken apart here, as BuildKit does it.
// Our own reader and not a library's: those on npm serve editors, which take whatever is typed and name no error. Pure.

import { type SourcePlace, syntaxError } from './syntax-error.ts'
import { type EscapeCharacter, rawWords } from './words.ts'

/** `<<NAME` and the lines up to NAME. */
export interface Heredoc {
  readonly name: string
  /** Each line with its newline; leading tabs are gone where it was `<<-`. */
  readonly content: string
  /** The name was not quoted: variables in the content are replaced. */
  readonly isExpanded: boolean
}

/** One instruction, its continued lines joined. */
export interface InstructionText extends SourcePlace {
  readonly endLine: number
  readonly text: string
  readonly heredocs: readonly Heredoc[]
  /** What follows `text` in the file where there are heredocs: their lines as they are, for a shell. */
  readonly heredocText: string
}

export interface SourceText {
  readonly escapeCharacter: EscapeCharacter
  /** `# syntax=`, which tsrun takes note of and does not use. */
  readonly syntax?: string
  readonly instructions: readonly InstructionText[]
}

/** More than any Dockerfile that a person has written. */
export const MAX_DOCKERFILE_BYTES = 4 << 20

/** @param file its name, for messages @throws TsrunError invalid: NUL, bad directive, heredoc without an end, too large */
export function readLines(text: string, file: string): SourceText {
  if (text.length > MAX_DOCKERFILE_BYTES)
    throw syntaxError({ file, line: 1 }, `the file is larger than ${MAX_DOCKERFILE_BYTES >> 20} MiB`)
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const nul = lines.findIndex(line => line.includes('\0'))
  if (nul >= 0) throw syntaxError({ file, line: nul + 1 }, 'there is a NUL byte', 'is this a text file, in UTF-8?')
  const directives = readDirectives(lines, file)
  const escapeCharacter = directives.get('escape') ?? '\\'
  if (escapeCharacter !== '\\' && escapeCharacter !== '`')
    throw syntaxError({ file, line: 1 }, `invalid escape character "${escapeCharacter}": expected \\ or \``)
  const syntax = directives.get('syntax')
  const instructions = [...new LineReader(lines, file, escapeCharacter).read()]
  return { escapeCharacter, instructions, ...(syntax === undefined ? {} : { syntax }) }
}

/** `# name=value` lines, which end at the first line that is something else. */
function readDirectives(lines: readonly string[], file: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const [index, line] of lines.entries()) {
    const [, name, value = ''] = /^\s*#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$/.exec(line) ?? []
    const key = name?.toLowerCase()
    if (key === undefined || !['escape', 'syntax', 'check'].includes(key)) break
    if (found.has(key)) throw syntaxError({ file, line: index + 1 }, `the directive "${key}" is there twice`)
    found.set(key, value)
  }
  return found
}

class LineReader {
  readonly #lines: readonly string[]
  readonly #file: string
  readonly #escapeCharacter: EscapeCharacter
  readonly #continued: RegExp
  #at = 0

  constructor(lines: readonly string[], file: string, escapeCharacter: EscapeCharacter) {
    this.#lines = lines
    this.#file = file
    this.#escapeCharacter = escapeCharacter
    const quoted = escapeCharacter === '\\' ? '\\\\' : '`'
    this.#continued = new RegExp(`(?<!${quoted})${quoted}[ \\t]*$`)
  }

  *read(): Generator<InstructionText> {
    while (this.#at < this.#lines.length) {
      const line = this.#at + 1
      const first = this.#next().trimStart()
      if (first === '' || first.startsWith('#')) continue
      const text = this.#joined(first).trim()
      if (text === '') continue
      const start = this.#at
      const heredocs = this.#heredocs(text, { file: this.#file, line })
      const heredocText = this.#lines
        .slice(start, this.#at)
        .map(each => `${each}\n`)
        .join('')
      yield { file: this.#file, line, endLine: this.#at, text, heredocs, heredocText }
    }
  }

  /** A line with those that continue it; comments and empty lines between them do not count. */
  #joined(first: string): string {
    const parts: string[] = []
    let current = first
    while (this.#continued.test(current)) {
      parts.push(current.replace(this.#continued, ''))
      let next: string | undefined
      while (this.#at < this.#lines.length) {
        const candidate = this.#next()
        if (/^\s*(#|$)/.test(candidate)) continue
        next = candidate
        break
      }
      if (next === undefined) return parts.join('')
      current = next
    }
    return [...parts, current].join('')
  }

  #heredocs(text: string, place: SourcePlace): Heredoc[] {
    const words = rawWords(text, this.#escapeCharacter)
    const keyword = words[words[0]?.toUpperCase() === 'ONBUILD' ? 1 : 0]?.toUpperCase()
    if (keyword !== 'RUN' && keyword !== 'COPY' && keyword !== 'ADD') return []
    const found: Heredoc[] = []
    for (const word of words) {
      const match = /^\d*<<(-?)(["']?)([A-Za-z0-9_][^\s<>"']*)\2$/.exec(word)
      if (match === null) continue
      const [, dash = '', quote = '', name = ''] = match
      found.push({ name, isExpanded: quote === '', content: this.#content(name, dash === '-', place) })
    }
    return found
  }

  #content(name: string, areTabsStripped: boolean, place: SourcePlace): string {
    const content: string[] = []
    while (this.#at < this.#lines.length) {
      const line = this.#next()
      const shown = areTabsStripped ? line.replace(/^\t+/, '') : line
      if (shown === name) return content.map(each => `${each}\n`).join('')
      content.push(shown)
    }
    throw syntaxError(place, `the heredoc "${name}" has no end`, `expected a line that is ${name} and nothing else`)
  }

  #next(): string {
    const line = this.#lines[this.#at] ?? ''
    this.#at += 1
    return line
  }
}
