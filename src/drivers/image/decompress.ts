// Plain, gzip or zstd, told by the first bytes: what a blob's media type says is not always what it is.
// Decompression is the platform's (node:zlib); Node has zstd from 22.15 on, the compiled tsrun always.

import { Readable } from 'node:stream'
import { TsrunError } from '../../model/errors.ts'

export type Compression = 'none' | 'gzip' | 'zstd'

const outputChunk = 256 * 1024

/** Which compression the first bytes of a stream speak of; four are enough. */
export function detectCompression(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return 'zstd'
  return 'none'
}

/** The uncompressed chunks of `source`. @throws TsrunError invalid (corrupt), unsupported (zstd on an old Node) */
export async function* decompress(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]()
  const head: Buffer[] = []
  let length = 0
  while (length < 4) {
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
  const inflate = await decompressor(compression)
  const input = Readable.from(whole, { objectMode: false, highWaterMark: 1 << 20 })
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

async function decompressor(
  compression: 'gzip' | 'zstd',
): Promise<NodeJS.ReadWriteStream & { destroy(error?: Error): void }> {
  const zlib = await import('node:zlib')
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: outputChunk })
  // @types/node 20 does not know it.
  const create: unknown = Reflect.get(zlib, 'createZstdDecompress')
  if (typeof create === 'function') return create({ chunkSize: outputChunk })
  throw new TsrunError('unsupported', 'no-zstd', 'cannot read a layer compressed with zstd: this Node has no zstd', {
    hint: 'use the tsrun executable, or Node 22.15 or later',
  })
}

function isCorruption(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^(Z_|ZSTD_|ERR_)/.test(String(error.code))
}
