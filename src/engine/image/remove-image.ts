// rmi and prune. What is needed is never counted, it is derived: records, names, work in progress and containers say it. The
// decision is made under the exclusive lock, where nobody can begin to use an image; what goes is renamed away there, which takes
// no time, and deleted afterwards.

import { BlobStore } from '../../drivers/image/blob-store.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import { Staging, sweepStaging } from '../../drivers/image/staging.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Digest, digestHex } from '../../model/image.ts'
import type { TellImage } from './image-events.ts'
import { familiarName, familiarReference, parseReference } from './image-reference.ts'
import type { ImageName, ImageRecord, ImageStore } from './image-store.ts'
import { notFound } from './resolve-image.ts'

/** A container, as far as images are concerned. */
export interface ImageUser {
  /** Its name, for messages. */
  readonly name: string
  /** The image id it was made of. */
  readonly imageId: string
  readonly isRunning: boolean
}

/** Who needs what; asked under the lock. */
export interface InUse {
  /** Chain ids, their hex, or layer directories. */
  readonly layers: () => Promise<ReadonlySet<string>>
  readonly users: () => Promise<readonly ImageUser[]>
}

/** What happened, in the order of docker's lines. */
export interface RemovedImages {
  /** Short references that mean nothing any more. */
  readonly untagged: readonly string[]
  /** Image ids, and chain ids of layers. */
  readonly deleted: readonly Digest[]
  readonly reclaimedBytes: number
}

/**
 * Removes a name; with the last one the image. By id, the image with its name.
 * @throws TsrunError not-found; conflict: a container uses it, or an id has names in several repositories (isForced overrides,
 * but not for a running container)
 */
export async function removeImage(
  store: ImageStore,
  inUse: InUse,
  { text, isForced = false, tell }: { text: string; isForced?: boolean; tell: TellImage },
): Promise<RemovedImages> {
  return deciding(store, async staging => {
    const found = store.find(text)
    if (found === undefined) throw notFound(text)
    const names = namesOf(store, found.record)
    const going = found.name === undefined ? names : [found.name]
    const { id } = found.record
    const tellUntagged = (untagged: readonly string[]): void => {
      for (const name of untagged) tell('untag', id, name)
    }
    if (going.length < names.length) {
      const untagged = untag(store, going)
      tellUntagged(untagged)
      return { untagged, ...nothing }
    }
    if (found.name === undefined && !isForced) refuseManyRepositories(text, going)
    const users = (await inUse.users()).filter(user => user.imageId === id)
    refuseUsed(text, users, isForced)
    const untagged = untag(store, going)
    tellUntagged(untagged)
    for (const record of sameImage(store, found.record)) store.removeRecord(record.manifest.digest)
    const { deleted, reclaimedBytes } = await collect(store, staging, inUse)
    tell('delete', id)
    return { untagged, deleted: [id, ...deleted], reclaimedBytes }
  })
}

/** Removes images without a name, with `isAll` every image that no container uses; and what crashes have left. */
export async function pruneImages(
  store: ImageStore,
  inUse: InUse,
  { isAll, filter, tell }: { isAll: boolean; filter: (record: ImageRecord) => boolean; tell: TellImage },
): Promise<RemovedImages> {
  const { removePartialBlobs } = await import('../../drivers/image/registry/partial-blob.ts')
  const partialBytes = await removePartialBlobs(store.files)
  return deciding(store, async staging => {
    const used = new Set((await inUse.users()).map(user => user.imageId))
    const untagged: string[] = []
    const deleted: Digest[] = []
    for (const record of store.records()) {
      const names = namesOf(store, record)
      if (used.has(record.id) || (names.length > 0 && !isAll) || !filter(record)) continue
      const own = untag(store, names)
      for (const name of own) tell('untag', record.id, name)
      untagged.push(...own)
      store.removeRecord(record.manifest.digest)
      // Its other record, of the compressed layers, is no second image.
      if (deleted.includes(record.id)) continue
      tell('delete', record.id)
      deleted.push(record.id)
    }
    const collected = await collect(store, staging, inUse)
    return {
      untagged,
      deleted: [...deleted, ...collected.deleted],
      reclaimedBytes: partialBytes + collected.reclaimedBytes,
    }
  })
}

