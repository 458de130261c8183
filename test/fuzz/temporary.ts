// Places on disk for readers that want them; whoever runs targets removes them at the end.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders: string[] = []
let file: string | undefined

/** A new folder. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsrun-fuzz-'))
  folders.push(folder)
  return folder
}

/** A path with `content` behind it, until the next call. */
export function temporaryFile(content: Buffer): string {
  file ??= join(temporaryFolder(), 'input')
  writeFileSync(file, content)
  return file
}

/** Removes all of them. */
export function removeTemporary(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  file = undefined
}
