// A layer blob, as a stream, into a directory: decompressed, hashed and taken apart in one pass.

import { createHash } from 'node:crypto'
import { TarFormatError } from '../../lib/tar-entry.ts'
import { TarReader } from '../../lib/tar-reader.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Digest } from '../../model/image.ts'
import { decompress } from './decompress.ts'
import { LayerUnpacker } from './layer-unpacker.ts'
import { LowerLayers } from './lower-layers.ts'
import { defaultUnpackLimits, refuseBeyond, type UnpackLimits } from './unpack-limits.ts'

export interface UnpackRequest {
  /** The archive, plain or compressed. */
  readonly source: AsyncIterable<Buffer>
  /** An empty directory of the caller's; on failure it holds a part of the layer. */
  readonly directory: string
  /** The unpacked layers below, top first. */
  readonly lowerDirectories: readonly string[]
  readonly limits?: Partial<UnpackLimits>
  /** What the uncompressed archive must hash to. */
  readonly diffId?: Digest
  readonly signal?: AbortSignal
}

export interface UnpackedLayer {
  /** Digest of the uncompressed archive. */
  readonly diffId: Digest
  /** Bytes of the files. */
  readonly size: number
  readonly entries: number
}

/** Unpacks one layer. @throws TsrunError invalid: not a tar archive, hostile, over a limit, or not what `diffId` says */
export async function unpackLayer(request: UnpackRequest): Promise<UnpackedLayer> {
  const limits = { ...defaultUnpackLimits, ...request.limits }
  const hash = createHash('sha256')
  const unpacker = new LayerUnpacker(request.directory, new LowerLayers(request.lowerDirectories), limits)
  try {
    const reader = new TarReader(unpacker)
    let compressed = 0
    let bytes = 0
    const counted = countBytes(request.source, length => {
      compressed += length
    })
    for await (const chunk of decompress(counted, 'layer')) {
      request.signal?.throwIfAborted()
      bytes += chunk.length
      refuseBeyond('maxBytes', bytes, limits)
      if (bytes > limits.ratioFromBytes) refuseBeyond('maxRatio', bytes / compressed, limits)
      hash.update(chunk)
      reader.write(chunk)
    }
    reader.end()
    unpacker.finish()
  } catch (error) {
    if (!(error instanceof TarFormatError)) throw error
    throw new TsrunError('invalid', 'invalid-layer', `cannot unpack layer: ${error.message}`, { cause: error })
  } finally {
    unpacker.close()
  }
  const diffId = `sha256:${hash.digest('hex')}` as Digest
  if (request.diffId !== undefined && request.diffId !== diffId) {
    throw new TsrunError(
      'invalid',
      'digest-mismatch',
      `cannot unpack layer: its content is ${diffId}, but the image says ${request.diffId}`,
    )
  }
  return { diffId, size: unpacker.totals.bytes, entries: unpacker.totals.entries }
}

async function* countBytes(source: AsyncIterable<Buffer>, count: (length: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    count(chunk.length)
    yield chunk
  }
}
