// The functions a template can call: Go's own and docker's. `and` and `or` are the evaluator's, which alone can stop early.

import { escapeHtml, escapeJs, escapeQuery } from './escapes.ts'
import { type Charge, costOfText, TemplateFault } from './fault.ts'
import { isWhole } from './floats.ts'
import { formatPrintf } from './printf.ts'
import {
  compareText,
  countKeys,
  type Fields,
  formatResult,
  formatValue,
  isMap,
  isTrue,
  ownField,
  typeName,
} from './values.ts'

interface TemplateFunction {
  readonly least: number
  readonly most: number
  call(args: readonly unknown[], charge: Charge): unknown
}

const any = Number.POSITIVE_INFINITY

const functions: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ['not', { least: 1, most: 1, call: ([value], charge) => !isTrue(value, charge) }],
  ['eq', { least: 2, most: any, call: ([first, ...others]) => others.some(other => equal(first, other)) }],
  ['ne', { least: 2, most: 2, call: ([a, b]) => !equal(a, b) }],
  ['lt', { least: 2, most: 2, call: ([a, b]) => compare(a, b) < 0 }],
  ['le', { least: 2, most: 2, call: ([a, b]) => compare(a, b) <= 0 }],
  ['gt', { least: 2, most: 2, call: ([a, b]) => compare(a, b) > 0 }],
  ['ge', { least: 2, most: 2, call: ([a, b]) => compare(a, b) >= 0 }],
  [
    'index',
    {
      least: 1,
      most: any,
      call: ([item, ...keys], charge) => keys.reduce((value, key) => itemAt(value, key, charge), item),
    },
  ],
  ['slice', { least: 1, most: 4, call: ([item, ...bounds]) => sliceOf(item, bounds) }],
  ['len', { least: 1, most: 1, call: ([value], charge) => lengthOf(value, charge) }],
  ['print', { least: 0, most: any, call: args => print(args) }],
  ['println', { least: 0, most: any, call: args => `${args.map(arg => formatValue(arg)).join(' ')}\n` }],
  [
    'printf',
    { least: 1, most: any, call: ([format, ...args], charge) => formatPrintf(text('printf', format), args, charge) },
  ],
  ['html', { least: 0, most: any, call: (args, charge) => escapeHtml(printable(args, charge)) }],
  ['js', { least: 0, most: any, call: (args, charge) => escapeJs(printable(args, charge)) }],
  ['urlquery', { least: 0, most: any, call: (args, charge) => escapeQuery(printable(args, charge)) }],
  ['json', { least: 1, most: 1, call: ([value]) => toJson(value) }],
  ['join', { least: 2, most: 2, call: ([list, separator]) => join(list, text('join', separator)) }],
  [
    'split',
    { least: 2, most: 2, call: ([source, separator]) => text('split', source).split(text('split', separator)) },
  ],
  ['lower', { least: 1, most: 1, call: ([value]) => text('lower', value).toLowerCase() }],
  ['upper', { least: 1, most: 1, call: ([value]) => text('upper', value).toUpperCase() }],
  ['title', { least: 1, most: 1, call: ([value], charge) => title(text('title', value), charge) }],
  [
    'truncate',
    { least: 2, most: 2, call: ([value, length]) => truncate(text('truncate', value), whole('truncate', length)) },
  ],
  ['pad', { least: 3, most: 3, call: pad }],
])

/** Every function, for messages and for the parser. */
export const functionNames: readonly string[] = ['and', 'or', ...functions.keys()]

/** @throws TemplateFault where number or type of the arguments do not fit */
export function callFunction(name: string, args: readonly unknown[], charge: Charge): unknown {
  const found = functions.get(name)
  if (found === undefined) throw new TemplateFault(`there is no function "${name}"`)
  const { least, most } = found
  if (args.length < least || args.length > most)
    throw new TemplateFault(`${name} wants ${range(least, most)}, not ${args.length}`)
  // Before and after: a function may be slow because of what it reads or because of what it makes.
  charge(args.reduce((sum: number, arg) => sum + sizeOf(arg), 0))
  const result = found.call(args, charge)
  charge(sizeOf(result))
  return result
}

function range(least: number, most: number): string {
  const argumentsOf = (count: number) => (count === 1 ? '1 argument' : `${count} arguments`)
  if (most === any) return `at least ${argumentsOf(least)}`
  return least === most ? argumentsOf(least) : `${least} to ${argumentsOf(most)}`
}

function sizeOf(value: unknown): number {
  if (typeof value === 'string') return costOfText(value.length)
  return Array.isArray(value) ? 1 + value.length : 1
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  throw new TemplateFault(
    `${name} wants a string, not ${typeName(value)}`,
    '{{print .Field}} makes a string of anything',
  )
}

function whole(name: string, value: unknown): number {
  if (isWhole(value)) return value
  throw new TemplateFault(`${name} wants a whole number, not ${typeName(value)}`)
}

type Kind = 'nil' | 'string' | 'bool' | 'number' | 'other'

function kindOf(value: unknown): Kind {
  if (value === undefined || value === null) return 'nil'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'number') return 'number'
  return typeof value === 'boolean' ? 'bool' : 'other'
}

