import { expect, test } from 'vitest'
import { tryParseCsv } from '../../src/cli/parse-csv.ts'
import fc from '../helpers/property.ts'

test.each([
  ['', ['']],
  ['a', ['a']],
  ['a,b', ['a', 'b']],
  [',', ['', '']],
  ['"a,b",c', ['a,b', 'c']],
  ['"a""b"', ['a"b']],
  ['""', ['']],
  ['"","",', ['', '', '']],
  ['a b , c', ['a b ', ' c']],
  ['"a\nb"', ['a\nb']],
])('tryParseCsv(%j) is %j', (text, fields) => {
  expect(tryParseCsv(text)).toEqual(fields)
})

test.each(['"', '"a', 'a"', 'a"b', '"a"b', '"a" ,b', ' "a"', '"""'])('tryParseCsv(%j) is undefined', text => {
  expect(tryParseCsv(text)).toBeUndefined()
})

test('tryParseCsv() gives back what was quoted', () => {
  const quote = (field: string) => `"${field.replaceAll('"', '""')}"`

  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), fields => {
      expect(tryParseCsv(fields.map(quote).join(','))).toEqual(fields)
    }),
  )
})
