// `push`: blobs that the registry lacks, several at once, then the manifest. Layers that are stored uncompressed go out as gzip;
// compress-layers.ts sees to that.

import { createReadStream } from 'node:fs'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { RegistryClient } from '../../drivers/image/registry/registry-client.ts'
import { uploadBlob } from '../../drivers/image/registry/upload-blob.ts'
import { Staging } from '../../drivers/image/staging.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import { limiter } from '../../lib/limit.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Descriptor, Digest, ImageManifest, ImageReference } from '../../model/image.ts'
import { compressLayers } from './compress-layers.ts'
import { familiarReference, parseReference } from './image-reference.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { parseManifest } from './manifest.ts'
import { aboutImage, RegistryAccess } from './registry-access.ts'
import { assertKept, notFound } from './resolve-image.ts'
import type { OnTransfer } from './transfer-events.ts'

export interface PushImageRequest {
  /** A name that the store has. */
  readonly reference: string
  readonly limits?: Partial<UnpackLimits>
  readonly signal?: AbortSignal
  readonly onProgress?: OnTransfer
}

/** What the registry has now. */
export interface PushedImage {
  readonly name: string
  readonly tag: string
  /** Of the manifest. */
  readonly digest: Digest
  /** Of the manifest, in bytes. */
  readonly size: number
}

const uploadsAtOnce = 3

/** @throws TsrunError not-found (image), denied, unavailable; the signal's reason */
export async function pushImage(store: ImageStore, request: PushImageRequest): Promise<PushedImage> {
  const reference = parseReference(request.reference)
  const { registry, repository, tag } = reference
  if (tag === undefined)
    throw new TsrunError('invalid', 'push-by-digest', `cannot push "${request.reference}": it has no tag`, {
      hint: 'give it a name with a tag: `tsrun tag`',
    })
  const record = recordOf(store, request.reference, reference)
  request.onProgress?.({
    kind: 'begin',
    reference: familiarReference(reference),
    name: tag,
    repository: `${registry}/${repository}`,
  })
  const access = new RegistryAccess()
  await assurePoolThread()
  const staging = Staging.open(store.files.staging)
  try {
    const client = access.clients(reference, 'pull,push').at(-1)
    if (client === undefined) throw new Error('every registry is an endpoint of its own')
    await keep(store.files, staging, [record.manifest.digest, record.id, ...record.layers.map(layer => layer.digest)])
    assertKept(store, record, request.reference)
    const { manifest: descriptor } = await compressLayers(store, staging, { ...request, record, name: reference })
    const bytes = new BlobStore(store.files).read(descriptor.digest)
    await uploadAll(store, client, { manifest: parseManifest(bytes), reference, request })
    await client.putManifest(tag, { mediaType: descriptor.mediaType, bytes }, request.signal)
    return { name: familiarReference(reference), tag, digest: descriptor.digest, size: bytes.length }
  } catch (error) {
    request.signal?.throwIfAborted()
    throw aboutImage('push', reference, error)
  } finally {
    await staging.close()
    access.close()
  }
}

function recordOf(store: ImageStore, text: string, reference: ImageReference): ImageRecord {
  const name = store.name(reference)
  const record = name === undefined ? undefined : store.record(name.manifest)
  if (record !== undefined) return record
  const { message } = notFound(text)
  throw new TsrunError('not-found', 'no-such-image', message, {
    hint: '`tsrun images` lists the names; `tsrun tag IMAGE NAME` gives an image the name that it is pushed under',
  })
}

async function uploadAll(
  store: ImageStore,
  client: RegistryClient,
  parts: { readonly manifest: ImageManifest; readonly reference: ImageReference; readonly request: PushImageRequest },
): Promise<void> {
  const { manifest, reference, request } = parts
  const { onProgress } = request
  // A failure of one ends the others.
  const stop = new AbortController()
  const signal = request.signal === undefined ? stop.signal : AbortSignal.any([request.signal, stop.signal])
  const sources = mountSources(store, reference)
  const layers = [...new Map(manifest.layers.map(layer => [layer.digest, layer])).values()]
  for (const { digest } of layers) onProgress?.({ kind: 'layer', digest, state: 'waiting' })
  const upload = async (descriptor: Descriptor, isTold: boolean): Promise<void> => {
    const { digest, size: total } = descriptor
    const mountFrom = sources.get(digest)
    const outcome = await uploadBlob(client, {
      descriptor,
      signal,
      open: (start, end) => createReadStream(store.files.blob(digest), { start, end: end - 1, highWaterMark: 1 << 20 }),
      ...(mountFrom === undefined ? {} : { mountFrom }),
      onProgress: current => {
        if (isTold) onProgress?.({ kind: 'layer', digest, state: 'pushing', current, total })
      },
    })
    if (!isTold) return
    const state = outcome === 'uploaded' ? 'pushed' : outcome
    onProgress?.({ kind: 'layer', digest, state, ...(mountFrom === undefined ? {} : { from: mountFrom }) })
  }
  const inTurn = limiter(uploadsAtOnce)
  const uploads = [
    ...layers.map(layer => inTurn(() => upload(layer, true))),
    inTurn(() => upload(manifest.config, false)),
  ]
  try {
    await Promise.all(uploads)
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(uploads)
    throw error
  }
}

/** Which other repository of the same registry has a blob, as far as we know: one that an image here was pulled from or pushed to. */
function mountSources(store: ImageStore, { registry, repository }: ImageReference): Map<Digest, string> {
  const sources = new Map<Digest, string>()
  for (const { reference, manifest } of store.names()) {
    const other = parseReference(reference)
    if (other.registry !== registry || other.repository === repository) continue
    for (const { digest } of store.record(manifest)?.layers ?? []) sources.set(digest, other.repository)
  }
  return sources
}
