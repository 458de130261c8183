// Name or id -> what a container needs of an image. The hot path of `run`: two small files are read. Only what is missing
// (the embedded image, layers after a power loss) loads the rest.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Staging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Digest, ImageConfig, ImageReference, Layer } from '../../model/image.ts'
import { familiarReference, formatReference, parseReference } from './image-reference.ts'
import type { ImageName, ImageRecord, ImageStore } from './image-store.ts'

/** Every kernel mounts so many layers: no need to ask. */
const alwaysMountable = 100

/** An image, ready to be run. */
export interface ResolvedImage {
  /** Digest of the config: the image id. */
  readonly id: Digest
  readonly manifestDigest: Digest
  /** Short form, e.g. `busybox:latest`; the id where it was asked for by id. */
  readonly reference: string
  readonly config: ImageConfig
  /** Directories for overlayfs, top first. Read-only: never write to them. */
  readonly layerDirs: readonly string[]
  /** Chain ids of the same, top first: what `layersInUse` must name while a container exists. */
  readonly layers: readonly Digest[]
}

/** @throws TsrunError not-found, invalid, conflict (ambiguous id) */
export async function resolveImage(store: ImageStore, text: string, embeddedDir?: string): Promise<ResolvedImage> {
  return (await lookUp(store, text)) ?? (await bringIn(store, text, embeddedDir))
}

/**
 * Resolves an image and runs `task` while it cannot be removed. The task must write down who uses the layers, where
 * `layersInUse` finds it; it should take milliseconds, since removals wait for it.
 */
export async function useImage<T>(
  store: ImageStore,
  { text, embeddedDir }: { text: string; embeddedDir?: string | undefined },
  task: (image: ResolvedImage) => Promise<T>,
): Promise<T> {
  for (;;) {
    await resolveImage(store, text, embeddedDir)
    const unlock = await lockStore(store.files.lock, 'shared')
    try {
      // Once more, now that nobody can take it away.
      const image = await lookUp(store, text)
      if (image !== undefined) return await task(image)
    } finally {
      unlock()
    }
  }
}

async function lookUp(store: ImageStore, text: string): Promise<ResolvedImage | undefined> {
  const found = store.find(text)
  if (found === undefined || !store.isComplete(found.record)) return undefined
  const layerDirs = await layerDirectories(store, chainOf(found.record.layers))
  return layerDirs === undefined ? undefined : describe(found, layerDirs)
}

/** For overlayfs, top first; undefined where there are so many that some have to be merged first. */
async function layerDirectories(store: ImageStore, chain: readonly Digest[]): Promise<string[] | undefined> {
  if (chain.length <= alwaysMountable) return chain.map(chainId => store.files.layerTree(chainId)).reverse()
  const { directoriesOf } = await import('./merge-layers.ts')
  return directoriesOf(store.files, chain, await mostLayers())
}

/** The directories of a chain of layers, bottom first, for overlayfs, top first; what has to be is merged. */
export async function makeLayerDirectories(
  store: ImageStore,
  staging: Staging,
  chain: readonly Digest[],
): Promise<string[]> {
  const [{ keep }, { mergeLayers }] = await Promise.all([
    import('../../drivers/image/keep.ts'),
    import('./merge-layers.ts'),
  ])
  await keep(store.files, staging, chain)
  if (chain.length > alwaysMountable) await mergeLayers(store.files, staging, chain, await mostLayers())
  const directories = await layerDirectories(store, chain)
  if (directories === undefined) throw new Error('merged layers have vanished while they were kept')
  return directories
}

/** The upper directory counts too, where a stopped container is looked into. */
async function mostLayers(): Promise<number> {
  const { mostOverlayLayers } = await import('../../kernel/overlay.ts')
  return mostOverlayLayers() - 1
}

function chainOf(layers: readonly Layer[]): Digest[] {
  return layers.map(({ chainId }) => chainId)
}

