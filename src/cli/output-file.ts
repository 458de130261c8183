// An archive into a file of the user's: under a name of its own until it is whole, so that a command that fails leaves no half of one,
// and what stood there stays.

import { createWriteStream, openSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { faultPoint } from '../lib/fault.ts'
import { TsrunError } from '../model/errors.ts'

/** What is no regular file - a pipe, a device - is written to as it is. @throws TsrunError system, and whatever `source` throws */
export async function writeOutputFile(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const stat = statSync(path, { throwIfNoEntry: false })
  const target = stat === undefined ? path : realpathSync(path)
  const isReplaced = stat === undefined || stat.isFile()
  const written = isReplaced ? join(dirname(target), `.${basename(target)}.${process.pid}.tmp`) : target
  // At once: a stream that opens the file when it likes may do so when the failure is over.
  const fd = telling(path, () => openSync(written, 'w', 0o600))
  try {
    await pipeline(source, createWriteStream(written, { fd }))
    faultPoint('archive written')
    if (isReplaced) telling(path, () => renameSync(written, target))
  } catch (error) {
    if (isReplaced) rmSync(written, { force: true })
    throw error instanceof Error && 'syscall' in error && error.syscall === 'write' ? refused(path, error) : error
  }
  faultPoint('archive in place')
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
  const reason =
    error instanceof Error ? (/^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message) : String(error)
  return new TsrunError('system', 'output', `cannot write "${path}": ${reason}${code}`, { cause: error })
}
