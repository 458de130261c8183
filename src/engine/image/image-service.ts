// What the faces and other services may ask of images. Looking up is done here with two file reads; all else is loaded when it is
// asked for, so that `run` does not pay for tar, compression and hashing.

import { ImageFiles } from '../../drivers/image/image-files.ts'
import type { PackOptions } from '../../drivers/image/layer-packer.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { noteLeftOut } from '../../lib/state-file.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Digest } from '../../model/image.ts'
import type { PruneFilter } from '../prune-filter.ts'
import { type TellImage, tellImages, tellTransfer } from './image-events.ts'
import type {
  CommitImageOptions,
  ImageServiceOptions,
  ImportImageOptions,
  LoadedImageSummary,
  LoadImagesOptions,
} from './image-options.ts'
import { familiarReference, parseReference } from './image-reference.ts'
import { type ImageRecord, ImageStore } from './image-store.ts'
import type { HistoryLine, ImageInspect, ImageSummary, ImageUsage } from './list-images.ts'
import { mendLayers } from './mend-layers.ts'
import type { PulledImage, RemoteManifest } from './pull-image.ts'
import type { PushedImage } from './push-image.ts'
import type { ImageUser, RemovedImages } from './remove-image.ts'
import { notFound, type ResolvedImage, resolveImage, useImage } from './resolve-image.ts'
import type { ArchiveFormat } from './save-image.ts'
import type { PullImageOptions, TransferOptions } from './transfer-events.ts'

/** Layers that came longer ago than this are settled on the way of slow commands. */
const settleAgeMs = 60_000

/** The verbs of images. An image is meant by a name, `busybox` or `ghcr.io/a/b:1@sha256:...`, or by its id. */
export class ImageService {
  readonly #store: ImageStore
  readonly #options: ImageServiceOptions
  readonly #tell: TellImage

  /** @internal */
  constructor(options: ImageServiceOptions) {
    this.#store = new ImageStore(new ImageFiles(options.root))
    this.#tell = tellImages(this.#store, options.events)
    this.#options = options
  }