async function bringIn(store: ImageStore, text: string, embeddedDir: string | undefined): Promise<ResolvedImage> {
  const found = store.find(text)
  if (found === undefined && !isEmbedded(text, embeddedDir)) throw notFound(text)
  store.files.create()
  const { Staging } = await import('../../drivers/image/staging.ts')
  const staging = Staging.open(store.files.staging, false)
  try {
    const record =
      found === undefined ? undefined : await repaired(store, staging, { record: found.record, text, embeddedDir })
    if (found !== undefined && record !== undefined)
      return describe({ ...found, record }, await makeLayerDirectories(store, staging, chainOf(record.layers)))
    const reference = parseReference(text)
    const { directoryLayout, loadLayout } = await import('./load-layout.ts')
    const source = directoryLayout(embeddedPath(reference, embeddedDir) ?? '')
    // Somebody may have given the name to another image meanwhile.
    const isWanted = () => store.name(reference)?.manifest === found?.name?.manifest
    const [loaded] = await loadLayout(store, staging, { source, options: { fallbackName: reference, isWanted } })
    if (loaded === undefined) throw notFound(text)
    const named = await lookUp(store, text)
    if (named !== undefined) return named
    // It may be removed at any moment, as any image that is resolved and not used under the lock.
    const directories = await makeLayerDirectories(store, staging, chainOf(loaded.record.layers))
    return { ...describe(loaded, directories), reference: familiarReference(reference) }
  } finally {
    await staging.close()
  }
}

/** The record of an image whose layers are sound; undefined for one whose blobs have gone and can be had from the program. */
async function repaired(
  store: ImageStore,
  staging: Staging,
  { record, text, embeddedDir }: { record: ImageRecord; text: string; embeddedDir: string | undefined },
): Promise<ImageRecord | undefined> {
  if (store.isComplete(record)) return record
  const { repairImage } = await import('./add-image.ts')
  try {
    return await repairImage(store, staging, record)
  } catch (error) {
    // Embedded images are not synced when they come in: a power cut may have left files without content.
    if (error instanceof TsrunError && isEmbedded(text, embeddedDir)) return undefined
    throw error
  }
}

function isEmbedded(text: string, embeddedDir: string | undefined): boolean {
  try {
    const path = embeddedPath(parseReference(text), embeddedDir)
    return path !== undefined && existsSync(join(path, 'index.json'))
  } catch (error) {
    if (error instanceof TsrunError) return false
    throw error
  }
}

/** The embedded images are official ones of docker.io under the tag `latest`, one layout each. */
function embeddedPath(
  { registry, repository, tag, digest }: ImageReference,
  folder: string | undefined,
): string | undefined {
  const name = repository.startsWith('library/') ? repository.slice(8) : ''
  const isPossible = registry === 'docker.io' && name !== '' && !name.includes('/') && tag === 'latest' && !digest
  return folder !== undefined && isPossible ? join(folder, name) : undefined
}

function describe(
  { record, name }: { readonly record: ImageRecord; readonly name?: ImageName },
  layerDirs: readonly string[],
): ResolvedImage {
  return {
    id: record.id,
    manifestDigest: record.manifest.digest,
    reference: name === undefined ? record.id : familiarReference(parseReference(name.reference)),
    config: record.config,
    layerDirs,
    layers: chainOf(record.layers).reverse(),
  }
}

/** For an image whose blobs are kept now: whether it was removed before. @throws TsrunError not-found */
export function assertKept(store: ImageStore, { id, manifest }: ImageRecord, text: string): void {
  if (![id, manifest.digest].every(digest => existsSync(store.files.blob(digest)))) throw notFound(text)
}

/** The error for an image that the store does not have. */
export function notFound(text: string): TsrunError {
  const isId = /^(sha256:)?[0-9a-f]{12,}$/.test(text)
  const what = isId ? text : formatReference(parseReference(text))
  return new TsrunError('not-found', 'no-such-image', `no such image: "${text}"${what === text ? '' : ` (${what})`}`, {
    hint: `get it with \`tsrun pull ${text}\`, or load an archive of it with \`tsrun load -i FILE\``,
  })
}
