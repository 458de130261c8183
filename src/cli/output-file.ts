// An archive into a file of the user's: under a name of its own until it is whole, so that a command that fails leaves no half of one,
// and what stood there stays.

import { createWriteStream, openSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { faultPoint } from '../lib/fault.ts'
import { TsrunError } from '../model/errors.ts'
import { reasonOf } from '../model/output-error.ts'
import { interruptible } from './interrupt.ts'

/**
 * What is no regular file - a pipe, a device - is written to as it is.
 * @returns the exit code: 0, or that of an interruption @throws TsrunError system, and whatever `source` throws
 */
export async function writeOutputFile(path: string, source: AsyncIterable<Uint8Array>): Promise<number> {
  const target = telling(path, () => replacedFile(path))
  // The name is cut so that it is none that is too long where the file's own is not.
  const written =
    target === undefined ? path : join(dirname(target), `.${basename(target).slice(0, 40)}.${process.pid}.tmp`)
  // At once: a stream that opens the file when it likes may do so when the failure is over.
  const fd = telling(path, () => openSync(written, 'w', 0o600))
  try {
    const interruption = await interruptible(signal => pipeline(source, createWriteStream(written, { fd }), { signal }))
    if (interruption !== undefined) {
      if (target !== undefined) rmSync(written, { force: true })
      return interruption.exitCode
    }
    faultPoint('archive written')
    if (target !== undefined) telling(path, () => renameSync(written, target))
  } catch (error) {
    if (target !== undefined) rmSync(written, { force: true })
    throw error instanceof Error && 'syscall' in error && error.syscall === 'write' ? refused(path, error) : error
  }
  faultPoint('archive in place')
  return 0
}

/** The file that takes the place of `path` when it is whole; undefined for what can only be written to. */
function replacedFile(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return path
  // The name of an open descriptor is the kernel's, and may be no path at all: `pipe:[1234]`.
  if (!stat.isFile() || /^\/(dev\/(fd\/|std)|proc\/)/.test(path)) return undefined
  return realpathSync(path)
}

/** Names the file as the user did. */
function telling<T>(path: string, task: () => T): T {
  try {
    return task()
  } catch (error) {
    throw refused(path, error)
  }
}

function refused(path: string, error: unknown): TsrunError {
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
  return new TsrunError('system', 'output', `cannot write "${path}": ${reasonOf(error)}${code}`, { cause: error })
}