const nothing = { deleted: [], reclaimedBytes: 0 } as const

async function deciding<T>(store: ImageStore, task: (staging: Staging) => Promise<T>): Promise<T> {
  store.files.create()
  const staging = Staging.open(store.files.staging)
  try {
    const unlock = await lockStore(store.files.lock, 'exclusive')
    try {
      return await task(staging)
    } finally {
      unlock()
    }
  } finally {
    await staging.close()
  }
}

/** Moves out every blob and layer that nobody needs. The order matters: work in progress may become a record at any time. */
async function collect(
  store: ImageStore,
  staging: Staging,
  inUse: InUse,
): Promise<{ deleted: Digest[]; reclaimedBytes: number }> {
  const needed = sweepStaging(store.files.staging, staging)
  store.sweep()
  for (const layer of await inUse.layers()) {
    const hex = /[0-9a-f]{64}/.exec(layer)?.[0]
    if (hex !== undefined) needed.add(hex)
  }
  const need = (digest: Digest): unknown => needed.add(digestHex(digest))
  for (const name of store.names()) {
    if (store.record(name.manifest) === undefined) untag(store, [name])
    else for (const digest of [name.target.digest, name.manifest]) need(digest)
  }
  for (const { id, manifest, layers } of store.records()) {
    for (const digest of [id, manifest.digest]) need(digest)
    for (const { digest, chainId } of layers) for (const one of [digest, chainId]) need(one)
  }
  const blobs = new BlobStore(store.files)
  const layerStore = new LayerStore(store.files)
  faultPoint('image needs known')
  let reclaimedBytes = 0
  for (const digest of blobs.list()) {
    if (!needed.has(digestHex(digest))) reclaimedBytes += blobs.moveOut(staging, digest)
  }
  const deleted: Digest[] = []
  for (const chainId of layerStore.list()) {
    if (needed.has(digestHex(chainId))) continue
    reclaimedBytes += layerStore.get(chainId)?.size ?? 0
    layerStore.moveOut(staging, chainId)
    deleted.push(chainId)
  }
  return { deleted, reclaimedBytes }
}

/** Records of one config: the same image, once with plain and once with compressed layers. */
function sameImage(store: ImageStore, { id }: ImageRecord): ImageRecord[] {
  return store.records().filter(record => record.id === id)
}

function namesOf(store: ImageStore, { id }: ImageRecord): ImageName[] {
  return store.names().filter(name => store.record(name.manifest)?.id === id)
}

function untag(store: ImageStore, names: readonly ImageName[]): string[] {
  return names.map(({ reference }) => {
    const parsed = parseReference(reference)
    store.removeName(parsed)
    return familiarReference(parsed)
  })
}

function refuseManyRepositories(text: string, names: readonly ImageName[]): void {
  const repositories = new Set(names.map(name => familiarName(parseReference(name.reference))))
  if (repositories.size < 2) return
  throw new TsrunError(
    'conflict',
    'image-has-names',
    `cannot remove image "${text}": it has names in several repositories (${[...repositories].join(', ')})`,
    { hint: 'remove it by name, or use --force' },
  )
}

function refuseUsed(text: string, users: readonly ImageUser[], isForced: boolean): void {
  const running = users.filter(user => user.isRunning)
  const blocking = isForced ? running : users
  if (blocking.length === 0) return
  const containers = blocking.map(user => `"${user.name}"`).join(', ')
  const state = running.length > 0 ? 'running ' : ''
  throw new TsrunError(
    'conflict',
    'image-in-use',
    `cannot remove image "${text}": ${state}container${blocking.length > 1 ? 's' : ''} ${containers} use${blocking.length > 1 ? '' : 's'} it`,
    { hint: running.length > 0 ? 'stop and remove the container first' : 'remove the container first, or use --force' },
  )
}
