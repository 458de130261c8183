// JSON values under Go's rules: what they are called, whether they are true, how they print. Own properties only, so
// that nothing of JavaScript's objects can be reached. undefined is a value that is missing, null is Go's nil.

import { type Charge, TemplateFault } from './fault.ts'
import { formatNumber, isWhole } from './floats.ts'

/** Data deeper than this is not printed: the stack is finite. */
const maximumDepth = 500

export type Fields = Readonly<Record<string, unknown>>

/** Whether it is what Go would hold as a map. */
export function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An own property, or undefined. */
export function ownField(map: Fields, name: string): unknown {
  return Object.hasOwn(map, name) ? map[name] : undefined
}

/** In the order of their bytes, as Go sorts them. */
export function sortedKeys(map: Fields): string[] {
  return Object.keys(map)
    .filter(key => map[key] !== undefined)
    .sort(compareText)
}

/** By code point, which is the order of UTF-8's bytes too. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const difference = rank(a.charCodeAt(at)) - rank(b.charCodeAt(at))
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** UTF-16 puts its surrogates before the last part of the basic plane, though they stand for what is behind it. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

/** False are false, 0, nil, what is missing, and everything empty. */
export function isTrue(value: unknown, charge: Charge): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (isMap(value)) return countKeys(value, charge) > 0
  return Boolean(value)
}

/** How many fields there are; finding out takes the longer the more there are. */
export function countKeys(map: Fields, charge: Charge): number {
  const { length } = Object.keys(map)
  charge(length)
  return length
}

/** Go's name for its type. */
export function typeName(value: unknown): string {
  if (value === undefined || value === null) return 'nil'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number') return isWhole(value) ? 'int' : 'float64'
  return Array.isArray(value) ? '[]interface {}' : 'map[string]interface {}'
}

/** As `%v`: `[a b]`, `map[a:1 b:2]`, `<nil>`. @throws TemplateFault where it is nested too deep */
export function formatValue(value: unknown, depth = 0): string {
  if (depth > maximumDepth) throw new TemplateFault('the value is nested too deep to be printed')
  if (typeof value === 'string') return value
  if (typeof value === 'number') return formatNumber(value)
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return `[${value.map(item => formatValue(item, depth + 1)).join(' ')}]`
  if (isMap(value))
    return `map[${sortedKeys(value)
      .map(key => `${key}:${formatValue(value[key], depth + 1)}`)
      .join(' ')}]`
  return '<nil>'
}

/** What an action prints: as `%v`, but `<no value>` where there is none. */
export function formatResult(value: unknown): string {
  return value === undefined || value === null ? '<no value>' : formatValue(value)
}
