import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readJsonFile, writeJsonFile } from '../../src/lib/json-file.ts'
import { writeWhole } from '../../src/lib/state-file.ts'

test('a draft that can neither be written nor removed: the error is that of the writing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'state-file-'))
  try {
    const path = join(folder, 'record.json')
    mkdirSync(`${path}.${process.pid}.tmp`)

    expect(() => writeWhole(path, 'new')).toThrow(expect.objectContaining({ code: 'EISDIR', syscall: 'open' }))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("a draft that a killed process of the same number has left, before a boot perhaps, is in nobody's way", () => {
  const folder = mkdtempSync(join(tmpdir(), 'state-file-'))
  try {
    const path = join(folder, 'record.json')
    for (let number = 0; number < 20; number++) writeFileSync(`${path}.${process.pid}.${number}.tmp`, 'half')

    writeJsonFile(path, { whole: true })

    expect(readJsonFile(path)).toEqual({ whole: true })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
