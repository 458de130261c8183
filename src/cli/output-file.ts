// An archive into a file of the user's: under a name of its own until it is whole, so that a command that fails leaves no half of one,
// and what stood there stays.

import { createWriteStream, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
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
  const file = createWriteStream(written, { mode: 0o600 })
  // Whose fault it was: the source's errors are told as they are.
  let refusal: Error | undefined
  file.on('error', error => {
    refusal = error
  })
  try {
    await pipeline(source, file)
    faultPoint('archive written')
    if (isReplaced) renameSync(written, target)
  } catch (error) {
    if (isReplaced) rmSync(written, { force: true })
    if (error !== refusal) throw error
    throw new TsrunError('system', 'output', `cannot write "${path}": ${refusal?.message.replaceAll(written, path)}`, {
      cause: error,
    })
  }
  faultPoint('archive in place')
}
