// Small state files: read whole, written whole (temporary file, then rename), readable with `cat`.
// Synchronous on purpose: a read or write of a few kilobytes costs less than a trip through the event loop.

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { faultPoint } from './fault.ts'

/** The parsed file, or undefined where there is none. @throws Error naming the file when it is not valid JSON */
export function readJson<T>(path: string): T | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  try {
    return JSON.parse(text) as T
  } catch (error) {
    throw new Error(`the state file "${path}" is damaged: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/**
 * Replaces the file whole. Readers see the old or the new content, never a part.
 * @param options.durable fsync before the rename: for what must outlive a power cut
 */
export function writeJson(path: string, value: unknown, options: { durable?: boolean } = {}): void {
  writeWhole(path, `${JSON.stringify(value, null, 2)}\n`, options)
}

/** Like writeJson, for text. */
export function writeWhole(path: string, text: string, options: { durable?: boolean } = {}): void {
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/^\.?[0-9a-f]{64}$/, 'by id')
  const temporary = `${path}.${process.pid}.tmp`
  try {
    if (options.durable === true) {
      const fd = openSync(temporary, 'w', 0o600)
      try {
        writeFileSync(fd, text)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
    } else {
      writeFileSync(temporary, text, { mode: 0o600 })
    }
    faultPoint(`draft ${name}`)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  faultPoint(`write ${name}`)
}

/** Removes the temporary files in a folder that belong to processes that were killed while they wrote. */
export function sweepTemporaries(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const [, pid] = /\.(\d+)\.tmp$/.exec(name) ?? []
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(`${folder}/${name}`, { force: true })
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
