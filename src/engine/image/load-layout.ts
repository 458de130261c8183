// Images out of an OCI image layout: a directory, or the files of one that came in an archive.

import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { TsrunError } from '../../model/errors.ts'
import {
  type Descriptor,
  type Digest,
  digestHex,
  type ImageReference,
  isIndexType,
  isManifestType,
  type Platform,
} from '../../model/image.ts'
import { type AddImageRequest, addImage } from './add-image.ts'
import { formatReference, parseReference } from './image-reference.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { formatPlatform, hostPlatform, parseConfig, parseIndex, parseManifest, selectManifests } from './manifest.ts'

/** Where the blobs of a layout are. */
export interface LayoutSource {
  /** The content of index.json. */
  readonly index: Buffer
  /** Gives a blob that was hashed already its place in the store; false where that cannot be done. */
  readonly adopt?: (digest: Digest) => Promise<boolean>
  /** Undefined where the layout lacks the blob. */
  open(digest: Digest): AsyncIterable<Buffer> | undefined
}

export interface LoadLayoutOptions extends Pick<AddImageRequest, 'limits' | 'signal' | 'isWanted'> {
  readonly platform?: Platform
  /** Name for an image that has none of its own. */
  readonly fallbackName?: ImageReference
  /** Names that stand beside the layout, by digest of the config. */
  readonly tagsByConfig?: ReadonlyMap<string, readonly string[]>
}

/** What came into the store. */
export interface LoadedImage {
  readonly record: ImageRecord
  readonly names: readonly ImageReference[]
}

/** A layout in a directory. @throws TsrunError not-found, invalid */
export function directoryLayout(path: string): LayoutSource {
  const index = join(path, 'index.json')
  if (!existsSync(join(path, 'oci-layout')) || !existsSync(index)) {
    throw new TsrunError(
      'invalid',
      'no-layout',
      `"${path}" is not an OCI image layout: it has no oci-layout and index.json`,
    )
  }
  return {
    index: readFileSync(index),
    open: digest => {
      const blob = join(path, 'blobs', 'sha256', digestHex(digest))
      return existsSync(blob) ? createReadStream(blob, { highWaterMark: 1 << 20 }) : undefined
    },
  }
}

/** Loads every image of a layout that is for the platform. @throws TsrunError not-found when none is */
export async function loadLayout(
  store: ImageStore,
  staging: Staging,
  { source, options = {} }: { source: LayoutSource; options?: LoadLayoutOptions },
): Promise<LoadedImage[]> {
  const loader = new Loader(store, staging, source)
  const platform = options.platform ?? hostPlatform()
  // An image with several names stands in the index once for each.
  const loaded = new Map<Digest, LoadedImage>()
  for (const target of parseIndex(source.index).manifests) {
    if (!isIndexType(target.mediaType) && !isManifestType(target.mediaType)) continue
    const manifest = await loader.choose(target, platform, options.platform !== undefined)
    if (manifest === undefined) continue
    const config = await loader.fetchImage(manifest)
    const names = namesFor(target, config, options)
    const { limits, signal, isWanted } = options
    const record = await addImage(store, staging, {
      manifest,
      target,
      names,
      ...(isWanted === undefined ? {} : { isWanted }),
      ...(limits === undefined ? {} : { limits }),
      ...(signal === undefined ? {} : { signal }),
    })
    const earlier = loaded.get(manifest.digest)?.names ?? []
    loaded.set(manifest.digest, { record, names: withoutDoubles([...earlier, ...names]) })
  }
  if (loaded.size > 0) return [...loaded.values()]
  throw new TsrunError(
    'not-found',
    'no-image-for-platform',
    `the archive holds no image for ${formatPlatform(platform)}`,
  )
}

class Loader {
  readonly #store: ImageStore
  readonly #blobs: BlobStore
  readonly #staging: Staging
  readonly #source: LayoutSource

  constructor(store: ImageStore, staging: Staging, source: LayoutSource) {
    this.#store = store
    this.#blobs = new BlobStore(store.files)
    this.#staging = staging
    this.#source = source
  }

  /** The manifest for a platform, through nested indexes; undefined where there is none. */
  async choose(target: Descriptor, platform: Platform, isStrict: boolean, depth = 0): Promise<Descriptor | undefined> {
    if (depth > 4) throw new TsrunError('invalid', 'invalid-image', 'indexes are nested too deep')
    if (target.annotations?.['vnd.docker.reference.type'] !== undefined) return undefined
    if (!isIndexType(target.mediaType)) {
      // A manifest that stands alone is taken for what it is, unless a platform was asked for.
      if (!isStrict || (await this.#isFor(target, platform))) return target
      return undefined
    }
    await this.fetch(target)
    for (const candidate of selectManifests(parseIndex(this.#blobs.read(target.digest)), platform)) {
      const chosen = await this.choose(candidate, platform, isStrict && candidate.platform === undefined, depth + 1)
      if (chosen !== undefined && (this.#has(chosen) || depth > 0)) return chosen
    }
    return undefined
  }

  /** @returns the digest of the config */
  async fetchImage(manifest: Descriptor): Promise<Digest> {
    await this.fetch(manifest)
    const { config, layers } = parseManifest(this.#blobs.read(manifest.digest))
    await this.fetch(config)
    for (const layer of layers) await this.fetch(layer)
    return config.digest
  }

  /** Brings one blob into the store, unless it is there. */
  async fetch({ digest, size }: Descriptor): Promise<void> {
    await keep(this.#store.files, this.#staging, [digest])
    if (this.#blobs.has({ digest, size })) return
    if (await this.#source.adopt?.(digest)) return
    const content = this.#source.open(digest)
    if (content === undefined) {
      throw new TsrunError('invalid', 'incomplete-archive', `the archive lacks the blob ${digest}`)
    }
    await this.#blobs.write(this.#staging, content, { digest, size })
  }

  #has({ digest, size }: Descriptor): boolean {
    return this.#blobs.has({ digest, size }) || this.#source.open(digest) !== undefined
  }

  async #isFor(target: Descriptor, wanted: Platform): Promise<boolean> {
    await this.fetch(target)
    const { config } = parseManifest(this.#blobs.read(target.digest))
    await this.fetch(config)
    const { architecture, variant } = parseConfig(this.#blobs.read(config.digest))
    const platform = { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) }
    const index = { schemaVersion: 2, manifests: [{ ...target, platform }] } as const
    return selectManifests(index, wanted).length > 0
  }
}

function namesFor(target: Descriptor, config: Digest, options: LoadLayoutOptions): ImageReference[] {
  const own = nameOf(target)
  const names = [...(own === undefined ? [] : [own]), ...(options.tagsByConfig?.get(config) ?? []).map(parseReference)]
  if (names.length === 0 && options.fallbackName !== undefined) names.push(options.fallbackName)
  return withoutDoubles(names)
}

function withoutDoubles(names: readonly ImageReference[]): ImageReference[] {
  return [...new Map(names.map(name => [formatReference(name), name])).values()]
}

/** The name a descriptor brings: containerd and docker write the whole one; others perhaps a tag alone, which is none. */
function nameOf({ annotations }: Descriptor): ImageReference | undefined {
  const whole = annotations?.['io.containerd.image.name']
  if (whole !== undefined) return parseReference(whole)
  const short = annotations?.['org.opencontainers.image.ref.name']
  return short !== undefined && /[:/]/.test(short) ? parseReference(short) : undefined
}
