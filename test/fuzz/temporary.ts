// A file for readers that want a path.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let folder: string | undefined

/** A path with `content` behind it, until the next call. */
export function temporaryFile(content: Buffer): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'tsrun-fuzz-'))
    folder = made
    process.on('exit', () => rmSync(made, { recursive: true, force: true }))
  }
  const path = join(folder, 'input')
  writeFileSync(path, content)
  return path
}
