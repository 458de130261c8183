// Go's fmt.Sprintf over JSON values, with its way of reporting mistakes in the text: `%!d(string=hi)`.
// A whole number also takes the verbs of floats: JSON does not tell 3 from 3.0.

import { quoteGo } from './escapes.ts'
import { type Charge, costOfText } from './fault.ts'
import { formatFloat, isWhole } from './floats.ts'
import { formatValue, isMap, sortedKeys, typeName } from './values.ts'

interface Spec {
  plus: boolean
  minus: boolean
  sharp: boolean
  space: boolean
  zero: boolean
  width: number | undefined
  precision: number | undefined
}

/** Go's own limit on width and precision. */
const largest = 1_000_000

/** @param charge is told of every piece before it is made */
export function formatPrintf(format: string, args: readonly unknown[], charge: Charge): string {
  return new Printf(format, args, charge).run()
}

class Printf {
  readonly #format: string
  readonly #args: readonly unknown[]
  readonly #charge: Charge
  #at = 0
  #argument = 0
  #reordered = false
  #badIndex = false

  constructor(format: string, args: readonly unknown[], charge: Charge) {
    this.#format = format
    this.#args = args
    this.#charge = charge
  }

  run(): string {
    const parts: string[] = []
    while (this.#at < this.#format.length) {
      const percent = this.#format.indexOf('%', this.#at)
      parts.push(percent < 0 ? this.#format.slice(this.#at) : this.#format.slice(this.#at, percent))
      if (percent < 0) break
      this.#at = percent + 1
      parts.push(...this.#directive())
    }
    if (!this.#reordered && this.#argument < this.#args.length) parts.push(this.#extra())
    return parts.join('')
  }

  #extra(): string {
    const rest = this.#args.slice(this.#argument)
    return `%!(EXTRA ${rest.map(arg => typedValue(arg)).join(', ')})`
  }

  *#directive(): Generator<string> {
    const spec = this.#flags()
    this.#badIndex = false
    let indexed = this.#index()
    if (this.#peek() === '*') {
      this.#at += 1
      const width = this.#starred()
      if (width === undefined) yield '%!(BADWIDTH)'
      else if (width < 0) Object.assign(spec, { minus: true, zero: false, width: -width })
      else spec.width = width
      indexed = false
    } else {
      spec.width = this.#number()
      if (indexed && spec.width !== undefined) this.#badIndex = true
    }
    if (this.#peek() === '.') {
      this.#at += 1
      if (indexed) this.#badIndex = true
      indexed = this.#index()
      if (this.#peek() === '*') {
        this.#at += 1
        const precision = this.#starred()
        if (precision === undefined) yield '%!(BADPREC)'
        else if (precision >= 0) spec.precision = precision
        indexed = false
      } else spec.precision = this.#number() ?? 0
    }
    if (!indexed) this.#index()
    yield this.#verb(spec)
  }

  #verb(spec: Spec): string {
    if (this.#at >= this.#format.length) return '%!(NOVERB)'
    const verb = String.fromCodePoint(this.#format.codePointAt(this.#at) ?? 0)
    this.#at += verb.length
    if (verb === '%') return '%'
    if (this.#badIndex) return `%!${verb}(BADINDEX)`
    if (this.#argument >= this.#args.length) return `%!${verb}(MISSING)`
    this.#argument += 1
    return this.#value(verb, this.#args[this.#argument - 1], spec)
  }

  #flags(): Spec {
    const spec: Spec = {
      plus: false,
      minus: false,
      sharp: false,
      space: false,
      zero: false,
      width: undefined,
      precision: undefined,
    }
    for (; ; this.#at += 1) {
      const flag = this.#peek()
      if (flag === '+') spec.plus = true
      else if (flag === '-') spec.minus = true
      else if (flag === '#') spec.sharp = true
      else if (flag === ' ') spec.space = true
      else if (flag === '0') spec.zero = true
      else return spec
    }
  }

  /** `[2]`: the next argument is the second. @returns whether one stands here */
  #index(): boolean {
    if (this.#peek() !== '[') return false
    this.#reordered = true
    const near = this.#format.slice(this.#at + 1, this.#at + 9)
    const end = near.indexOf(']')
    const written = near.slice(0, Math.max(0, end))
    const index = /^[0-9]{1,7}$/.test(written) ? Number(written) : 0
    // Unclosed, only the bracket is skipped.
    this.#at += end + 2
    if (index < 1 || index > this.#args.length) this.#badIndex = true
    else this.#argument = index - 1
    return true
  }

  /** A number past the limit swallows the rest of the format, as in Go. */
  #number(): number | undefined {
    const start = this.#at
    let value = 0
    while (this.#peek() >= '0' && this.#peek() <= '9') {
      value = value * 10 + Number(this.#peek())
      this.#at += 1
      if (value > largest) {
        this.#at = this.#format.length
        return undefined
      }
    }
    return this.#at === start ? undefined : value
  }

  /** Width or precision from an argument. */
  #starred(): number | undefined {
    const value = this.#args[this.#argument]
    if (this.#argument < this.#args.length) this.#argument += 1
    return isWhole(value) && Math.abs(value) <= largest ? value : undefined
  }

  #peek(): string {
    return this.#format[this.#at] ?? ''
  }

  #value(verb: string, value: unknown, spec: Spec): string {
    this.#charge(1)
    if (verb === 'T') return this.#pad(value === undefined || value === null ? '<nil>' : typeName(value), spec)
    if (value === undefined || value === null) return verb === 'v' ? this.#pad('<nil>', spec) : `%!${verb}(<nil>)`
    if (Array.isArray(value)) return `[${value.map(item => this.#value(verb, item, spec)).join(' ')}]`
    if (isMap(value)) {
      const entry = (key: string) => `${this.#value(verb, key, spec)}:${this.#value(verb, value[key], spec)}`
      return `map[${sortedKeys(value).map(entry).join(' ')}]`
    }
    const text = this.#scalar(verb, value, spec)
    return text ?? `%!${verb}(${typedValue(value)})`
  }

  #scalar(verb: string, value: unknown, spec: Spec): string | undefined {
    if (typeof value === 'boolean') return verb === 't' || verb === 'v' ? this.#pad(String(value), spec) : undefined
    if (typeof value === 'string') return this.#string(verb, value, spec)
    if (typeof value !== 'number') return undefined
    if (isWhole(value) && 'vdboOxXcqU'.includes(verb)) return this.#integer(verb, value, spec)
    return 'veEfFgG'.includes(verb) ? this.#float(verb, value, spec) : undefined
  }

  #string(verb: string, value: string, spec: Spec): string | undefined {
    const { precision } = spec
    // Character by character, which is slower than the copying that was charged for.
    if (verb !== 's' && verb !== 'v') this.#charge(value.length)
    if (verb === 'x' || verb === 'X') {
      const bytes = [...Buffer.from(value).subarray(0, precision)].map(byte => byte.toString(16).padStart(2, '0'))
      const prefix = spec.sharp && bytes.length > 0 ? '0x' : ''
      const hex = spec.space ? bytes.map(byte => `${prefix}${byte}`).join(' ') : `${prefix}${bytes.join('')}`
      return this.#pad(verb === 'X' ? hex.toUpperCase() : hex, spec)
    }
    const cut = precision === undefined ? value : value.slice(0, endOfCharacters(value, precision).end)
    if (verb === 's' || (verb === 'v' && !spec.sharp)) return this.#pad(cut, spec)
    if (verb !== 'q' && verb !== 'v') return undefined
    return this.#pad(verb === 'q' && spec.sharp && isRaw(cut) ? `\`${cut}\`` : quoteGo(cut, '"', spec.plus), spec)
  }

