import { expect, test } from 'vitest'
import { matchesLabel, parseFilters } from '../../src/cli/filters.ts'
import { TsrunError } from '../../src/model/errors.ts'

test('parseFilters() collects the values of each key', () => {
  const filters = parseFilters(['name=a', 'label=x=y', 'name=b', 'name='], ['name', 'label'])

  expect([...filters]).toEqual([
    ['name', ['a', 'b', '']],
    ['label', ['x=y']],
  ])
})

test.each(['', 'name', '=', '=a', 'nam=a', 'NAME=a', ' name=a', 'name\0=a', 'constructor=a', '__proto__=a'])(
  'parseFilters() refuses %j and names the keys',
  text => {
    expect(() => parseFilters([text], ['name', 'label'])).toThrow(TsrunError)
    expect(() => parseFilters([text], ['name', 'label'])).toThrow(
      expect.objectContaining({
        message: `invalid filter "${text}"`,
        hint: 'KEY=VALUE with one of: name, label',
      }),
    )
  },
)

test.each([
  ['a', true],
  ['a=1', true],
  ['a=2', false],
  ['a=', false],
  ['b', true],
  ['b=', true],
  ['c', false],
  ['constructor', false],
])('matchesLabel() for %j is %s', (wanted, matches) => {
  expect(matchesLabel({ a: '1', b: '' }, wanted)).toBe(matches)
})
