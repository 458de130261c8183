// Whether a file that ADD names is an archive, which is then unpacked: told by its content, as docker does.

import { closeSync, constants, createReadStream } from 'node:fs'
import { decompress, detectCompression } from '../../drivers/image/decompress.ts'
import { cString, openAt } from '../../ffi/file-at.ts'
import { TsrunError } from '../../model/errors.ts'
import type { SourceFile } from './file-source.ts'

const BLOCK_BYTES = 512

/** The tar in a file, decompressed; undefined where it is none. @throws TsrunError unsupported: the program for its compression is not here */
export async function addedArchive({ source, path }: SourceFile): Promise<AsyncIterable<Buffer> | undefined> {
  const open = (): AsyncIterable<Buffer> | undefined => {
    const spot = source.tree.locate(path, { follow: true })
    if (spot === undefined) return undefined
    try {
      if (spot.stat?.isFile() !== true) return undefined
      const fd = openAt(spot.parentFd, cString(spot.name), constants.O_RDONLY | constants.O_NOFOLLOW, 0)
      return createReadStream('', { fd, highWaterMark: 1 << 20 })
    } finally {
      closeSync(spot.parentFd)
    }
  }
  const head = await firstBytes(open())
  if (head === undefined) return undefined
  const inflated = detectCompression(head) === 'none' ? head : await firstInflated(open())
  if (inflated === undefined || !isTar(inflated)) return undefined
  const archive = open()
  return archive === undefined ? undefined : decompress(archive)
}

/** A header block: its checksum is the sum of its bytes, with blanks in the place of the sum. */
function isTar(block: Buffer): boolean {
  if (block.length < BLOCK_BYTES) return false
  const stated = Number.parseInt(
    block
      .toString('latin1', 148, 156)
      .replace(/[\0 ]+$/, '')
      .trim(),
    8,
  )
  let sum = 0
  for (let at = 0; at < BLOCK_BYTES; at += 1) sum += at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0)
  return sum === stated
}

async function firstInflated(source: AsyncIterable<Buffer> | undefined): Promise<Buffer | undefined> {
  try {
    return await firstBytes(source === undefined ? undefined : decompress(source))
  } catch (error) {
    // Looks like gzip and is not: a plain file.
    if (error instanceof TsrunError && error.code === 'corrupt-archive') return undefined
    throw error
  }
}

async function firstBytes(source: AsyncIterable<Buffer> | undefined): Promise<Buffer | undefined> {
  if (source === undefined) return undefined
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of source) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= BLOCK_BYTES) break
  }
  return Buffer.concat(chunks)
}
