// A new image of our own making: a layer more on top of a base (commit, build), or one layer alone (import). The layer is kept
// uncompressed: it need not be read twice here, and push compresses what goes out.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { decompress } from '../../drivers/image/decompress.ts'
import { keep } from '../../drivers/image/keep.ts'
import { Staging } from '../../drivers/image/staging.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import {
  type ContainerDefaults,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  type ImageReference,
  mediaTypes,
  type Platform,
} from '../../model/image.ts'
import { type AddImageRequest, addImage } from './add-image.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { asOci, hostPlatform, parseConfig, parseManifest } from './manifest.ts'
import { assertKept } from './resolve-image.ts'

export interface CreateImageRequest extends Pick<AddImageRequest, 'limits' | 'signal'> {
  /** What the new layer goes on; nothing for an image of its own. */
  readonly base?: ImageRecord
  /** The layer as tar, plain or compressed; undefined for a change of the config alone. */
  readonly layer?: AsyncIterable<Buffer>
  /** Defaults for containers; those of the base when not given. */
  readonly defaults?: ContainerDefaults
  readonly platform?: Platform
  readonly names: readonly ImageReference[]
  readonly createdBy: string
  readonly comment?: string
  readonly author?: string
  /** RFC 3339; now when not given. */
  readonly created?: string
}

/** Makes the image and unpacks its new layer. @throws TsrunError invalid (not a tar archive, hostile, over a limit) */
export async function createImage(store: ImageStore, request: CreateImageRequest): Promise<ImageRecord> {
  store.files.create()
  await assurePoolThread()
  const staging = Staging.open(store.files.staging)
  try {
    const blobs = new BlobStore(store.files)
    const base = request.base === undefined ? undefined : await readBase(store, staging, blobs, request.base)
    const layer = request.layer === undefined ? undefined : await blobs.write(staging, decompress(request.layer))
    const configBytes = json(buildConfig(request, base?.config, layer?.digest))
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: await addDocument(blobs, staging, mediaTypes.ociConfig, configBytes),
      layers: [
        ...(base?.manifest.layers ?? []).map(asOci),
        ...(layer === undefined ? [] : [{ mediaType: mediaTypes.ociLayer, ...layer }]),
      ],
    }
    const { limits, signal } = request
    return await addImage(store, staging, {
      manifest: await addDocument(blobs, staging, mediaTypes.ociManifest, json(manifest)),
      names: request.names,
      ...(limits === undefined ? {} : { limits }),
      ...(signal === undefined ? {} : { signal }),
    })
  } finally {
    await staging.close()
  }
}

async function readBase(
  store: ImageStore,
  staging: Staging,
  blobs: BlobStore,
  record: ImageRecord,
): Promise<{ manifest: ImageManifest; config: ImageConfig }> {
  const { id, layers } = record
  const { digest } = record.manifest
  await keep(store.files, staging, [digest, id, ...layers.flatMap(layer => [layer.digest, layer.chainId])])
  assertKept(store, record, id)
  return { manifest: parseManifest(blobs.read(digest)), config: parseConfig(blobs.read(id)) }
}

function buildConfig(
  request: CreateImageRequest,
  base: ImageConfig | undefined,
  diffId: Descriptor['digest'] | undefined,
): ImageConfig {
  const created = request.created ?? new Date().toISOString()
  const { author, comment, createdBy } = request
  return {
    ...(base ?? hostPlatform()),
    ...request.platform,
    created,
    ...(author === undefined ? {} : { author }),
    config: request.defaults ?? base?.config ?? {},
    rootfs: { type: 'layers', diff_ids: [...(base?.rootfs.diff_ids ?? []), ...(diffId === undefined ? [] : [diffId])] },
    history: [
      ...(base?.history ?? []),
      {
        created,
        created_by: createdBy,
        ...(author === undefined ? {} : { author }),
        ...(comment === undefined ? {} : { comment }),
        ...(diffId === undefined ? { empty_layer: true } : {}),
      },
    ],
  }
}

async function addDocument(blobs: BlobStore, staging: Staging, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  return { mediaType, digest: await blobs.add(staging, bytes), size: bytes.length }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
