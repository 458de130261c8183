// `save`: images as one archive, which is an OCI layout and, unless only that is wanted, what `docker load` of any age reads:
// both kinds name the same blobs. The same images give the same bytes.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { Staging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import { encodeTarFile, encodeTarHeader, tarEnd, tarEntry, tarPadding } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Digest, digestHex, mediaTypes } from '../../model/image.ts'
import { familiarName, familiarReference, parseReference } from './image-reference.ts'
import type { ImageName, ImageRecord, ImageStore } from './image-store.ts'
import { notFound } from './resolve-image.ts'

/** What `docker load` reads, or an OCI layout as a tar archive. */
export type ArchiveFormat = 'docker-archive' | 'oci-archive'

interface SavedImage {
  readonly record: ImageRecord
  /** Short forms, each with a tag. */
  readonly tags: string[]
}

/**
 * The archive's bytes. The images are looked up, and kept from removal, when the first chunk is asked for.
 * @throws TsrunError not-found, before the first chunk
 */
export async function* saveImages(
  store: ImageStore,
  texts: readonly string[],
  format: ArchiveFormat = 'docker-archive',
): AsyncGenerator<Buffer> {
  if (texts.length === 0) throw new TsrunError('invalid', 'no-image', 'cannot save: no image was named')
  store.files.create()
  await assurePoolThread()
  const staging = Staging.open(store.files.staging, false)
  try {
    const images = await choose(store, staging, texts)
    const blobs = new BlobStore(store.files)
    yield encodeTarFile({ type: 'file', name: 'oci-layout' }, Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
    yield encodeTarFile({ type: 'file', name: 'index.json' }, json(index(images)))
    if (format === 'docker-archive') {
      yield encodeTarFile({ type: 'file', name: 'manifest.json' }, json(images.map(dockerImage)))
      yield encodeTarFile({ type: 'file', name: 'repositories' }, json(repositories(images)))
    }
    for (const directory of ['blobs/', 'blobs/sha256/']) {
      yield encodeTarHeader(tarEntry({ type: 'directory', name: directory }))
    }
    for (const digest of blobsOf(images)) yield* blobMember(blobs, digest)
    yield tarEnd
  } finally {
    await staging.close()
  }
}

/** What a name means to save: a repository without a tag, all of its tags that are here, as docker has it. */
export function namesToSave(store: ImageStore, text: string): string[] {
  if (/[:@]/.test(text.slice(text.lastIndexOf('/') + 1)) || /^[0-9a-f]{64}$/.test(text)) return [text]
  const repository = familiarName(parseReference(text))
  const names = store
    .names()
    .map(({ reference }) => parseReference(reference))
    .filter(reference => reference.digest === undefined && familiarName(reference) === repository)
    .map(familiarReference)
  return names.length === 0 ? [text] : names
}

/** Finds the images and keeps their blobs. */
async function choose(store: ImageStore, staging: Staging, texts: readonly string[]): Promise<SavedImage[]> {
  const chosen = new Map<Digest, SavedImage>()
  const add = (record: ImageRecord, name?: ImageName): void => {
    const image = chosen.get(record.manifest.digest) ?? { record, tags: [] }
    chosen.set(record.manifest.digest, image)
    const reference = name === undefined ? undefined : parseReference(name.reference)
    if (reference === undefined || reference.digest !== undefined) return
    const tag = familiarReference(reference)
    if (!image.tags.includes(tag)) image.tags.push(tag)
  }
  const unlock = await lockStore(store.files.lock, 'shared')
  try {
    for (const text of texts) {
      const found = store.find(text)
      if (found === undefined) throw notFound(text)
      add(found.record, found.name)
    }
    for (const { record } of chosen.values()) for (const digest of blobsOf([{ record, tags: [] }])) staging.keep(digest)
  } finally {
    unlock()
  }
  return [...chosen.values()]
}

/** Every blob once; small ones first, so that a reader soon knows what is coming. */
function blobsOf(images: readonly SavedImage[]): Digest[] {
  const documents = images.flatMap(({ record }) => [record.manifest.digest, record.id])
  const layers = images.flatMap(({ record }) => record.layers.map(layer => layer.digest))
  return [...new Set([...documents, ...layers])]
}

async function* blobMember(blobs: BlobStore, digest: Digest): AsyncGenerator<Buffer> {
  const size = blobs.size(digest)
  if (size === undefined)
    throw new TsrunError('system', 'damaged-image', `blob ${digest} is missing from the image store`)
  yield encodeTarHeader(tarEntry({ type: 'file', name: blobName(digest), size }))
  let sent = 0
  for await (const chunk of blobs.stream(digest)) {
    sent += chunk.length
    yield chunk
  }
  if (sent !== size) throw new TsrunError('system', 'damaged-image', `blob ${digest} in the image store was cut off`)
  yield tarPadding(size)
}

function index(images: readonly SavedImage[]): object {
  const short = images.flatMap(({ tags }) => tags.map(shortTag))
  /** Tools find an image by this name: it must be one image's. */
  const refName = (tag: string): string =>
    short.filter(each => each === shortTag(tag)).length > 1 ? fullName(tag) : shortTag(tag)
  const manifests = images.flatMap(({ record, tags }) => {
    const { os, architecture, variant } = record.config
    const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) }
    const descriptor = { ...record.manifest, platform }
    if (tags.length === 0) return [descriptor]
    return tags.map(tag => ({
      ...descriptor,
      annotations: {
        'io.containerd.image.name': fullName(tag),
        'org.opencontainers.image.ref.name': refName(tag),
      },
    }))
  })
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
}

function dockerImage({ record, tags }: SavedImage): object {
  return {
    Config: blobName(record.id),
    RepoTags: tags,
    Layers: record.layers.map(layer => blobName(layer.digest)),
  }
}

/** The file that docker before 1.10 read; tools still look whether it is there. */
function repositories(images: readonly SavedImage[]): object {
  const byName: Record<string, Record<string, string>> = {}
  for (const { record, tags } of images) {
    for (const tag of tags) {
      const reference = parseReference(tag)
      const top = record.layers.at(-1)
      const name = familiarName(reference)
      byName[name] = { ...byName[name], [reference.tag ?? 'latest']: digestHex(top?.digest ?? record.id) }
    }
  }
  return byName
}

function shortTag(tag: string): string {
  return parseReference(tag).tag ?? 'latest'
}

function fullName(tag: string): string {
  const { registry, repository, tag: name } = parseReference(tag)
  return `${registry}/${repository}:${name}`
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
