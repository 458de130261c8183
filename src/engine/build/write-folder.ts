// `build --output DIR`: the image's files in a folder of the user's, who then owns them.

import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { TsrunError } from '../../model/errors.ts'
import { reasonOf } from '../../model/output-error.ts'
import { unpackFiles } from '../files/unpack-files.ts'

/**
 * What is in the folder stays, but for files of the same names. Links in it are followed inside of it alone.
 * @throws TsrunError system: it cannot be made or written; conflict
 */
export async function writeFolder(archive: AsyncIterable<Buffer>, directory: string): Promise<void> {
  let fd: number
  try {
    mkdirSync(directory, { recursive: true })
    fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (error) {
    throw new TsrunError('system', 'output', `cannot write "${directory}": ${reasonOf(error)}`, { cause: error })
  }
  try {
    await unpackFiles(fd, archive, { owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 } })
  } finally {
    closeSync(fd)
  }
}
