import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
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
