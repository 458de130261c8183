// An archive into a file of the user's: without its name until it is whole, so that a command that fails leaves no half of one, and what
// stood there stays.

import { closeSync, constants, createWriteStream, lstatSync, openSync, readlinkSync, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { openDraft } from '../engine/files/draft-file.ts'
import { faultPoint } from '../lib/fault.ts'
import { TsrunError } from '../model/errors.ts'
import { reasonOf } from '../model/output-error.ts'
import { interruptible } from './interrupt.ts'

/**
 * What is no regular file - a pipe, a device - is written to as it is.
 * @returns the exit code: 0, or that of an interruption @throws TsrunError system, and whatever `source` throws
 */
export async function writeOutputFile(path: string, source: AsyncIterable<Uint8Array>): Promise<number> {
  // At once: a stream that opens the file when it likes may do so when the failure is over.
  const { fd, draft } = telling(path, () => open(path))
  try {
    const interruption = await interruptible(signal => pipeline(source, createWriteStream(path, { fd }), { signal }))
    if (interruption !== undefined) {
      draft?.drop()
      return interruption.exitCode
    }
    faultPoint('archive written')
  } catch (error) {
    draft?.drop()
    throw error instanceof Error && 'syscall' in error && error.syscall === 'write' ? refused(path, error) : error
  }
  telling(path, () => draft?.place())
  faultPoint('archive in place')
  return 0
}

function open(path: string) {
  const target = replacedFile(path)
  if (target === undefined) return { fd: openSync(path, 'w', 0o600), draft: undefined }
  const draft = openDraft(target)
  return { fd: draft.fd, draft }
}

/** The file that takes the place of `path` when it is whole; undefined for what can only be written to. */
function replacedFile(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true)
      throw new TsrunError(
        'system',
        'output',
        `cannot write "${path}": it is a symbolic link to "${readlinkSync(path)}", which does not exist`,
        {
          hint: 'remove the link, or create the file that it leads to',
        },
      )
    return path
  }
  // The name of an open descriptor is the kernel's, and may be no path at all: `pipe:[1234]`.
  if (!stat.isFile() || /^\/(dev\/(fd\/|std)|proc\/)/.test(path)) return undefined
  // Opened, since the kernel knows which links are not to be followed: those of other users in /tmp (protected_symlinks).
  const fd = openSync(path, constants.O_WRONLY)
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
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
  if (error instanceof TsrunError) return error
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
  return new TsrunError('system', 'output', `cannot write "${path}": ${reasonOf(error)}${code}`, { cause: error })
}
