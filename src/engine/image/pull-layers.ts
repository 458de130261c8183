// The config and the layers of one manifest into the store: three downloads at once, and each layer is unpacked as soon as it and
// all below it are there.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { keep } from '../../drivers/image/keep.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import { downloadBlob } from '../../drivers/image/registry/download-blob.ts'
import type { BlobPart } from '../../drivers/image/registry/registry-client.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { limiter } from '../../lib/limit.ts'
import type { Descriptor, Digest, ImageConfig, ImageManifest } from '../../model/image.ts'
import type { ImageStore } from './image-store.ts'
import { chainLayers } from './layer-chain.ts'
import { parseConfig } from './manifest.ts'
import type { OnTransfer } from './transfer-events.ts'

export interface LayersRequest {
  readonly manifest: ImageManifest
  readonly open: (digest: Digest, start: number) => Promise<BlobPart>
  /** Throws where the image is not the one that was asked for: before its layers are fetched. */
  readonly checkConfig?: (config: ImageConfig) => void
  readonly limits?: Partial<UnpackLimits>
  readonly signal?: AbortSignal
  readonly onProgress?: OnTransfer
}

const downloadsAtOnce = 3

/** Brings everything that a manifest names into the store, unpacked. @throws TsrunError; the signal's reason */
export async function pullLayers(store: ImageStore, staging: Staging, request: LayersRequest): Promise<void> {
  // A failure of one ends the others.
  const stop = new AbortController()
  const signal = request.signal === undefined ? stop.signal : AbortSignal.any([request.signal, stop.signal])
  const { manifest, onProgress } = request
  const blobs = new BlobStore(store.files)
  await keep(store.files, staging, [manifest.config.digest, ...manifest.layers.map(layer => layer.digest)])
  const fetch = (descriptor: Descriptor, onBytes?: (bytes: number) => void): Promise<number> =>
    downloadBlob({
      files: store.files,
      blobs,
      staging,
      descriptor,
      open: start => request.open(descriptor.digest, start),
      signal,
      ...(onBytes === undefined ? {} : { onProgress: onBytes }),
    })
  if (!blobs.has(manifest.config)) await fetch(manifest.config)
  const config = parseConfig(blobs.read(manifest.config.digest))
  request.checkConfig?.(config)
  const downloads = startDownloads(manifest.layers, { blobs, fetch, onProgress, onFailure: error => stop.abort(error) })
  try {
    await unpackAsTheyCome(store, staging, { ...request, signal, config, downloads })
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(downloads.values())
    throw error
  }
}

/** Starts them in order, a few at a time; what is there already is not fetched. */
function startDownloads(
  layers: readonly Descriptor[],
  parts: {
    readonly blobs: BlobStore
    readonly fetch: (descriptor: Descriptor, onBytes: (bytes: number) => void) => Promise<number>
    readonly onProgress: OnTransfer | undefined
    readonly onFailure: (error: unknown) => void
  },
): Map<Digest, Promise<void>> {
  const { blobs, fetch, onProgress, onFailure } = parts
  const missing = new Map<Digest, Descriptor>()
  for (const layer of layers) {
    const isThere = blobs.has(layer)
    if (!isThere) missing.set(layer.digest, layer)
    onProgress?.({ kind: 'layer', digest: layer.digest, state: isThere ? 'exists' : 'waiting' })
  }
  const downloads = new Map<Digest, Promise<void>>()
  const inTurn = limiter(downloadsAtOnce)
  for (const layer of missing.values()) {
    const { digest, size: total } = layer
    const own = inTurn(async () => {
      await fetch(layer, current => onProgress?.({ kind: 'layer', digest, state: 'downloading', current, total }))
      onProgress?.({ kind: 'layer', digest, state: 'downloaded' })
    })
    // Whoever waits for a layer is told of its own failure, or by the abort of the first one's.
    own.catch(onFailure)
    downloads.set(digest, own)
  }
  return downloads
}

async function unpackAsTheyCome(
  store: ImageStore,
  staging: Staging,
  request: LayersRequest & {
    readonly config: ImageConfig
    readonly signal: AbortSignal
    readonly downloads: ReadonlyMap<Digest, Promise<void>>
  },
): Promise<void> {
  const { manifest, config, downloads, limits, signal, onProgress } = request
  const blobs = new BlobStore(store.files)
  const layerStore = new LayerStore(store.files)
  const chain = chainLayers(manifest, config)
  await keep(
    store.files,
    staging,
    chain.map(({ chainId }) => chainId),
  )
  for (const { descriptor, diffId, chainId, below } of chain) {
    const { digest } = descriptor
    await downloads.get(digest)
    const isUnpacked = layerStore.get(chainId) !== undefined
    if (!isUnpacked) {
      onProgress?.({ kind: 'layer', digest, state: 'extracting' })
      const options = { signal, ...(limits === undefined ? {} : { limits }) }
      await layerStore.unpack(staging, {
        chainId,
        diffId,
        source: blobs.stream(digest),
        below,
        ...options,
      })
    }
    if (!isUnpacked || downloads.has(digest)) onProgress?.({ kind: 'layer', digest, state: 'complete' })
  }
}
