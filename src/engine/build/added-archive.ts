// Whether a file that ADD names is an archive, which is then unpacked: told by its content, as docker does.

import { closeSync, constants, createReadStream } from 'node:fs'
import { decompress } from '../../drivers/image/decompress.ts'
import { cString, openAt } from '../../ffi/file-at.ts'
import { TsrunError } from '../../model/errors.ts'
import type { SourceFile } from './file-source.ts'

const BLOCK_BYTES = 512

/** The tar in a file, decompressed; undefined where it is none. @throws TsrunError unsupported: compressed by xz or bzip2 */
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
  refuseUnknown(head, path)
  const isCompressed = (head[0] === 0x1f && head[1] === 0x8b) || head.subarray(0, 4).toString('hex') === '28b52ffd'
  const inflated = isCompressed ? await firstInflated(open()) : head
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

function refuseUnknown(head: Buffer, path: string): void {
  const kind =
    head.subarray(0, 6).toString('hex') === 'fd377a585a00'
      ? 'xz'
      : /^BZh[1-9]/.test(head.toString('latin1', 0, 4))
        ? 'bzip2'
        : undefined
  if (kind === undefined) return
  throw new TsrunError('unsupported', 'compression', `cannot ADD "${path}": tsrun does not unpack ${kind}`, {
    hint: 'compress it with gzip or zstd, or COPY it and unpack it in a RUN',
  })
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