  #integer(verb: string, value: number, spec: Spec): string {
    if (verb === 'c') return this.#pad(character(value), spec)
    if (verb === 'q') return this.#pad(quoteGo(character(value), "'", spec.plus), spec)
    if (verb === 'U')
      return this.#pad(`U+${value.toString(16).toUpperCase().padStart(4, '0')}`, { ...spec, zero: false })
    const base = verb === 'b' ? 2 : verb === 'o' || verb === 'O' ? 8 : verb === 'x' || verb === 'X' ? 16 : 10
    const sign = value < 0 ? '-' : spec.plus ? '+' : spec.space ? ' ' : ''
    const filled = spec.zero && !spec.minus && spec.precision === undefined ? (spec.width ?? 0) - sign.length : 0
    const least = spec.precision ?? filled
    this.#charge(costOfText(least))
    const plain = spec.precision === 0 && value === 0 ? '' : BigInt(Math.abs(value)).toString(base)
    const digits = `${prefixOf(verb, spec.sharp)}${plain.padStart(least, '0')}`
    return this.#pad(`${sign}${verb === 'X' ? digits.toUpperCase() : digits}`, { ...spec, zero: false })
  }

  #float(verb: string, value: number, spec: Spec): string {
    const size = Math.abs(value)
    const sign = value < 0 || Object.is(value, -0) ? '-' : spec.plus ? '+' : spec.space ? ' ' : ''
    this.#charge(costOfText(spec.precision ?? 0))
    const digits = formatFloat(verb, size, spec.precision)
    if (!spec.zero || spec.minus) return this.#pad(`${sign}${digits}`, spec)
    this.#charge(costOfText(spec.width ?? 0))
    return `${sign}${digits.padStart((spec.width ?? 0) - sign.length, '0')}`
  }

  #pad(text: string, { width = 0, minus, zero }: Spec): string {
    this.#charge(costOfText(width))
    const missing = width - endOfCharacters(text, width).count
    if (missing === 0) return text
    return minus ? `${text}${' '.repeat(missing)}` : `${(zero ? '0' : ' ').repeat(missing)}${text}`
  }
}

/** Where the first `most` characters of a text end, and how many there are of them. */
function endOfCharacters(text: string, most: number): { end: number; count: number } {
  let end = 0
  let count = 0
  while (count < most && end < text.length) {
    end += (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1
    count += 1
  }
  return { end, count }
}

function typedValue(value: unknown): string {
  return value === undefined || value === null ? '<nil>' : `${typeName(value)}=${formatValue(value)}`
}

function isRaw(text: string): boolean {
  return !/[`\p{Cc}\ufeff]/u.test(text.replaceAll('\t', ''))
}

function character(value: number): string {
  return value >= 0 && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff) ? String.fromCodePoint(value) : '\ufffd'
}

function prefixOf(verb: string, sharp: boolean): string {
  if (verb === 'O') return '0o'
  if (!sharp) return ''
  return verb === 'x' || verb === 'X' ? '0x' : verb === 'o' ? '0' : verb === 'b' ? '0b' : ''
}
