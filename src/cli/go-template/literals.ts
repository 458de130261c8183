// Go's constants: quoted and raw strings, characters, numbers. Each reader gives the value and where it ends.

import { TemplateFault } from './fault.ts'

/** `"..."` with Go's escapes; it starts at `start`. @throws TemplateFault */
export function readQuoted(text: string, start: number): [string, number] {
  const parts: (string | number)[] = []
  let at = start + 1
  while (at < text.length && text[at] !== '"') {
    const [part, end] = readPart(text, at)
    parts.push(part)
    at = end
  }
  if (at >= text.length) throw new TemplateFault('a quoted string is not closed', 'every " needs its second one')
  return [assemble(parts), at + 1]
}

/** Backquoted, without escapes. @throws TemplateFault */
export function readRaw(text: string, start: number): [string, number] {
  const end = text.indexOf('`', start + 1)
  if (end < 0) throw new TemplateFault('a raw string is not closed', 'every ` needs its second one')
  return [text.slice(start + 1, end), end + 1]
}

/** `'x'`: the number of its code point, as in Go. @throws TemplateFault */
export function readChar(text: string, start: number): [number, number] {
  if (start + 1 >= text.length || text[start + 1] === "'") throw badChar()
  const [part, end] = readPart(text, start + 1)
  if (text[end] !== "'") throw badChar()
  return [typeof part === 'number' ? part : (part.codePointAt(0) ?? 0), end + 1]
}

function badChar(): TemplateFault {
  return new TemplateFault('a character constant is not one character', 'strings stand in double quotes: "text"')
}

const simpleEscapes: ReadonlyMap<string, string> = new Map([
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
])

/** One character or escape: text, or the number of a byte (`\x41`, `\101`). */
function readPart(text: string, at: number): [string | number, number] {
  if (text[at] !== '\\') {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0)
    return [char, at + char.length]
  }
  const letter = text[at + 1] ?? ''
  const simple = simpleEscapes.get(letter)
  if (simple !== undefined) return [simple, at + 2]
  if (letter >= '0' && letter <= '7') return [readDigits(text, at + 1, { length: 3, base: 8, most: 255 }), at + 4]
  if (letter === 'x') return [readDigits(text, at + 2, { length: 2, base: 16, most: 255 }), at + 4]
  const length = letter === 'u' ? 4 : letter === 'U' ? 8 : 0
  if (length === 0) throw new TemplateFault(`there is no escape "\\${letter}"`, 'a backslash is written \\\\')
  const point = readDigits(text, at + 2, { length, base: 16, most: 0x10ffff })
  if (point >= 0xd800 && point < 0xe000) throw new TemplateFault(`\\${letter} names half a character`)
  return [String.fromCodePoint(point), at + 2 + length]
}

function readDigits(
  text: string,
  at: number,
  { length, base, most }: { length: number; base: number; most: number },
): number {
  const digits = text.slice(at, at + length)
  const valid = [...digits].every(digit => !Number.isNaN(Number.parseInt(digit, base)))
  const value = Number.parseInt(digits, base)
  if (digits.length !== length || !valid || value > most) throw new TemplateFault(`an escape wants ${length} digits`)
  return value
}

/** Bytes from escapes become text together: `"\xc3\xa4"` is one letter. */
function assemble(parts: readonly (string | number)[]): string {
  if (parts.every(part => typeof part === 'string')) return parts.join('')
  return Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part)))).toString()
}

/** `12`, `-0x1f`, `0b1`, `017`, `1_000`, `.5`, `1e3`. @throws TemplateFault */
export function readNumber(text: string, start: number): [number, number] {
  let end = start
  while (end < text.length && continuesNumber(text, end, start)) end += 1
  const written = text.slice(start, end)
  const value = parseNumber(written)
  if (value !== undefined) return [value, end]
  const dash = /^[+-]/.test(written)
  const hint = dash ? 'a name with a dash in it is read with: index . "the-name"' : undefined
  throw new TemplateFault(`"${written}" is no number that can be used`, hint)
}

function continuesNumber(text: string, at: number, start: number): boolean {
  const char = text[at] ?? ''
  if (char !== '+' && char !== '-') return /^[0-9A-Za-z_.]$/.test(char)
  const before = text[at - 1]
  return at === start || ((before === 'e' || before === 'E') && !/^[+-]?0[xX]/.test(text.slice(start, start + 3)))
}

function parseNumber(written: string): number | undefined {
  const sign = written.startsWith('-') ? -1 : 1
  const digits = written.replace(/^[+-]/, '')
  const plain = digits.replaceAll('_', '')
  if (/^_|_$|__|_\.|\._/.test(digits)) return undefined
  let value: number
  if (/^0[0-9]+$/.test(plain)) value = /[89]/.test(plain) ? Number.NaN : Number.parseInt(plain, 8)
  else if (/^(0x[0-9a-f]+|0o[0-7]+|0b[01]+|[0-9]+)$/i.test(plain)) value = Number(plain)
  else if (/^([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(plain)) return finite(sign * Number(plain))
  else return undefined
  // Beyond this a number no longer says which one it is.
  return Number.isSafeInteger(value) ? sign * value : undefined
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined
}
