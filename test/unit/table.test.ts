import { afterEach, expect, test, vi } from 'vitest'
import {
  displayWidth,
  formatAgo,
  formatBinaryBytes,
  formatBytes,
  formatDuration,
  formatTable,
  truncate,
} from '../../src/cli/table.ts'
import fc from '../helpers/property.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('formatTable() aligns columns three spaces apart', () => {
  const text = formatTable(
    ['NAME', 'IMAGE', 'STATUS'],
    [
      ['web', 'busybox:latest', 'Up 5 seconds'],
      ['a-longer-name', 'b', ''],
    ],
  )

  expect(text).toBe(
    [
      'NAME            IMAGE            STATUS',
      'web             busybox:latest   Up 5 seconds',
      'a-longer-name   b',
      '',
    ].join('\n'),
  )
})

test.each([
  ['no rows', ['NAME', 'ID'], [], 'NAME   ID\n'],
  ['one column', ['NAME'], [['web'], ['db']], 'NAME\nweb\ndb\n'],
  ['no column', [], [], '\n'],
  ['a row that is too short', ['A', 'B'], [['long']], 'A      B\nlong\n'],
  ['a row that is too long', ['A'], [['x', 'y']], 'A\nx   y\n'],
  ['empty cells in the middle', ['A', 'B', 'C'], [['', '', 'z']], 'A   B   C\n        z\n'],
])('formatTable() prints %s', (_, header, rows, text) => {
  expect(formatTable(header, rows, 0)).toBe(text)
})

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

test.each([
  [0, 'Less than a second'],
  [-5000, 'Less than a second'],
  [999, 'Less than a second'],
  [second, '1 second'],
  [1999, '1 second'],
  [2 * second, '2 seconds'],
  [59 * second, '59 seconds'],
  [minute, 'About a minute'],
  [119 * second, 'About a minute'],
  [2 * minute, '2 minutes'],
  [59 * minute, '59 minutes'],
  [hour, 'About an hour'],
  [89 * minute, 'About an hour'],
  [90 * minute, '2 hours'],
  [47 * hour, '47 hours'],
  [48 * hour, '2 days'],
  [13 * day, '13 days'],
  [14 * day, '2 weeks'],
  [59 * day, '8 weeks'],
  [60 * day, '2 months'],
  [729 * day, '24 months'],
  [730 * day, '2 years'],
  [3650 * day, '10 years'],
])('formatDuration(%i) is "%s", as docker says it', (ms, words) => {
  expect(formatDuration(ms)).toBe(words)
})

test('formatAgo() counts from now, and a clock that went back is no harm', () => {
  vi.useFakeTimers({ now: Date.parse('2026-01-01T12:00:00Z') })

  expect(formatAgo('2026-01-01T11:55:00.123456789Z')).toBe('4 minutes ago')
  expect(formatAgo('2026-01-01T09:00:00-03:00')).toBe('Less than a second ago')
  expect(formatAgo('2027-01-01T00:00:00Z')).toBe('Less than a second ago')
})

test.each([
  [0, '0B'],
  [999, '999B'],
  [1000, '1kB'],
  [1250, '1.25kB'],
  [1_250_000, '1.25MB'],
  [4_261_574, '4.26MB'],
  [999_000_000, '999MB'],
  [1_000_000_000, '1GB'],
  [2_500_000_000_000, '2.5TB'],
  [1_234_000_000_000_000, '1.23PB'],
  [999_499, '999kB'],
  [999_999, '1MB'],
  [999_999_999, '1GB'],
  [999.9, '1kB'],
  [5e18, '5EB'],
  [5e21, '5000EB'],
])('formatBytes(%i) is "%s"', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text)
})

test.each([
  [0, '0B'],
  [1023, '1023B'],
  [2048, '2KiB'],
  [2_048_000, '1.953MiB'],
  [1_048_575, '1MiB'],
  [2 ** 50, '1PiB'],
])('formatBinaryBytes(%i) is "%s"', (bytes, text) => {
  expect(formatBinaryBytes(bytes)).toBe(text)
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('formatDuration(%s) has no number', ms => {
  expect(formatDuration(ms)).toBe('an unknown time')
})

test.each(['', 'soon'])('formatAgo(%j) is N/A', time => {
  expect(formatAgo(time)).toBe('N/A')
})

test.each([
  ['', 0],
  ['web', 3],
  ['größe', 5],
  ['gro\u0308ße', 5],
  ['容器', 4],
  ['한글', 4],
  ['\u1112\u1161\u11ab', 2],
  ['カ\uff9e', 3],
  ['ＡＢ', 4],
  ['🐳', 2],
  ['\u200b\u200d\ufe0f', 0],
  ['𠀀', 2],
  ['…', 1],
])('displayWidth(%j) is %i', (text, width) => {
  expect(displayWidth(text)).toBe(width)
})

test('formatTable() aligns what is wide or combined', () => {
  const text = formatTable(
    ['NAME', 'ID'],
    [
      ['容器', '1'],
      ['u\u0308ber', '2'],
      ['longest', '3'],
    ],
  )

  expect(text).toBe('NAME      ID\n容器      1\nu\u0308ber      2\nlongest   3\n')
})

test('formatTable() aligns columns that have no header', () => {
  expect(
    formatTable(
      ['A'],
      [
        ['x', 'long', 'y'],
        ['x', 'b', 'z'],
      ],
    ),
  ).toBe('A\nx         long      y\nx         b         z\n')
})

test('truncate() cuts no character in two and stays in its width', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 30 }), (text, width) => {
      const short = truncate(text, width)

      expect(displayWidth(short)).toBeLessThanOrEqual(width)
      expect(/\p{Cs}/u.test(short)).toBe(false)
    }),
  )
})

test.each([
  ['🐳🐳🐳', 5, '🐳🐳…'],
  ['🐳🐳🐳', 4, '🐳…'],
  ['a🐳b', 3, 'a…'],
  ['e\u0301e\u0301e\u0301', 2, 'e\u0301…'],
  ['short', 20, 'short'],
  ['exactly-twenty-chars', 20, 'exactly-twenty-chars'],
  ['more than twenty characters', 20, 'more than twenty ch…'],
  ['ab', 1, '…'],
  ['', 5, ''],
])('truncate("%s", %i) is "%s"', (text, length, short) => {
  expect(truncate(text, length)).toBe(short)
})
