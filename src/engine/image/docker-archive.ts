// The archive of `docker save`: manifest.json names a config and layer tars. It has no manifest as registries know it, so one is
// made; its layers are what the archive has, plain or compressed.

import { closeSync, openSync, readSync } from 'node:fs'
import type { ArchivedFile, ArchiveIntake } from '../../drivers/image/archive-intake.ts'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { compressionHeadBytes, detectCompression } from '../../drivers/image/decompress.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Descriptor, type ImageManifest, mediaTypes } from '../../model/image.ts'
import { addImage } from './add-image.ts'
import { parseReference } from './image-reference.ts'
import type { ImageStore } from './image-store.ts'
import type { LoadedImage, LoadLayoutOptions } from './load-layout.ts'

interface DockerImage {
  readonly Config: string
  readonly RepoTags?: readonly string[] | null
  readonly Layers: readonly string[]
}

/** Layers compressed otherwise are none that a registry would take. */
const layerTypes: Readonly<Record<string, string>> = {
  none: mediaTypes.ociLayer,
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
}

/** Loads the images that manifest.json speaks of. @throws TsrunError invalid */
export async function loadDockerArchive(
  store: ImageStore,
  staging: Staging,
  { manifest, intake, options }: { manifest: Buffer; intake: ArchiveIntake; options: LoadLayoutOptions },
): Promise<LoadedImage[]> {
  const blobs = new BlobStore(store.files)
  const place = async (name: string): Promise<ArchivedFile> => {
    const file = intake.file(name)
    if (file === undefined)
      throw new TsrunError('invalid', 'incomplete-archive', `the archive lacks "${name}", which its manifest names`)
    await keep(store.files, staging, [file.digest])
    if (!blobs.has(file)) await blobs.adopt(staging, file.path, file.digest)
    return file
  }
  const loaded: LoadedImage[] = []
  for (const image of parse(manifest)) {
    const layers: Descriptor[] = []
    for (const name of image.Layers) {
      const file = intake.file(name)
      // Asked before the file is moved into the store.
      const isThere = file !== undefined && blobs.has(file)
      const compression = sniff(isThere ? store.files.blob(file.digest) : (file?.path ?? ''))
      const mediaType = layerTypes[compression]
      if (mediaType === undefined)
        throw new TsrunError(
          'unsupported',
          'compression',
          `cannot load "${name}": a layer compressed with ${compression}`,
        )
      const { digest, size } = await place(name)
      layers.push({ mediaType, digest, size })
    }
    const config = await place(image.Config)
    const document: ImageManifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
      layers,
    }
    const bytes = Buffer.from(JSON.stringify(document))
    const digest = await blobs.add(staging, bytes)
    const names = (image.RepoTags ?? []).map(parseReference)
    if (names.length === 0 && options.fallbackName !== undefined) names.push(options.fallbackName)
    const record = await addImage(store, staging, {
      manifest: { mediaType: mediaTypes.ociManifest, digest, size: bytes.length },
      names,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
    loaded.push({ record, names })
  }
  return loaded
}

function parse(manifest: Buffer): DockerImage[] {
  try {
    const images: unknown = JSON.parse(manifest.toString('utf8'))
    if (Array.isArray(images) && images.length > 0 && images.every(isDockerImage)) return images
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new TsrunError('invalid', 'invalid-archive', 'cannot load: manifest.json is not a list of images')
}

function isDockerImage(value: unknown): value is DockerImage {
  if (typeof value !== 'object' || value === null) return false
  const { Config, Layers, RepoTags } = value as Record<string, unknown>
  const isTexts = (list: unknown): boolean => Array.isArray(list) && list.every(item => typeof item === 'string')
  return (
    typeof Config === 'string' && isTexts(Layers) && (RepoTags === undefined || RepoTags === null || isTexts(RepoTags))
  )
}

function sniff(path: string): ReturnType<typeof detectCompression> {
  if (path === '') return 'none'
  const fd = openSync(path, 'r')
  try {
    const head = Buffer.alloc(compressionHeadBytes)
    return detectCompression(head.subarray(0, readSync(fd, head)))
  } finally {
    closeSync(fd)
  }
}
