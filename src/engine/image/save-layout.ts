// `save --format oci-dir`: the archive's OCI layout as a folder, which skopeo, umoci and buildah read and write. It is made beside its
// place and gets its name when it is whole.

import { closeSync, constants, mkdirSync, openSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'
import { reasonOf } from '../../model/output-error.ts'
import { unpackFiles } from '../files/unpack-files.ts'

/**
 * Unpacks the archive of a layout. Nothing is left where that fails.
 * @param directory must not be there, or be empty
 * @throws TsrunError conflict: it holds something; system: it cannot be written; the signal's reason
 */
export async function writeLayout(
  archive: AsyncIterable<Buffer>,
  directory: string,
  signal?: AbortSignal,
): Promise<void> {
  const target = resolve(directory)
  const made = join(dirname(target), `.${basename(target).slice(0, 40)}.${process.pid}.tmp`)
  try {
    removeEmpty(target)
    mkdirSync(made, { mode: 0o755 })
  } catch (error) {
    if (error instanceof TsrunError) throw error
    throw refused(directory, error)
  }
  try {
    const fd = openSync(made, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await unpackFiles(fd, watched(archive, signal), {})
    } finally {
      closeSync(fd)
    }
    renameSync(made, target)
  } catch (error) {
    rmSync(made, { recursive: true, force: true })
    throw hasCode(error, 'ENOSPC', 'EDQUOT', 'ENOTEMPTY', 'EEXIST') ? refused(directory, error) : error
  }
}

function removeEmpty(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  try {
    rmdirSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error
    throw new TsrunError('conflict', 'not-empty', `cannot save to "${path}": it is there, and no empty directory`, {
      hint: 'name another one; `skopeo copy` puts several images into one layout',
    })
  }
}

async function* watched(archive: AsyncIterable<Buffer>, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for await (const chunk of archive) {
    signal?.throwIfAborted()
    yield chunk
  }
}

function refused(path: string, error: unknown): TsrunError {
  return new TsrunError('system', 'output', `cannot write "${path}": ${reasonOf(error)}`, { cause: error })
}
