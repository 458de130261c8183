import { expect, test } from 'vitest'
import { parseDetachKeys } from '../../src/cli/detach-keys.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

test.each([
  [undefined, [0x10, 0x11]],
  ['', []],
  ['ctrl-p,ctrl-q', [0x10, 0x11]],
  ['ctrl-P', [0x10]],
  ['ctrl-@', [0]],
  ['ctrl-[', [0x1b]],
  ['ctrl-\\', [0x1c]],
  ['ctrl-]', [0x1d]],
  ['ctrl-^', [0x1e]],
  ['ctrl-_', [0x1f]],
  ['a,b, ', [97, 98, 32]],
])('parseDetachKeys(%j) is %j', (text, bytes) => {
  expect([...parseDetachKeys(text)]).toEqual(bytes)
})

test.each([
  ',',
  'a,',
  'ab',
  'ctrl',
  'ctrl-',
  'ctrl-1',
  'ctrl-ab',
  'Ctrl-a',
  'ctrl-ü',
  'ü',
  '\n',
  '\0',
  'a\n',
  'ctrl-a\n',
])('parseDetachKeys(%j) is refused', text => {
  expect(() => parseDetachKeys(text)).toThrow(TsrunError)
  expect(() => parseDetachKeys(text)).toThrow(`invalid value "${text}" for --detach-keys`)
})

test('parseDetachKeys() gives keys or a TsrunError for any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      try {
        for (const byte of parseDetachKeys(text)) expect(byte).toBeLessThan(0x7f)
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
    }),
  )
})
