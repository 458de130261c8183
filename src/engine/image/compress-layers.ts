// Layers that commit, import, build and docker archives brought uncompressed, as gzip: once. The image gets a manifest that names
// the compressed ones, and with it the digest that the registry will know; the config, and so the image's id, stays.

import { pipeline, Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { type Descriptor, type Digest, type ImageReference, mediaTypes } from '../../model/image.ts'
import { addImage } from './add-image.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { parseManifest } from './manifest.ts'
import type { OnTransfer } from './transfer-events.ts'

export interface CompressRequest {
  readonly record: ImageRecord
  /** The name that is to mean the result. */
  readonly name: ImageReference
  readonly limits?: Partial<UnpackLimits>
  readonly signal?: AbortSignal
  readonly onProgress?: OnTransfer
}

const compressedType: Readonly<Record<string, string>> = {
  [mediaTypes.ociLayer]: mediaTypes.ociLayerGzip,
  [mediaTypes.dockerLayer]: mediaTypes.dockerLayerGzip,
}

/** The image with compressed layers; itself where they are. Its blobs are kept by `staging`. */
export async function compressLayers(
  store: ImageStore,
  staging: Staging,
  request: CompressRequest,
): Promise<ImageRecord> {
  const { record, name, limits, signal } = request
  if (!record.layers.some(layer => compressedType[layer.mediaType] !== undefined)) return record
  const blobs = new BlobStore(store.files)
  const manifest = parseManifest(blobs.read(record.manifest.digest))
  const layers: Descriptor[] = []
  for (const [index, layer] of manifest.layers.entries()) {
    const diffId = record.config.rootfs.diff_ids[index]
    const mediaType = compressedType[layer.mediaType]
    if (mediaType === undefined || diffId === undefined) layers.push(layer)
    else layers.push({ ...layer, mediaType, ...(await compressed(store, staging, { layer, diffId, ...request })) })
  }
  const bytes = Buffer.from(JSON.stringify({ ...manifest, layers }))
  const { mediaType } = record.manifest
  const isWanted = () => store.name(name)?.manifest === record.manifest.digest
  const result = await addImage(store, staging, {
    manifest: { mediaType, digest: await blobs.add(staging, bytes), size: bytes.length },
    names: [name],
    // Somebody may have given the name to another image meanwhile, or have removed it.
    isWanted,
    ...(limits === undefined ? {} : { limits }),
    ...(signal === undefined ? {} : { signal }),
  })
  await forget(store, record, result)
  return result
}

/** One layer, compressed: perhaps another image has it so already. */
async function compressed(
  store: ImageStore,
  staging: Staging,
  { layer, diffId, onProgress, signal }: CompressRequest & { readonly layer: Descriptor; readonly diffId: Digest },
): Promise<Pick<Descriptor, 'digest' | 'size'>> {
  const blobs = new BlobStore(store.files)
  const known = store
    .records()
    .flatMap(record => record.layers)
    .find(other => other.diffId === diffId && gzipTypes.has(other.mediaType))
  if (known !== undefined) {
    await keep(store.files, staging, [known.digest])
    if (blobs.has(known)) return { digest: known.digest, size: known.size }
  }
  onProgress?.({ kind: 'layer', digest: layer.digest, state: 'compressing' })
  return blobs.write(staging, gzip(blobs.stream(layer.digest), signal))
}

const gzipTypes: ReadonlySet<string> = new Set(Object.values(compressedType))

/** The header says neither name nor time: the same bytes give the same bytes. */
function gzip(source: AsyncIterable<Buffer>, signal: AbortSignal | undefined): AsyncIterable<Buffer> {
  const compressor = createGzip({ chunkSize: 256 * 1024 })
  const input = Readable.from(source, { objectMode: false, ...(signal === undefined ? {} : { signal }) })
  // What goes wrong is told to whoever reads.
  return pipeline(input, compressor, () => {})
}

/** The manifest with the uncompressed layers goes when no name means it any more; its layers' blobs with the next prune. */
async function forget(store: ImageStore, { manifest }: ImageRecord, successor: ImageRecord): Promise<void> {
  const unlock = await lockStore(store.files.lock, 'exclusive')
  try {
    if (store.record(successor.manifest.digest) === undefined) return
    if (!store.names().some(name => name.manifest === manifest.digest)) store.removeRecord(manifest.digest)
  } finally {
    unlock()
  }
}