  /**
   * An image by name, id or a unique beginning of an id; an embedded one is brought into the store on first use.
   * @throws TsrunError not-found, invalid (no reference), conflict (ambiguous id)
   */
  resolve(reference: string): Promise<ResolvedImage> {
    return resolveImage(this.#store, reference, this.#options.embeddedDir)
  }

  /**
   * @internal
   * Runs `task` while the image cannot be removed. The task writes down that a container uses the layers; it should take
   * milliseconds, since removals wait for it. It must not remove, prune or tag images itself.
   * @throws as resolve(), and what the task throws
   */
  use<T>(reference: string, task: (image: ResolvedImage) => Promise<T>): Promise<T> {
    return useImage(this.#store, { text: reference, embeddedDir: this.#options.embeddedDir }, task)
  }

  /** @internal Unpacks the layers of a container again that may not have outlived a power cut. @throws TsrunError system */
  mendLayers(container: Pick<Container, 'name' | 'image'>): Promise<void> {
    return mendLayers(this.#store, container, this.#options.embeddedDir)
  }

  /** Whether the store has the image, complete; brings nothing in. */
  has(reference: string): boolean {
    const found = this.#store.find(reference)
    return found !== undefined && this.#store.isComplete(found.record)
  }

  /** The lines of `images`, newest first. */
  async list(): Promise<ImageSummary[]> {
    const { listImages } = await import('./list-images.ts')
    return listImages(this.#store)
  }

  /** docker's inspect document. @throws TsrunError not-found */
  async inspect(reference: string): Promise<ImageInspect> {
    const { inspectImage } = await import('./list-images.ts')
    return inspectImage(this.#store, await this.#record(reference))
  }

  /** The steps an image was made by, newest first. @throws TsrunError not-found */
  async history(reference: string): Promise<HistoryLine[]> {
    const { imageHistory } = await import('./list-images.ts')
    return imageHistory(await this.#record(reference))
  }

  /** Gives an image one more name, taking it from the image that has it. @throws TsrunError not-found, invalid */
  async tag(reference: string, name: string): Promise<void> {
    const target = parseReference(name)
    if (target.digest !== undefined) {
      throw new TsrunError('invalid', 'digest-as-name', `cannot tag as "${name}": a name for an image has no digest`)
    }
    await this.resolve(reference)
    const unlock = await lockStore(this.#store.files.lock, 'shared')
    try {
      const found = this.#store.find(reference)
      if (found === undefined) throw notFound(reference)
      const { record } = found
      const pointsTo = found.name?.target ?? record.manifest
      this.#store.setName(target, { target: pointsTo, manifest: record.manifest.digest }, true)
      this.#tell('tag', record.id, familiarReference(target))
    } finally {
      unlock()
    }
  }

  /**
   * Removes a name; with its last name, or by id, the image.
   * @throws TsrunError not-found; conflict (a container uses it, an id has several names): `force` overrides unless it runs
   */
  async remove(reference: string, options: { readonly force?: boolean } = {}): Promise<RemovedImages> {
    const { removeImage } = await import('./remove-image.ts')
    // Containers keep layers that then have no blobs: they could not be unpacked again after a power cut.
    if (options.force === true) await this.settle()
    return removeImage(this.#store, this.#inUse(), {
      text: reference,
      isForced: options.force ?? false,
      tell: this.#tell,
    })
  }

  /**
   * Removes images without a name (with `all`: without a container), and whatever crashes have left behind. `until` goes by when
   * an image came here: one that was made to be reproducible may say 1970.
   */
  async prune(options: PruneFilter & { readonly all?: boolean } = {}): Promise<RemovedImages> {
    const { pruneImages } = await import('./remove-image.ts')
    const { all = false, ...limits } = options
    const { passesPruneFilter } = await import('../prune-filter.ts')
    const filter = ({ storedAt, config }: ImageRecord): boolean =>
      passesPruneFilter({ createdAt: storedAt, labels: config.config?.Labels ?? {} }, limits)
    const removed = await pruneImages(this.#store, this.#inUse(), { isAll: all, filter, tell: this.#tell })
    await this.settle(settleAgeMs)
    return removed
  }

  /**
   * Brings an image from its registry, or what is missing of it. What was fetched stays when it is cut off, and the next pull
   * goes on from there; nothing has a name before all of it is there.
   * @throws TsrunError not-found (image, platform), denied, unavailable (registry, rate limit), invalid; the signal's reason
   */
  async pull(reference: string, options: PullImageOptions = {}): Promise<PulledImage> {
    const { pullImage } = await import('./pull-image.ts')
    const pulled = await pullImage(this.#store, { reference, ...options, ...this.#limits() })
    tellTransfer(this.#options.events, 'pull', pulled.fullName)
    if (pulled.isNew) await this.settle(settleAgeMs)
    return pulled
  }

  /** All tags that the registry has of a repository. @throws TsrunError not-found, denied, unavailable */
  async tags(repository: string, options: { readonly signal?: AbortSignal } = {}): Promise<string[]> {
    const { repositoryTags } = await import('./pull-image.ts')
    return repositoryTags(parseReference(repository), options.signal)
  }

  /** The manifest or index that the registry has under a name; nothing is pulled. @throws TsrunError not-found, denied, unavailable */
  async manifest(reference: string, options: { readonly signal?: AbortSignal } = {}): Promise<RemoteManifest> {
    const { remoteManifest } = await import('./pull-image.ts')
    return remoteManifest(reference, options.signal)
  }

  /** Gives an image to the registry that its name says. @throws TsrunError not-found, denied, unavailable; the signal's reason */
  async push(reference: string, options: TransferOptions = {}): Promise<PushedImage> {
    const { pushImage } = await import('./push-image.ts')
    const pushed = await pushImage(this.#store, { reference, ...options, ...this.#limits() })
    tellTransfer(this.#options.events, 'push', reference)
    return pushed
  }

  /**
   * Loads an archive of `docker save`, podman or skopeo, an OCI archive, each also compressed; or, by path, an OCI layout.
   * @param source a path, or the bytes (stdin)
   * @throws TsrunError not-found (file, platform), invalid
   */
  async load(source: string | AsyncIterable<Buffer>, options: LoadImagesOptions = {}): Promise<LoadedImageSummary[]> {
    const { loadImages } = await import('./load-archive.ts')
    const loaded = await loadImages(this.#store, source, { ...options, ...this.#limits() })
    await this.settle(settleAgeMs)
    const summaries = loaded.map(({ record, names }) => ({ id: record.id, names: names.map(familiarReference) }))
    for (const { id, names } of summaries) this.#tell('load', id, names[0])
    return summaries
  }

  /**
   * Images as one archive; a repository without a tag stands for all of its tags here. `docker-archive` (default) is read by `docker load` and is an OCI layout as well.
   * Nothing is looked up before the first chunk is asked for.
   * @throws TsrunError not-found
   */
  async *save(references: readonly string[], format: ArchiveFormat = 'docker-archive'): AsyncGenerator<Buffer> {
    const { namesToSave, saveImages } = await import('./save-image.ts')
    const names = references.flatMap(reference => namesToSave(this.#store, reference))
    const ids: Digest[] = []
    for (const name of names) ids.push((await this.resolve(name)).id)
    yield* saveImages(this.#store, names, format)
    for (const id of ids) this.#tell('save', id)
  }

  /**
   * The same as an OCI layout in a folder, for skopeo, umoci and their like.
   * @param directory must not be there, or be empty
   * @throws TsrunError not-found, conflict (it holds something); the signal's reason
   */
  async saveLayout(
    references: readonly string[],
    directory: string,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { writeLayout } = await import('./save-layout.ts')
    await writeLayout(this.save(references, 'oci-archive'), directory, options.signal)
  }

  /** Makes an image of the archive of a root file system, plain or compressed. @throws TsrunError invalid */
  async import(source: AsyncIterable<Buffer>, options: ImportImageOptions = {}): Promise<LoadedImageSummary> {
    const { applyChanges } = await import('./config-changes.ts')
    const { createImage } = await import('./create-image.ts')
    const { reference, message, platform, signal, changes = [] } = options
    const names = reference === undefined ? [] : [parseReference(reference)]
    const record = await createImage(this.#store, {
      layer: source,
      defaults: applyChanges({}, changes),
      names,
      createdBy: 'tsrun import',
      ...(message === undefined ? {} : { comment: message }),
      ...(platform === undefined ? {} : { platform }),
      ...(signal === undefined ? {} : { signal }),
      ...this.#limits(),
    })
    const imported = { id: record.id, names: names.map(familiarReference) }
    this.#tell('import', imported.id, imported.names[0])
    return imported
  }

  /** @internal Makes an image of what a container has changed. The container should be paused or stopped. @throws TsrunError not-found */
  async commit(options: CommitImageOptions): Promise<LoadedImageSummary> {
    const { applyChanges } = await import('./config-changes.ts')
    const { createImage } = await import('./create-image.ts')
    const base = await this.#record(options.base)
    const names = options.reference === undefined ? [] : [parseReference(options.reference)]
    const { message, author, changes = [] } = options
    const record = await createImage(this.#store, {
      base,
      layer: options.layer,
      defaults: applyChanges(options.defaults ?? base.config.config ?? {}, changes),
      names,
      createdBy: options.createdBy ?? 'tsrun commit',
      ...(message === undefined ? {} : { comment: message }),
      ...(author === undefined ? {} : { author }),
      ...this.#limits(),
    })
    return { id: record.id, names: names.map(familiarReference) }
  }

  /** @internal The tar of a directory: `export` of a container's mounted root file system. */
  async *export(directory: string, options: PackOptions = { kind: 'tree' }): AsyncGenerator<Buffer> {
    const { packDirectory } = await import('../../drivers/image/layer-packer.ts')
    yield* packDirectory(directory, options)
  }

  /** Bytes of unpacked layers. @param layerDirs as the record of a container has them */
  async sizeOf(layerDirs: readonly string[]): Promise<number> {
    const { layersSize } = await import('./list-images.ts')
    return layersSize(this.#store, layerDirs)
  }

  /** What the store takes up, for `system df`. */
  async diskUsage(): Promise<ImageUsage> {
    const { imageUsage } = await import('./list-images.ts')
    // Where the record of a container is damaged nobody can say what it uses.
    return imageUsage(this.#store, await this.#inUse().users().catch(noteLeftOut))
  }

  /**
   * Makes sure that layers are on the disk (one syncfs), where they are not known to be. For moments in which nobody waits:
   * without it they are unpacked again on first use after a reboot.
   */
  async settle(ageMs = 0): Promise<void> {
    const { settleImages } = await import('./settle-images.ts')
    await settleImages(this.#store, ageMs)
  }

  async #record(reference: string): Promise<ImageRecord> {
    const { manifestDigest } = await this.resolve(reference)
    const record = this.#store.record(manifestDigest)
    if (record === undefined) throw notFound(reference)
    return record
  }

  #inUse(): { layers: () => Promise<ReadonlySet<string>>; users: () => Promise<readonly ImageUser[]> } {
    return { layers: this.#options.layersInUse ?? noLayers, users: this.#options.users ?? noUsers }
  }

  #limits(): { limits?: Partial<UnpackLimits> } {
    return this.#options.limits === undefined ? {} : { limits: this.#options.limits }
  }
}

async function noLayers(): Promise<ReadonlySet<string>> {
  return new Set()
}

async function noUsers(): Promise<readonly ImageUser[]> {
  return []
}
