import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { parseTime } from '../../src/cli/parse-time.ts'
import { parseDuration } from '../../src/lib/duration.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-01-02T12:00:00Z') })
})

afterEach(() => {
  vi.useRealTimers()
})

test.each([
  ['500ms', 500],
  ['30s', 30_000],
  ['1h30m', 5_400_000],
  ['1.5h', 5_400_000],
  ['2d', 172_800_000],
  ['0s', 0],
])('parseDuration("%s") is %i ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each(['', '5', '-5s', 's', '1 s', '1s ', '1e3s', '٣s', '1s\n', '1s\0', 'soon'])(
  'parseDuration(%j) is none',
  text => {
    expect(parseDuration(text)).toBeUndefined()
  },
)

const local = (text: string) => new Date(text).toISOString()

test.each([
  ['10m', '2026-01-02T11:50:00.000Z'],
  ['1795168800', '2026-11-20T10:00:00.000Z'],
  ['1795168800.5', '2026-11-20T10:00:00.500Z'],
  ['2026-11-20T10:00:00Z', '2026-11-20T10:00:00.000Z'],
  ['2026-11-20T10:00:00.123456789Z', '2026-11-20T10:00:00.123Z'],
  ['2026-11-20T10:00:00+02:00', '2026-11-20T08:00:00.000Z'],
  ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ['2026-11-20T10:00:00', local('2026-11-20T10:00:00')],
  ['2026-11-20T10:30', local('2026-11-20T10:30:00')],
  ['2026-11-20T10', local('2026-11-20T10:00:00')],
  ['2026-11-20', local('2026-11-20T00:00:00')],
  ['2026-11-20Z', '2026-11-20T00:00:00.000Z'],
])('parseTime("%s") is %s', (text, time) => {
  expect(parseTime('--since', text)).toBe(time)
})

test.each([
  ...['', ' ', 'soon', 'soon 5', '5 May', 'May 2026'],
  ...['-1', '1e3', '٣', '10m ago', '1\n', '1\0', '\0', '11/20/2026', '2026-13-01', '2026-02-30', '2026-02-29'],
  ...['2026-1-1', '2026-11-20T25:00:00Z', '2026-11-20 10:00', '2026-11-20T10:00:00 ', '2026-00-10', '2026-01-00'],
  ...['9'.repeat(20), '9'.repeat(400), `${'9'.repeat(400)}h`, '+275760-09-13'],
])('parseTime(%j) is refused', text => {
  expect(() => parseTime('--since', text)).toThrow(TsrunError)
  expect(() => parseTime('--since', text)).toThrow(`invalid value "${text}" for --since`)
})

test('parseTime() gives a time or a TsrunError for any text', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[0-9TZ:.+\-hmsd ]{0,30}$/))

  fc.assert(
    fc.property(text, input => {
      try {
        expect(parseTime('--since', input)).toMatch(/^[+-]?\d{4,6}-\d\d-\d\dT[\d:.]+Z$/)
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
    }),
    { numRuns: 1000 },
  )
})
