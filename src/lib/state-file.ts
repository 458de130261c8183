// Small state files: read whole, written whole (temporary file, then rename), readable with `cat`.
// Synchronous on purpose: a read or write of a few kilobytes costs less than a trip through the event loop.

import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { faultPoint } from './fault.ts'
import { namesIfThere, readTextIfThere } from './if-there.ts'
import { syncPath } from './json-file.ts'

/** A file of ours that is not what we write: cut off, edited by hand, or another version's. The message names it. */
export class StateFileError extends Error {
  readonly path: string
  /** It is there and has no content: what a disk or a power that failed makes of a file that was not synced. */
  readonly isEmpty: boolean

  constructor(path: string, reason: string, isEmpty = false) {
    super(`the state file "${path}" is damaged: ${reason}`)
    this.name = 'StateFileError'
    this.path = path
    this.isEmpty = isEmpty
  }
}

/** By path, so that each is told once. */
const leftOut = new Map<string, StateFileError>()

/**
 * What `read` gives; undefined where a state file is damaged, which is noted: see takeLeftOut(). For whoever shows what there is.
 * Whoever decides by it what nobody uses has to see everything, and reads without this.
 */
export function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    return noteLeftOut(error)
  }
}

/** Notes down a damaged file. @throws anything else */
export function noteLeftOut(error: unknown): undefined {
  if (!(error instanceof StateFileError)) throw error
  leftOut.set(error.path, error)
}

/** The damaged files for whose sake something was left out or left alone since the last call. */
export function takeLeftOut(): StateFileError[] {
  const errors = [...leftOut.values()]
  leftOut.clear()
  return errors
}

/** The format that this program writes, which is also that of files which name none. */
const FORMAT = 1

/** What the fields of a file must be; only those without which a reader would fail in the dark. */
export type Shape = Readonly<Record<string, 'text' | 'number' | 'list' | 'object'>>

/** What a disk or a hand can make of a file, so that its content cannot be had. */
const unreadable = ['EIO', 'EUCLEAN', 'EBADMSG', 'EISDIR', 'ELOOP']

function textOf(path: string): string | undefined {
  try {
    return readTextIfThere(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw unreadable.includes(code) ? new StateFileError(path, `it cannot be read (${code})`) : error
  }
}

/**
 * The parsed file, or undefined where there is none.
 * @throws StateFileError when it cannot be read, is not valid JSON, not an object, or lacks what `shape` names
 */
export function readJson<T extends object>(path: string, shape: Shape = {}): T | undefined {
  const text = textOf(path)
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new StateFileError(path, error instanceof Error ? error.message : String(error), text === '')
  }
  if (kindOf(value) !== 'object') throw new StateFileError(path, 'it is not a JSON object')
  const fields = value as Readonly<Record<string, unknown>>
  const { format } = fields
  if (typeof format === 'number' && format > FORMAT)
    throw new StateFileError(path, `it is from a newer tsrun: its format is ${format}, and this one knows ${FORMAT}`)
  for (const [field, wanted] of Object.entries(shape)) {
    const kind = kindOf(Object.hasOwn(fields, field) ? fields[field] : undefined)
    if (kind !== wanted) throw new StateFileError(path, `"${field}" is not a ${wanted}`)
  }
  return value as T
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  if (value === null) return 'null'
  return typeof value === 'string' ? 'text' : typeof value
}

/**
 * Replaces the file whole. Readers see the old or the new content, never a part.
 * @param options.durable must outlive a power cut: the file is synced before it gets its name, and its folder after
 */
export function writeJson(path: string, value: unknown, options: { durable?: boolean } = {}): void {
  writeWhole(path, `${JSON.stringify(value, null, 2)}\n`, options)
}

/** A disk that took no content may not let go of the name either; why the write failed is what has to be told. */
function removeDraft(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // A draft is nobody's record: whoever removes the folder takes it along.
  }
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
    removeDraft(temporary)
    throw error
  }
  if (options.durable === true) syncPath(path.slice(0, path.lastIndexOf('/')))
  faultPoint(`write ${name}`)
}

/**
 * Removes the temporary files and folders, `*.PID.tmp` and `*.PID.N.tmp`, of processes that were killed while they wrote.
 * @param file only those of this name, in a folder that is not ours
 */
export function sweepTemporaries(folder: string, file?: string): void {
  for (const name of namesIfThere(folder)) {
    const [, of, pid] = /^(.*?)\.(\d+)(?:\.\d+)?\.tmp$/s.exec(name) ?? []
    if (file !== undefined && file !== of) continue
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(`${folder}/${name}`, { recursive: true, force: true })
  }
}
