import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { assertTrustedFile } from '../../src/ffi/trusted-file.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsrun-trusted-'))
  writeFileSync(join(folder, 'program'), '', { mode: 0o755 })
})
afterEach(() => rmSync(folder, { recursive: true }))

test('assertTrustedFile() takes what only its owner can change', () => {
  expect(() => assertTrustedFile(join(folder, 'program'))).not.toThrow()
})

test.each([
  ['a file of a group that may write', () => chmodSync(join(folder, 'program'), 0o775)],
  ['a file that all may write', () => chmodSync(join(folder, 'program'), 0o757)],
  ['a folder that all may write', () => chmodSync(folder, 0o777)],
])('assertTrustedFile() refuses a file or a folder that somebody else could write: %s', (_, loosen) => {
  loosen()

  expect(() => assertTrustedFile(join(folder, 'program'))).toThrow(/refusing to load .* can be changed by others/)
})

test('assertTrustedFile() refuses a link, whatever it leads to', () => {
  symlinkSync('program', join(folder, 'link'))

  expect(() => assertTrustedFile(join(folder, 'link'))).toThrow(/can be changed by others/)
})

test.runIf(process.getuid?.() === 0)('assertTrustedFile() refuses what belongs to another user', () => {
  chownSync(join(folder, 'program'), 12_345, 0)

  expect(() => assertTrustedFile(join(folder, 'program'))).toThrow(/owner 12345/)
})
