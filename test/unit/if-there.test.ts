import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { namesIfThere, readTextIfThere } from '../../src/lib/if-there.ts'

const folder = mkdtempSync(join(tmpdir(), 'tsrun-if-there-'))
const file = join(folder, 'file')
writeFileSync(file, 'text\n')
mkdirSync(join(folder, 'empty'))
afterAll(() => rmSync(folder, { recursive: true }))

test('readTextIfThere() reads what is there, and gives undefined for what is not', () => {
  expect(readTextIfThere(file)).toBe('text\n')
  expect(readTextIfThere(join(folder, 'none'))).toBeUndefined()
})

test('namesIfThere() lists what is there, and gives none for a folder that is not', () => {
  expect(namesIfThere(folder).sort()).toEqual(['empty', 'file'])
  expect(namesIfThere(join(folder, 'none'))).toEqual([])
})

test.each([
  ['readTextIfThere()', readTextIfThere, undefined],
  ['namesIfThere()', namesIfThere, []],
] as const)('%s throws what the caller did not name as absence', (_name, read, absent) => {
  const inTheWay = join(file, 'below')

  expect(() => read(inTheWay)).toThrow(/ENOTDIR/)
  expect(read(inTheWay, 'ENOTDIR', 'EACCES')).toEqual(absent)
  expect(() => read(inTheWay, 'EACCES')).toThrow(/ENOTDIR/)
})
