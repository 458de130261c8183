// The store's content for people: the lines of `images` and `history`, docker's JSON of `inspect`, and what it all takes up.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import { type ContainerDefaults, type Digest, digestHex, type HistoryEntry } from '../../model/image.ts'
import { folderSize } from '../folder-size.ts'
import { familiarName, familiarReference, parseReference } from './image-reference.ts'
import type { ImageName, ImageRecord, ImageStore } from './image-store.ts'
import type { ImageUser } from './remove-image.ts'

/** One line of `images`: a name of an image, or an image without one. */
export interface ImageSummary {
  readonly id: Digest
  /** 12 hex digits of it. */
  readonly shortId: string
  /** Short form, or `<none>`. */
  readonly repository: string
  /** `<none>` where it was pulled by digest or has no name. */
  readonly tag: string
  /** What the registry calls it. */
  readonly digest: Digest
  /** RFC 3339, from the image; undefined where it does not say. */
  readonly created: string | undefined
  /** Bytes of the files of all its layers; shared ones count in each image. */
  readonly size: number
  readonly labels: Readonly<Record<string, string>>
}

/** One line of `history`, newest first. */
export interface HistoryLine {
  /** The image's id on the newest line, `<missing>` on the others. */
  readonly id: string
  readonly created: string | undefined
  readonly createdBy: string
  readonly size: number
  readonly comment: string
}

/** docker's inspect document. */
export interface ImageInspect {
  readonly Id: Digest
  readonly RepoTags: readonly string[]
  readonly RepoDigests: readonly string[]
  readonly Comment: string
  readonly Created: string | undefined
  readonly Author: string
  readonly Config: ContainerDefaults
  readonly Architecture: string
  readonly Variant?: string
  readonly Os: string
  readonly Size: number
  readonly GraphDriver: { readonly Name: 'overlay2'; readonly Data: Readonly<Record<string, string>> }
  readonly RootFS: { readonly Type: 'layers'; readonly Layers: readonly Digest[] }
  readonly Metadata: { readonly LastTagTime: string }
}

/** What images take up. Every blob and every layer counts once. */
export interface ImageUsage {
  readonly images: number
  /** Images that a container uses. */
  readonly active: number
  readonly layerBytes: number
  readonly blobBytes: number
  readonly totalBytes: number
  /** What removing all images without containers would give back. */
  readonly reclaimableBytes: number
}

/** All images by creation, newest first; one line for each name. */
export function listImages(store: ImageStore): ImageSummary[] {
  const names = store.names()
  const lines = store.records().flatMap(record => {
    const own = names.filter(name => name.manifest === record.manifest.digest)
    // The same image twice, with plain and with compressed layers: one without a name is no news.
    if (own.length === 0 && names.some(name => store.record(name.manifest)?.id === record.id)) return []
    return own.length === 0 ? [summarise(record, undefined)] : own.map(name => summarise(record, name))
  })
  return lines.sort(
    (a, b) => (b.created ?? '').localeCompare(a.created ?? '') || a.repository.localeCompare(b.repository),
  )
}

/** The history of an image, newest first. */
export function imageHistory(record: ImageRecord): HistoryLine[] {
  const { config, layers } = record
  const entries: readonly HistoryEntry[] = config.history ?? layers.map(() => ({}))
  let layer = 0
  const lines = entries.map((entry): Omit<HistoryLine, 'id'> => {
    const size = entry.empty_layer ? 0 : (layers[layer++]?.unpackedSize ?? 0)
    return { created: entry.created, createdBy: entry.created_by ?? '', size, comment: entry.comment ?? '' }
  })
  return lines.reverse().map((line, index) => ({ id: index === 0 ? record.id : '<missing>', ...line }))
}

export function inspectImage(store: ImageStore, record: ImageRecord): ImageInspect {
  const { config } = record
  const names = store.names().filter(name => store.record(name.manifest)?.id === record.id)
  const parsed = names.map(name => ({ name, reference: parseReference(name.reference) }))
  const directories = record.layers.map(layer => store.files.layerTree(layer.chainId)).reverse()
  const [upper = '', ...lower] = directories
  return {
    Id: record.id,
    RepoTags: parsed.filter(({ reference }) => !reference.digest).map(({ reference }) => familiarReference(reference)),
    RepoDigests: [...new Set(parsed.map(({ name, reference }) => `${familiarName(reference)}@${name.target.digest}`))],
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: config.created,
    Author: config.author ?? '',
    Config: config.config ?? {},
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: unpackedSize(record),
    GraphDriver: {
      Name: 'overlay2',
      Data: { UpperDir: upper, ...(lower.length === 0 ? {} : { LowerDir: lower.join(':') }) },
    },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: record.storedAt },
  }
}

export function layersSize(store: ImageStore, layerDirs: readonly string[]): number {
  const layers = new LayerStore(store.files)
  return layerDirs.reduce((total, dir) => {
    const hex = /[0-9a-f]{64}/.exec(dir)?.[0]
    return total + (hex === undefined ? 0 : (layers.get(`sha256:${hex}` as Digest)?.size ?? 0))
  }, 0)
}

/** What the store takes up. @param users undefined: not known, so that every image may be in use */
export function imageUsage(store: ImageStore, users: readonly ImageUser[] | undefined): ImageUsage {
  const records = store.records()
  const used = new Set<string>(users?.map(user => user.imageId) ?? records.map(record => record.id))
  const active = records.filter(record => used.has(record.id))
  const blobs = new BlobStore(store.files)
  const layers = new LayerStore(store.files)
  const needed = new Set<string>()
  for (const { id, manifest, layers: own } of active) {
    for (const digest of [id, manifest.digest, ...own.flatMap(l => [l.digest, l.chainId])]) needed.add(digest)
  }
  const blobSizes = store.exists ? blobs.list().map(digest => ({ digest, size: blobs.size(digest) ?? 0 })) : []
  const sizeOf = (chainId: Digest): number =>
    (layers.get(chainId)?.size ?? 0) + folderSize(store.files.mergedTree(chainId))
  const layerSizes = store.exists ? layers.list().map(digest => ({ digest, size: sizeOf(digest) })) : []
  const sum = (sizes: readonly { size: number }[]): number => sizes.reduce((total, { size }) => total + size, 0)
  const layerBytes = sum(layerSizes)
  const blobBytes = sum(blobSizes)
  // One digest may name a blob and the layer unpacked from it: each list is asked for itself.
  const idle = (sizes: readonly { digest: Digest; size: number }[]): number =>
    sum(sizes.filter(s => !needed.has(s.digest)))
  return {
    images: new Set(records.map(record => record.id)).size,
    active: new Set(active.map(record => record.id)).size,
    layerBytes,
    blobBytes,
    totalBytes: layerBytes + blobBytes,
    reclaimableBytes: idle(layerSizes) + idle(blobSizes),
  }
}

function summarise(record: ImageRecord, name: ImageName | undefined): ImageSummary {
  const reference = name === undefined ? undefined : parseReference(name.reference)
  return {
    id: record.id,
    shortId: digestHex(record.id).slice(0, 12),
    repository: reference === undefined ? '<none>' : familiarName(reference),
    tag: reference?.digest === undefined ? (reference?.tag ?? '<none>') : '<none>',
    digest: name?.target.digest ?? record.manifest.digest,
    created: record.config.created,
    size: unpackedSize(record),
    labels: record.config.config?.Labels ?? {},
  }
}

function unpackedSize({ layers }: ImageRecord): number {
  return layers.reduce((total, layer) => total + layer.unpackedSize, 0)
}
