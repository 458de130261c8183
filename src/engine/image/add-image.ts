// From blobs to an image: its layers are unpacked, its record is written, then its names. What pull, load, import, commit and
// build have in common; each of them brings the blobs into the store first.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { currentBoot } from '../../drivers/image/image-files.ts'
import { keep } from '../../drivers/image/keep.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { syncPath } from '../../lib/json-file.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Descriptor, Digest, ImageReference, Layer } from '../../model/image.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { chainLayers } from './layer-chain.ts'
import { parseConfig, parseManifest } from './manifest.ts'

export interface AddImageRequest {
  /** The image manifest; its blob, the config's and the layers' are in the store and kept by `staging`. */
  readonly manifest: Descriptor
  /** What the names point to where it is not the manifest: the index it was chosen from. */
  readonly target?: Descriptor
  readonly names: readonly ImageReference[]
  /** Asked when all is there: whether the names are still to mean it. Otherwise nothing is made known. */
  readonly isWanted?: () => boolean
  readonly limits?: Partial<UnpackLimits>
  readonly signal?: AbortSignal
  /** Told as layers are unpacked. */
  readonly onLayer?: (diffId: Digest, index: number, total: number) => void
}

/** Unpacks what is not unpacked yet and makes the image known, if it still is to be. @throws TsrunError invalid, not-found (a blob is missing) */
export async function addImage(store: ImageStore, staging: Staging, request: AddImageRequest): Promise<ImageRecord> {
  const { isDurable } = staging
  const record = await unpackImage(store, staging, request)
  await staging.synced()
  if (isDurable) syncPath(store.files.blobs)
  const unlock = await lockStore(store.files.lock, 'shared')
  try {
    if (request.isWanted?.() === false) return record
    store.setRecord(record, isDurable)
    for (const reference of request.names) {
      const name = { target: request.target ?? request.manifest, manifest: request.manifest.digest }
      store.setName(reference, name, isDurable)
    }
  } finally {
    unlock()
  }
  return record
}

/** Unpacks an image that the store knows once more: layers are missing, or not sound since the machine went down. */
export async function repairImage(store: ImageStore, staging: Staging, record: ImageRecord): Promise<ImageRecord> {
  const repaired = { ...(await unpackImage(store, staging, { manifest: record.manifest })), storedAt: record.storedAt }
  const unlock = await lockStore(store.files.lock, 'shared')
  try {
    // Unless it was removed meanwhile.
    if (store.record(record.manifest.digest) !== undefined) store.setRecord(repaired, false)
  } finally {
    unlock()
  }
  return repaired
}

async function unpackImage(
  store: ImageStore,
  staging: Staging,
  request: Pick<AddImageRequest, 'manifest' | 'limits' | 'signal' | 'onLayer'>,
): Promise<ImageRecord> {
  const { limits, signal } = request
  const blobs = new BlobStore(store.files)
  const layerStore = new LayerStore(store.files)
  await keep(store.files, staging, [request.manifest.digest])
  const manifest = parseManifest(blobs.read(request.manifest.digest))
  await keep(store.files, staging, [manifest.config.digest, ...manifest.layers.map(layer => layer.digest)])
  const config = parseConfig(blobs.read(manifest.config.digest))
  const chain = chainLayers(manifest, config)
  await keep(
    store.files,
    staging,
    chain.map(({ chainId }) => chainId),
  )
  const layers: Layer[] = []
  for (const [index, { descriptor, diffId, chainId, below }] of chain.entries()) {
    const { digest, mediaType, size } = descriptor
    request.onLayer?.(diffId, index, chain.length)
    if (!blobs.has({ digest, size })) {
      throw new TsrunError('not-found', 'no-such-blob', `layer ${digest} of the image is not in the store`, {
        hint: 'pull or load the image again',
      })
    }
    const stored =
      layerStore.get(chainId) ??
      (await layerStore.unpack(staging, {
        chainId,
        diffId,
        source: blobs.stream(digest),
        below,
        ...(limits === undefined ? {} : { limits }),
        ...(signal === undefined ? {} : { signal }),
      }))
    layers.push({ digest, diffId, chainId, mediaType, size, unpackedSize: stored.size })
  }
  const now = new Date().toISOString()
  const { mediaType, digest, size } = request.manifest
  return {
    id: manifest.config.digest,
    manifest: { mediaType, digest, size },
    config,
    layers,
    storedAt: now,
    bootId: currentBoot(),
    isSettled: false,
  }
}
