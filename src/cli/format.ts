// `--format` wherever something is listed or inspected: `json`, `table TEMPLATE`, or a Go template over docker's names.

import { parseTemplate } from './go-template.ts'
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
  if (format === 'json') return lines(listing.rows.map(row => JSON.stringify(row)))
  if (format.startsWith('table ')) return templateTable(listing, expandEscapes(format.slice('table '.length)))
  const template = parseTemplate(expandEscapes(format))
  return lines(listing.rows.map(row => template(row)))
}

/** One row after the other, where they come one by one. @throws TsrunError invalid */
export function renderRow(format: string): (row: Row) => string {
  if (format === 'json') return row => JSON.stringify(row)
  const template = parseTemplate(expandEscapes(format))
  return row => template(row)
}

/** Inspected objects as an indented JSON array, or each through a template. */
export function renderInspection(objects: readonly unknown[], format?: string): string {
  if (format === undefined || format === '') return `${JSON.stringify(objects, null, 4)}\n`
  if (format === 'json') return `${JSON.stringify(objects)}\n`
  const template = parseTemplate(expandEscapes(format))
  return lines(objects.map(object => template(object)))
}

function defaultTable({ columns, rows }: Listing): string {
  const cells = rows.map(row => columns.map(([, field]) => cell(row[field])))
  return formatTable(
    columns.map(([header]) => header),
    cells,
  )
}

/** Columns are separated by tabs; each header is the column's field in capitals. */
function templateTable({ columns, rows }: Listing, format: string): string {
  const header = format.split('\t').map(part => {
    const field = /\{\{\s*(?:\w+\s+)?\.(\w+)/.exec(part)?.[1] ?? ''
    return columns.find(([, name]) => name === field)?.[0] ?? field.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase()
  })
  const template = parseTemplate(format)
  return formatTable(
    header,
    rows.map(row => template(row).split('\t')),
  )
}

function expandEscapes(format: string): string {
  return format.replace(/\\t/g, '\t').replace(/\\n/g, '\n')
}

function cell(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}

function lines(texts: readonly string[]): string {
  return texts.map(text => `${text}\n`).join('')
}
