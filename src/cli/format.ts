// `--format` wherever something is listed or inspected: `json`, `table TEMPLATE`, or a Go template over docker's names.

import { printable } from '../engine/ids.ts'
import { TsrunError } from '../model/errors.ts'
import type { Structs } from './go-template/evaluate.ts'
import { parseTemplate } from './go-template.ts'
import { structsOfInspection, structsOfRow } from './structs.ts'
import { formatTable } from './table.ts'

/** One listed thing, under docker's field names. */
export type Row = Readonly<Record<string, unknown>>

export interface Listing {
  /** Header and field of each column of the default table. */
  readonly columns: readonly (readonly [header: string, field: string])[]
  readonly rows: readonly Row[]
}

/** A listing as text. @param format undefined or `table` for the default columns @throws TsrunError invalid */
export function renderListing(listing: Listing, format?: string): string {
  if (format === undefined || format === '' || format === 'table') return defaultTable(listing)
  if (format === 'json') return lines(listing.rows.map(row => jsonText(row)))
  if (format.startsWith('table '))
    return templateTable(listing, expandEscapes(format.slice('table '.length)), structsOfRow)
  return lines(listing.rows.map(renderRow(format)))
}

/** One row after the other, where they come one by one. @throws TsrunError invalid */
export function renderRow(format: string): (row: Row) => string {
  if (format === 'json') return row => jsonText(row)
  const template = parseTemplate(expandEscapes(format))
  return row => template(row, structsOfRow(row))
}

/** Inspected objects as an indented JSON array, or each through a template, as it stands. @throws TsrunError invalid */
export function renderInspection(objects: readonly unknown[], format?: string): string {
  if (format === undefined || format === '') return `${jsonText(objects, 4)}\n`
  if (format === 'json') return `${jsonText(objects)}\n`
  if (format === 'table')
    throw new TsrunError('invalid', 'format', 'cannot show inspected objects as a table: it has no columns', {
      hint: "name them: 'table {{.Name}}\\t{{.Driver}}'; or `--format json`",
    })
  if (format.startsWith('table '))
    return templateTable(
      { columns: [], rows: objects },
      expandEscapes(format.slice('table '.length)),
      structsOfInspection,
    )
  const template = parseTemplate(format)
  return lines(objects.map(object => template(object, structsOfInspection(object))))
}

/** JSON leaves alone what some terminals obey: DEL, the controls of Latin-1, separators of lines, and what turns the direction of writing. */
function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\x7f-\x9f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function defaultTable({ columns, rows }: Listing): string {
  const cells = rows.map(row => columns.map(([, field]) => cell(row[field])))
  return formatTable(
    columns.map(([header]) => header),
    cells,
  )
}

/** Columns are separated by the tabs of the template; a tab in a value is shown as what it is. */
function templateTable<T>(
  { columns, rows }: Pick<Listing, 'columns'> & { rows: readonly T[] },
  format: string,
  structsOf: (row: T) => Structs,
): string {
  const title = (field: string) =>
    columns.find(([, name]) => name === field)?.[0] ?? field.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase()
  const template = parseTemplate(format)
  return formatTable(
    splitColumns(format).map(column => headerOf(column, title)),
    rows.map(row => {
      const shown = deepPrintable(row)
      return template(shown, structsOf(shown)).split('\t')
    }),
  )
}

const action = /\{\{-?\s*(.*?)\s*-?\}\}/gs

/** At tabs, but not at those in an action. */
function splitColumns(format: string): string[] {
  const columns = ['']
  for (const piece of format.match(/\{\{.*?\}\}|[^{\t]+|\t|\{/gs) ?? []) {
    if (piece === '\t') columns.push('')
    else columns.push(`${columns.pop()}${piece}`)
  }
  return columns
}

/** The fields that a column prints, in its own words around them: `{{.Name}}/{{.Driver}}` -> `NAME/DRIVER`. */
function headerOf(column: string, title: (field: string) => string): string {
  const actions = [...column.matchAll(action)].map(([, body = '']) => ({
    isControl: isControl(body),
    field: fieldOf(body),
  }))
  if (!actions.some(each => each.isControl))
    return column.replace(action, (_, body: string) => labelOf(body) ?? title(fieldOf(body) ?? '')).trim()
  const field = actions.find(each => !each.isControl && each.field !== undefined) ?? actions.find(each => each.field)
  return title(field?.field ?? '')
}

function isControl(body: string): boolean {
  return /^(?:if|else|end|range|with|break|continue|\$\w+(?:\s*,\s*\$\w+)?\s*:?=)/.test(body)
}

/** docker's header of a label: the last word of its key. */
function labelOf(body: string): string | undefined {
  return /^\.Label\s+["`](?:[^"`]*\.)?([^"`.]*)["`]$/.exec(body)?.[1]?.replace(/[-_]/g, ' ')
}

/** The last name of the first path in an action, `{{json .State.Status}}` -> `Status`; strings in it hold none. */
function fieldOf(body: string): string | undefined {
  const code = body.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`|\/\*.*?\*\//gs, '')
  return /(?:^|[\s(|$])((?:\.\w+)+)/.exec(code)?.[1]?.split('.').at(-1)
}

function deepPrintable<T>(value: T): T
function deepPrintable(value: unknown): unknown {
  if (typeof value === 'string') return printable(value)
  if (Array.isArray(value)) return value.map(each => deepPrintable(each))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, deepPrintable(each)]))
}

function expandEscapes(format: string): string {
  return format.replace(/\\t/g, '\t').replace(/\\n/g, '\n')
}

function cell(value: unknown): string {
  return value === undefined || value === null ? '' : printable(String(value))
}

function lines(texts: readonly string[]): string {
  return texts.map(text => `${text}\n`).join('')
}
