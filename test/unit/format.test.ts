import { expect, test } from 'vitest'
import { renderInspection, renderListing } from '../../src/cli/format.ts'
import { labelMethod } from '../../src/cli/labels.ts'
import { TsrunError } from '../../src/model/errors.ts'

const columns = [
  ['CONTAINER ID', 'ID'],
  ['NAMES', 'Names'],
] as const

const listing = {
  columns,
  rows: [
    { ID: 'abc', Names: 'web', Command: 'printf "a\tb"\n', Ports: '', Labels: { x: 'a\tb' }, List: ['a\tb'] },
    { ID: 'd', Names: 'a-longer-name', Command: 'sh', Ports: '80/tcp', Labels: {}, List: [] },
  ],
}

const headerOf = (format: string) => renderListing({ columns, rows: [] }, `table ${format}`).trimEnd()

test.each([undefined, '', 'table'])('renderListing() with the format %j prints the default columns', format => {
  expect(renderListing(listing, format)).toBe(
    'CONTAINER ID   NAMES\nabc            web\nd              a-longer-name\n',
  )
})

test('renderListing() makes a tab and a newline of what a shell passes as \\t and \\n', () => {
  expect(renderListing(listing, '{{.ID}}\\t{{.Names}}\\n')).toBe('abc\tweb\n\nd\ta-longer-name\n\n')
})

test('a tab in a cell does not shift the columns of a table', () => {
  expect(renderListing(listing, 'table {{.Command}}\\t{{.ID}}')).toBe(
    'COMMAND               CONTAINER ID\nprintf "a\\x09b"\\x0a   abc\nsh                    d\n',
  )
  expect(renderListing(listing, 'table {{index .Labels "x"}}\\t{{range .List}}{{.}}{{end}}\\t{{.ID}}')).toBe(
    'LABELS    LIST      CONTAINER ID\na\\x09b    a\\x09b    abc\n                    d\n',
  )
  expect(renderListing({ columns: [['A', 'Command']], rows: listing.rows })).toBe('A\nprintf "a\\x09b"\\x0a\nsh\n')
})

test.each([
  ['{{.ID}}\\t{{.Names}}', 'CONTAINER ID   NAMES'],
  ['{{.CreatedAt}}', 'CREATED AT'],
  ['{{ .ID }}', 'CONTAINER ID'],
  ['{{- .ID -}}', 'CONTAINER ID'],
  ['{{(.ID)}}', 'CONTAINER ID'],
  ['{{json .ID}}', 'CONTAINER ID'],
  ['{{.ID | printf "%.3s"}}', 'CONTAINER ID'],
  ['{{printf "%s.Name" .ID}}', 'CONTAINER ID'],
  ['{{$.ID}}', 'CONTAINER ID'],
  ['{{.ID}}/{{.Names}}', 'CONTAINER ID/NAMES'],
  ['{{if .Ports}}{{.Ports}}{{else}}-{{end}}\\t{{.ID}}', 'PORTS     CONTAINER ID'],
  ['{{if .Ports}}yes{{end}}', 'PORTS'],
  ['{{if .Ports}}{{.Names}}{{end}}', 'NAMES'],
  ['{{range .List}}{{.}}{{end}}', 'LIST'],
  ['{{with $x := .Ports}}{{$x}}{{end}}', 'PORTS'],
  ['{{index .Labels "a.Name"}}', 'LABELS'],
  ['{{"x"}}', ''],
  ['{{.Label "com.docker.compose_project"}}\\t{{.Label "a"}}', 'compose project   a'],
  ['{{/* .No */}}{{.ID}}', 'CONTAINER ID'],
  ['{{join .List "\\t"}}\\t{{.ID}}', 'LIST      CONTAINER ID'],
  ['a { b {{.ID}}', 'a { b CONTAINER ID'],
])('the header of table %s is "%s"', (format, header) => {
  expect(headerOf(format)).toBe(header)
})

test('a field that a row does not have is an error with the ones that were meant, and a label is asked for by its key', () => {
  const row = { Names: 'web', Labels: 'a=1', Label: labelMethod({ a: '1' }), Actor: { Attributes: {} } }
  const rendered = (format: string) => renderListing({ columns: [], rows: [row] }, format)

  expect(rendered('{{.Label "a"}}|{{.Label "b"}}|{{.Actor.Attributes.none}}')).toBe('1||<no value>\n')
  expect(rendered('json')).not.toContain('"Label"')
  expect(() => rendered('{{.Name}}')).toThrow(/there is no field .Name$/)
  expect(() => rendered('table {{.Name}}')).toThrow(/there is no field .Name$/)
  expect(() => rendered('{{.Actor.Nope}}')).toThrow(/there is no field .Nope$/)
  expect(() => rendered('{{.Names "a"}}')).toThrow(/only a function takes arguments: .Names is none/)
  expect(() => rendered('{{.Label 1}}')).toThrow(/.Label wants 1 string/)
})

test('renderInspection() tells structs from maps, as docker', () => {
  const object = {
    State: { Status: 'created' },
    Config: { Labels: { a: '1' } },
    HostConfig: { LogConfig: { Type: 'none', Config: {} } },
    NetworkSettings: { Networks: { bridge: { IPAddress: '10.0.0.2' } } },
  }
  const rendered = (format: string) => renderInspection([object], format)

  expect(rendered('{{.Config.Labels.none}} {{.HostConfig.LogConfig.Config.none}}')).toBe('<no value> <no value>\n')
  expect(rendered('{{if .State.Health}}yes{{else}}no{{end}}')).toBe('no\n')
  for (const path of ['Nope', 'State.Nope', 'NetworkSettings.Networks.bridge.Nope', 'Config.Nope'])
    expect(() => rendered(`{{.${path}}}`)).toThrow(/there is no field .Nope$/)
  expect(() => rendered('{{range .NetworkSettings.Networks}}{{.Nope}}{{end}}')).toThrow(/there is no field .Nope$/)
  expect(() => rendered('{{.State.Health.Status}}')).toThrow(/there is no field .Status: it is nil/)
  expect(() => rendered('{{.NetworkSettings.Networks.none.IPAddress}}')).toThrow(
    /there is no field .IPAddress: it is nil/,
  )
})

test('renderInspection() leaves \\t and \\n to the template, as docker', () => {
  expect(renderInspection([{ a: 1 }], '{{.a}}\\t|')).toBe('1\\t|\n')
  expect(renderInspection([{ a: ['x', 'y'] }], '{{join .a "\\n"}}')).toBe('x\ny\n')
})

test('renderInspection() prints tables', () => {
  const objects = [
    { Name: 'web', State: { Status: 'running' } },
    { Name: 'longer', State: { Status: 'exited' } },
  ]

  expect(renderInspection(objects, 'table {{.Name}}\\t{{.State.Status}}')).toBe(
    'NAME      STATUS\nweb       running\nlonger    exited\n',
  )
})

test('renderInspection() refuses a table without columns', () => {
  expect(() => renderInspection([{}], 'table')).toThrow(TsrunError)
  expect(() => renderInspection([{}], 'table')).toThrow(/as a table: it has no columns/)
})

test('renderInspection() prints JSON', () => {
  expect(renderInspection([{ a: 1 }])).toBe('[\n    {\n        "a": 1\n    }\n]\n')
  expect(renderInspection([{ a: 1 }], 'json')).toBe('[{"a":1}]\n')
})
