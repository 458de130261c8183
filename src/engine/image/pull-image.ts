// `pull`: reference -> verified, unpacked image. Blobs come in several at once and each goes on where an earlier pull stopped;
// layers are unpacked in their order while later ones are still coming. Nothing has a name before all of it is there.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { sha256 } from '../../drivers/image/digest.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { RegistryClient } from '../../drivers/image/registry/registry-client.ts'
import { RegistryError } from '../../drivers/image/registry/registry-error.ts'
import { TransportError } from '../../drivers/image/registry/transport-error.ts'
import { Staging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import { faultPoint } from '../../lib/fault.ts'
import { type Descriptor, type Digest, type ImageReference, mediaTypes, type Platform } from '../../model/image.ts'
import { addImage } from './add-image.ts'
import { chooseManifest, documentType, noSuchPlatform } from './choose-manifest.ts'
import { familiarReference, formatReference, parseReference } from './image-reference.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'
import { formatPlatform, parseManifest, selectManifests } from './manifest.ts'
import { pullLayers } from './pull-layers.ts'
import { aboutImage, candidates, RegistryAccess } from './registry-access.ts'
import { notFound } from './resolve-image.ts'
import type { PullImageOptions } from './transfer-events.ts'

export interface PullImageRequest extends PullImageOptions {
  readonly reference: string
  readonly limits?: Partial<UnpackLimits>
}

/** What a pull brought. */
export interface PulledImage {
  readonly id: Digest
  /** The name it was found under, in full and in short form. */
  readonly fullName: string
  readonly name: string
  /** What the name points to: a manifest, or an index. */
  readonly digest: Digest
  /** False where the store had it already. */
  readonly isNew: boolean
}

/** @throws TsrunError not-found, denied, unavailable, invalid; the signal's reason */
export async function pullImage(store: ImageStore, request: PullImageRequest): Promise<PulledImage> {
  const { policy = 'always' } = request
  const here = policy === 'always' ? undefined : stored(store, parseReference(request.reference))
  if (here !== undefined) return here
  if (policy === 'never') throw notFound(request.reference)
  const access = new RegistryAccess()
  try {
    const names = candidates(request.reference, access.config)
    for (const [index, reference] of names.entries()) {
      try {
        return await new Pull(store, reference, request).run(access.clients(reference, 'pull'))
      } catch (error) {
        request.signal?.throwIfAborted()
        // A repository that one is not told of may be in the next registry.
        const isElsewhere = error instanceof RegistryError && (error.kind === 'not-found' || error.kind === 'denied')
        if (!isElsewhere || index === names.length - 1) throw aboutImage('pull', reference, error)
      }
    }
    throw new Error('a reference stands for at least one name')
  } finally {
    access.close()
  }
}

function stored(store: ImageStore, reference: ImageReference): PulledImage | undefined {
  const name = store.name(reference)
  const record = name === undefined ? undefined : store.record(name.manifest)
  if (name === undefined || record === undefined || !store.isComplete(record)) return undefined
  return pulled(reference, name.target, record, false)
}

function pulled(reference: ImageReference, { digest }: Descriptor, { id }: ImageRecord, isNew: boolean): PulledImage {
  return { id, fullName: formatReference(reference), name: familiarReference(reference), digest, isNew }
}

/** All tags of the repository that a reference names. */
export async function repositoryTags(reference: ImageReference, signal?: AbortSignal): Promise<string[]> {
  const access = new RegistryAccess()
  try {
    const client = access.clients(reference, 'pull').at(-1)
    return (await client?.tags(signal)) ?? []
  } catch (error) {
    throw aboutImage('pull', reference, error)
  } finally {
    access.close()
  }
}

/** What a registry has under a name. */
export interface RemoteManifest {
  /** Registry, repository and tag or digest in full. */
  readonly name: string
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  /** The manifest or index, as it stands there. */
  readonly document: unknown
}

/** Asks as a pull would, mirrors and search order included, and brings nothing into the store. */
export async function remoteManifest(text: string, signal?: AbortSignal): Promise<RemoteManifest> {
  const access = new RegistryAccess()
  try {
    const names = candidates(text, access.config)
    for (const [index, reference] of names.entries()) {
      const clients = access.clients(reference, 'pull')
      for (const [number, client] of clients.entries()) {
        try {
          const { bytes, digest, mediaType } = await client.document(
            reference.digest ?? reference.tag ?? 'latest',
            signal,
          )
          return {
            name: formatReference(reference),
            mediaType: documentType(bytes, mediaType),
            digest,
            size: bytes.length,
            document: JSON.parse(bytes.toString()),
          }
        } catch (error) {
          signal?.throwIfAborted()
          const isLast = index === names.length - 1 && number === clients.length - 1
          const isTheirs = error instanceof RegistryError || error instanceof TransportError
          if (isLast || !isTheirs) throw aboutImage('pull', reference, error)
        }
      }
    }
    throw new Error('a reference stands for at least one name')
  } finally {
    access.close()
  }
}

class Pull {
  readonly #store: ImageStore
  readonly #reference: ImageReference
  readonly #request: PullImageRequest
  readonly #blobs: BlobStore
  #clients: readonly RegistryClient[] = []

  constructor(store: ImageStore, reference: ImageReference, request: PullImageRequest) {
    this.#store = store
    this.#reference = reference
    this.#request = request
    this.#blobs = new BlobStore(store.files)
  }

  async run(clients: readonly RegistryClient[]): Promise<PulledImage> {
    this.#clients = clients
    this.#store.files.create()
    this.#tellBegin()
    await assurePoolThread()
    const staging = Staging.open(this.#store.files.staging)
    try {
      const root = await this.#root(staging)
      const manifest = await this.#choose(staging, root)
      const known = this.#known(manifest)
      const named = known === undefined ? undefined : await this.#name(root, known)
      if (named !== undefined) return named
      return pulled(this.#reference, root, await this.#fetch(staging, root, manifest), true)
    } finally {
      await staging.close()
    }
  }

  /** What the reference points to; its document is in the store then. */
  async #root(staging: Staging): Promise<Descriptor> {
    const { digest, tag } = this.#reference
    if (digest !== undefined) {
      await keep(this.#store.files, staging, [digest])
      return this.#describe(digest) ?? this.#fetchDocument(staging, digest)
    }
    const wanted = tag ?? 'latest'
    const here = this.#store.name(this.#reference)?.target
    if (here === undefined) return this.#fetchDocument(staging, wanted)
    await keep(this.#store.files, staging, [here.digest])
    // A HEAD is cheap and counts for no rate limit.
    const there = await this.#fromAny(client => client.head(wanted, this.#request.signal))
    return there === here.digest && this.#blobs.has(here) ? here : this.#fetchDocument(staging, wanted)
  }

  async #choose(staging: Staging, root: Descriptor): Promise<Descriptor> {
    return chooseManifest(root, this.#request.platform, async descriptor => {
      await keep(this.#store.files, staging, [descriptor.digest])
      if (!this.#blobs.has(descriptor)) await this.#fetchDocument(staging, descriptor.digest)
      return this.#blobs.read(descriptor.digest)
    })
  }

  /** The image, where the store has it complete. */
  #known({ digest }: Descriptor): ImageRecord | undefined {
    const record = this.#store.record(digest)
    return record !== undefined && this.#store.isComplete(record) ? record : undefined
  }

  /** Gives an image that is here the name; undefined where it has been removed meanwhile. */
  async #name(root: Descriptor, record: ImageRecord): Promise<PulledImage | undefined> {
    this.#checkPlatform(record)
    const name = this.#store.name(this.#reference)
    if (name?.target.digest === root.digest && name.manifest === record.manifest.digest)
      return pulled(this.#reference, root, record, false)
    faultPoint('image known')
    const unlock = await lockStore(this.#store.files.lock, 'shared')
    try {
      if (this.#store.record(record.manifest.digest) === undefined) return undefined
      this.#store.setName(this.#reference, { target: root, manifest: record.manifest.digest }, true)
    } finally {
      unlock()
    }
    return pulled(this.#reference, root, record, false)
  }

  async #fetch(staging: Staging, root: Descriptor, manifest: Descriptor): Promise<ImageRecord> {
    const { signal, onProgress, limits } = this.#request
    await keep(this.#store.files, staging, [manifest.digest])
    if (!this.#blobs.has(manifest)) await this.#fetchDocument(staging, manifest.digest)
    const options = { ...(signal === undefined ? {} : { signal }), ...(limits === undefined ? {} : { limits }) }
    await pullLayers(this.#store, staging, {
      manifest: parseManifest(this.#blobs.read(manifest.digest)),
      open: (digest, start) => this.#fromAny(client => client.openBlob(digest, start, signal)),
      checkConfig: config => this.#checkPlatform({ config }),
      ...options,
      ...(onProgress === undefined ? {} : { onProgress }),
    })
    return addImage(this.#store, staging, { manifest, target: root, names: [this.#reference], ...options })
  }

  /** A manifest that no index told the platform of: its config does. */
  #checkPlatform({ config }: Pick<ImageRecord, 'config'>): void {
    const { platform } = this.#request
    const { os = 'linux', architecture, variant } = config
    if (platform === undefined || architecture === undefined) return
    const own: Platform = { os, architecture, ...(variant === undefined ? {} : { variant }) }
    const entry = { mediaType: mediaTypes.ociManifest, digest: sha256(''), size: 0, platform: own }
    if (selectManifests({ schemaVersion: 2, manifests: [entry] }, platform).length === 0)
      throw noSuchPlatform(platform, [formatPlatform(own)])
  }

  /** Fetches a manifest or index into the store. */
  async #fetchDocument(staging: Staging, reference: string): Promise<Descriptor> {
    const { bytes, digest, mediaType } = await this.#fromAny(client => client.document(reference, this.#request.signal))
    await keep(this.#store.files, staging, [digest])
    const descriptor = { mediaType: documentType(bytes, mediaType), digest, size: bytes.length }
    if (!this.#blobs.has(descriptor)) await this.#blobs.write(staging, [bytes], { digest })
    return descriptor
  }

  /** A document that the store has already. */
  #describe(digest: Digest): Descriptor | undefined {
    const size = this.#blobs.size(digest)
    if (size === undefined) return undefined
    const bytes = this.#blobs.read(digest)
    return { mediaType: documentType(bytes, ''), digest, size }
  }

  /** Asks the endpoints in their order; one that has answered is asked first from then on. */
  async #fromAny<T>(ask: (client: RegistryClient) => Promise<T>): Promise<T> {
    for (const [index, client] of this.#clients.entries()) {
      try {
        const answer = await ask(client)
        if (index > 0) this.#clients = [client, ...this.#clients.filter(other => other !== client)]
        return answer
      } catch (error) {
        this.#request.signal?.throwIfAborted()
        const isTheirs = error instanceof RegistryError || error instanceof TransportError
        if (!isTheirs || index === this.#clients.length - 1) throw error
      }
    }
    throw new Error('a registry has at least one endpoint')
  }

  #tellBegin(): void {
    const { registry, repository, digest, tag } = this.#reference
    this.#request.onProgress?.({
      kind: 'begin',
      reference: familiarReference(this.#reference),
      name: digest ?? tag ?? 'latest',
      repository: `${registry}/${repository}`,
    })
  }
}