function equal(a: unknown, b: unknown): boolean {
  const [kindA, kindB] = [kindOf(a), kindOf(b)]
  if (kindA === 'nil' || kindB === 'nil') return kindA === kindB
  if (kindA !== kindB)
    throw new TemplateFault(
      `${typeName(a)} and ${typeName(b)} cannot be compared`,
      '{{eq (print .Field) "1"}} compares as text',
    )
  if (kindA === 'other')
    throw new TemplateFault('lists and maps cannot be compared', '{{eq (json .A) (json .B)}} compares as text')
  return a === b
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b)
  throw new TemplateFault(`${typeName(a)} and ${typeName(b)} have no order`, 'numbers and strings have')
}

function itemAt(item: unknown, key: unknown, charge: Charge): unknown {
  if (isMap(item) || item === null) {
    if (typeof key !== 'string') throw new TemplateFault(`index wants a string for a map, not ${typeName(key)}`)
    return item === null ? '' : (ownField(item, key) ?? zeroOf(item, charge))
  }
  if (typeof item === 'string') return Buffer.from(item)[position(key, Buffer.byteLength(item))]
  if (Array.isArray(item)) return item[position(key, item.length)]
  throw new TemplateFault(`index cannot look into ${typeName(item)}`, 'into lists and maps it can')
}

/** Go gives the zero of the map's type: docker prints nothing for a label that is not there. The type is inferred. */
function zeroOf(map: Fields, charge: Charge): '' | undefined {
  charge(4 * countKeys(map, charge))
  return Object.values(map).every(value => typeof value === 'string') ? '' : undefined
}

function position(key: unknown, length: number): number {
  const index = whole('index', key)
  if (index < 0 || index >= length) throw new TemplateFault(`index ${index} is out of range: there are ${length} items`)
  return index
}

/** Strings are cut at bytes, as in Go. */
function sliceOf(item: unknown, bounds: readonly unknown[]): unknown {
  const source = typeof item === 'string' ? Buffer.from(item) : item
  if (!Array.isArray(source) && !Buffer.isBuffer(source))
    throw new TemplateFault(`slice cannot cut ${typeName(item)}`, 'it cuts lists and strings')
  if (bounds.length > 2 && typeof item === 'string')
    throw new TemplateFault('slice wants at most 3 arguments for a string')
  const [start = 0, end = source.length, capacity = source.length] = bounds.map(bound => whole('slice', bound))
  if (start < 0 || end < start || capacity < end || capacity > source.length)
    throw new TemplateFault(`slice ${start} to ${end} is out of range: the length is ${source.length}`)
  return Buffer.isBuffer(source) ? source.subarray(start, end).toString() : source.slice(start, end)
}

/** Of strings in bytes, as in Go; nil is as empty as Go's nil lists and maps. */
function lengthOf(value: unknown, charge: Charge): number {
  if (value === null) return 0
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (Array.isArray(value)) return value.length
  if (!isMap(value))
    throw new TemplateFault(`len cannot measure ${value === undefined ? 'what is not there' : typeName(value)}`)
  return countKeys(value, charge)
}

/** Spaces only between two values that are both no strings: Go's Sprint. */
function print(args: readonly unknown[]): string {
  return args
    .map((arg, index) => {
      const spaced = index > 0 && typeof arg !== 'string' && typeof args[index - 1] !== 'string'
      return `${spaced ? ' ' : ''}${formatValue(arg)}`
    })
    .join('')
}

/** What is to be escaped, character by character: slower than the copying that was charged for. */
function printable(args: readonly unknown[], charge: Charge): string {
  const printed = print(args.map(arg => (kindOf(arg) === 'nil' ? formatResult(arg) : arg)))
  charge(printed.length)
  return printed
}

function toJson(value: unknown): string {
  const json = JSON.stringify(value) ?? 'null'
  // Go escapes the two line ends that older JavaScript did not take in strings.
  return json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}

function join(list: unknown, separator: string): string {
  if (list === null) return ''
  if (!Array.isArray(list)) throw new TemplateFault(`join wants a list, not ${typeName(list)}`, '{{join .List ", "}}')
  return list.map(item => formatValue(item)).join(separator)
}

/** The first letter of each word in upper case: Go's strings.Title. */
function title(value: string, charge: Charge): string {
  charge(value.length)
  let before = ' '
  let result = ''
  for (const char of value) {
    result += /^[\p{L}\p{N}_]$/u.test(before) || (before > '\x7f' && before.trim() !== '') ? char : char.toUpperCase()
    before = char
  }
  return result
}

function truncate(value: string, length: number): string {
  if (length < 0) throw new TemplateFault(`truncate wants no negative length: ${length}`)
  return Buffer.from(value).subarray(0, length).toString()
}

const maximumPadding = 1_000_000

function pad([value, before, after]: readonly unknown[], charge: Charge): string {
  const source = text('pad', value)
  const spaces = [before, after].map(count => {
    const number = whole('pad', count)
    if (number < 0 || number > maximumPadding)
      throw new TemplateFault(`pad wants 0 to ${maximumPadding} spaces, not ${number}`)
    charge(costOfText(number))
    return ' '.repeat(number)
  })
  return source === '' ? '' : `${spaces[0]}${source}${spaces[1]}`
}
