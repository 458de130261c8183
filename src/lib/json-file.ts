// JSON files that are written whole: a reader sees the old content or the new, never half of either.

import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { faultPoint } from './fault.ts'
import { readTextIfThere } from './if-there.ts'

let counter = 0

/** Reads a JSON file; undefined where there is none. @throws SyntaxError when it is not JSON */
export function readJsonFile(path: string): unknown {
  const text = readTextIfThere(path)
  return text === undefined ? undefined : JSON.parse(text)
}

export interface WriteJsonOptions {
  /** Must survive a power loss: the file is synced before it gets its name, and its folder after. Default false. */
  readonly durable?: boolean
  /** Default 0o644. */
  readonly mode?: number
}

/** Writes `value` as JSON by temporary file and rename, so that the name always shows a whole file. */
export function writeJsonFile(path: string, value: unknown, options: WriteJsonOptions = {}): void {
  const [temporary, fd] = openDraft(path, options.mode ?? 0o644)
  try {
    try {
      writeFileSync(fd, `${JSON.stringify(value, null, 2)}\n`)
      if (options.durable) fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    faultPoint('draft of the store')
    renameSync(temporary, path)
  } catch (error) {
    unlinkSync(temporary)
    throw error
  }
  if (options.durable) syncPath(dirname(path))
}

/** A new file beside `path`: a killed process, perhaps of an earlier boot and of the same number, may have left some. */
function openDraft(path: string, mode: number): [temporary: string, fd: number] {
  for (;;) {
    const temporary = `${path}.${process.pid}.${counter++}.tmp`
    try {
      return [temporary, openSync(temporary, 'wx', mode)]
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
  }
}

/** Makes the content of a file, or the names in a folder, survive a power loss. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
