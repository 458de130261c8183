// Names that others make and remove at the same moment.

import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { replacing } from '../../src/engine/files/replace-name.ts'
import { cString } from '../../src/ffi/file-at.ts'

test.each([
  ['makes it again each time, for a while', 3, (path: string) => writeFileSync(path, 'theirs')],
  ['removes it first', 1, (path: string) => rmSync(path)],
])('replacing() takes the place of a name while another %s', (_, times, rival) => {
  const folder = mkdtempSync(join(tmpdir(), 'replace-name-'))
  const path = join(folder, 'file')
  const fd = openSync(folder, 'r')
  let left = times
  try {
    writeFileSync(path, 'old')
    replacing(fd, cString('file'), 'file', () => {
      try {
        if (left < times && left > 0) rival(path)
        writeFileSync(path, 'ours', { flag: 'wx' })
      } finally {
        // Between the attempt and what follows it.
        if (left === times && times === 1) rival(path)
        left -= 1
      }
    })
    expect(readFileSync(path, 'utf8')).toBe('ours')
  } finally {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  }
})
