// Template text -> tokens. Scanned by hand, character by character: a regular expression over user text could be made
// to backtrack. Quoted strings may hold raw newlines, unlike Go's: `--format` turns `\n` into one before it gets here.

import { TemplateFault } from './fault.ts'
import { readChar, readNumber, readQuoted, readRaw } from './literals.ts'

export type TokenKind = 'text' | 'open' | 'close' | 'field' | 'variable' | 'word' | 'literal' | 'dot' | 'symbol' | 'eof'

export interface Token {
  readonly kind: TokenKind
  /** As written; of a field the name without its dot, of a text the text after trimming. */
  readonly text: string
  /** Of a literal: its value. */
  readonly value?: string | number
  /** Whether white space stands before it: `.A .B` are two operands, `.A.B` is one. */
  readonly spaced: boolean
}

/** @throws TemplateFault */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  let trimNext = false
  while (at < text.length) {
    const open = text.indexOf('{{', at)
    const trimLeft = open >= 0 && text[open + 2] === '-' && isSpace(text[open + 3])
    const plain = trimmed(open < 0 ? text.slice(at) : text.slice(at, open), { start: trimNext, end: trimLeft })
    if (plain !== '') tokens.push({ kind: 'text', text: plain, spaced: false })
    if (open < 0) break
    const action = trimLeft ? open + 4 : open + 2
    const closed = isComment(text, action) ? skipComment(text, action) : readAction(text, action, tokens)
    at = closed.at
    trimNext = closed.trim
  }
  tokens.push({ kind: 'eof', text: 'end of the template', spaced: false })
  return tokens
}

interface Closed {
  /** Behind the closing braces. */
  readonly at: number
  /** Whether they were ` -}}`. */
  readonly trim: boolean
}

function isComment(text: string, at: number): boolean {
  return text.startsWith('/*', at)
}

function skipComment(text: string, start: number): Closed {
  const end = text.indexOf('*/', start + 2)
  if (end < 0) throw new TemplateFault('a comment is not closed', 'a comment is {{/* ... */}}')
  const close = closeAt(text, end + 2)
  if (close === undefined) throw new TemplateFault('a comment does not end with */}}', 'a comment is {{/* ... */}}')
  return close
}

/** The closing braces, if they stand here. */
function closeAt(text: string, at: number): Closed | undefined {
  if (text.startsWith('}}', at)) return { at: at + 2, trim: false }
  if (isSpace(text[at]) && text.startsWith('-}}', at + 1)) return { at: at + 4, trim: true }
  return undefined
}

/** Reads the tokens of one action into `tokens`, with its braces. */
function readAction(text: string, start: number, tokens: Token[]): Closed {
  tokens.push({ kind: 'open', text: '{{', spaced: false })
  let at = start
  let spaced = false
  for (;;) {
    const closed = closeAt(text, at)
    if (closed !== undefined) {
      tokens.push({ kind: 'close', text: '}}', spaced })
      return closed
    }
    if (at >= text.length) throw new TemplateFault('an action is not closed', 'every {{ needs its }}')
    if (isSpace(text[at])) {
      spaced = true
      at += 1
      continue
    }
    const [token, end] = readToken(text, at)
    tokens.push({ ...token, spaced })
    spaced = false
    at = end
  }
}

type Read = [token: Omit<Token, 'spaced'>, end: number]

function readToken(text: string, at: number): Read {
  const char = text[at] ?? ''
  if (char === '"') return literal(text, at, readQuoted(text, at))
  if (char === '`') return literal(text, at, readRaw(text, at))
  if (char === "'") return literal(text, at, readChar(text, at))
  if (char === '.' && !isDigit(text[at + 1])) {
    const end = endOfName(text, at + 1)
    return end === at + 1 ? [{ kind: 'dot', text: '.' }, end] : [{ kind: 'field', text: text.slice(at + 1, end) }, end]
  }
  if (char === '$') {
    const end = endOfName(text, at + 1)
    return [{ kind: 'variable', text: text.slice(at, end) }, end]
  }
  if (text.startsWith(':=', at)) return [{ kind: 'symbol', text: ':=' }, at + 2]
  if ('()|,='.includes(char)) return [{ kind: 'symbol', text: char }, at + 1]
  if (isDigit(char) || '+-.'.includes(char)) return literal(text, at, readNumber(text, at))
  const end = endOfName(text, at)
  if (end > at) return [{ kind: 'word', text: text.slice(at, end) }, end]
  throw new TemplateFault(`unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(at) ?? 0))}`)
}

function literal(text: string, at: number, [value, end]: [string | number, number]): Read {
  return [{ kind: 'literal', text: text.slice(at, end), value }, end]
}

function endOfName(text: string, start: number): number {
  let at = start
  while (at < text.length) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0)
    if (!/^[\p{L}\p{Nd}_]$/u.test(char)) break
    at += char.length
  }
  return at
}

function trimmed(text: string, { start, end }: { start: boolean; end: boolean }): string {
  let first = 0
  let last = text.length
  if (start) while (first < last && isSpace(text[first])) first += 1
  if (end) while (last > first && isSpace(text[last - 1])) last -= 1
  return text.slice(first, last)
}

function isSpace(char: string | undefined): boolean {
  return char === ' ' || char === '\t' || char === '\r' || char === '\n'
}

function isDigit(char: string | undefined): boolean {
  return char !== undefined && char >= '0' && char <= '9'
}
