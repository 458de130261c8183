// Plain, gzip, zstd, xz or bzip2, told by the first bytes: what a blob's media type says is not always what it is.
// Decompression is the platform's: node:zlib for gzip and zstd (which Node has from 22.15 on, the compiled tsrun always), programs for
// the rest.

import { Readable } from 'node:stream'
import { TsrunError } from '../../model/errors.ts'

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz' | 'bzip2'

const outputChunk = 256 * 1024

/** So many first bytes tell. */
export const compressionHeadBytes = 10

/** Which compression the first bytes of a stream speak of. */
export function detectCompression(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return 'zstd'
  const hex = head.toString('hex', 0, compressionHeadBytes)
  if (hex.startsWith('fd377a585a00')) return 'xz'
  // "BZh", a digit, and the number of a block or of the end: a name in a tar header may well begin with "BZh1".
  if (/^425a683[1-9](314159265359|177245385090)/.test(hex)) return 'bzip2'
  return 'none'
}

/**
 * The uncompressed chunks of `source`.
 * @param kind a `layer`, which anybody may have made, is gzip, zstd or plain: that is all that registries have
 * @throws TsrunError invalid (corrupt), unsupported (its program is not there, or it is not for layers)
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  kind: 'archive' | 'layer' = 'archive',
): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]()
  const head: Buffer[] = []
  let length = 0
  while (length < compressionHeadBytes) {
    const { value, done } = await iterator.next()
    if (done) break
    head.push(value)
    length += value.length
  }
  const first = head.length === 1 && head[0] !== undefined ? head[0] : Buffer.concat(head)
  const whole = rejoin(first, iterator)
  const compression = detectCompression(first)
  if (compression === 'none') {
    yield* whole
    return
  }
  if (kind === 'layer' && (compression === 'xz' || compression === 'bzip2')) {
    await whole.return(undefined)
    throw new TsrunError('unsupported', 'compression', `cannot unpack a layer that is compressed with ${compression}`)
  }
  const zlib = await import('node:zlib')
  if (compression === 'gzip') {
    yield* inflated(whole, zlib.createGunzip({ chunkSize: outputChunk }), compression)
    return
  }
  // @types/node 20 does not know it.
  const create: unknown = compression === 'zstd' ? Reflect.get(zlib, 'createZstdDecompress') : undefined
  if (typeof create === 'function') {
    yield* inflated(whole, create({ chunkSize: outputChunk }), compression)
    return
  }
  const { decompressByProgram } = await import('./decompress-program.ts')
  yield* decompressByProgram(compression, whole)
}

/** `source` through a stream of node:zlib. */
async function* inflated(
  source: AsyncIterable<Buffer>,
  inflate: NodeJS.ReadWriteStream & { destroy(error?: Error): void },
  compression: Compression,
): AsyncGenerator<Buffer> {
  const input = Readable.from(source, { objectMode: false, highWaterMark: 1 << 20 })
  input.on('error', error => inflate.destroy(error))
  try {
    for await (const chunk of input.pipe(inflate)) yield chunk as Buffer
  } catch (error) {
    if (!isCorruption(error)) throw error
    throw new TsrunError('invalid', 'corrupt-archive', `cannot decompress (${compression}): ${error.message}`, {
      cause: error,
    })
  } finally {
    input.destroy()
    inflate.destroy()
  }
}

async function* rejoin(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (first.length > 0) yield first
    for (let item = await rest.next(); !item.done; item = await rest.next()) yield item.value
  } finally {
    await rest.return?.()
  }
}

function isCorruption(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^(Z_|ZSTD_|ERR_)/.test(String(error.code))
}
