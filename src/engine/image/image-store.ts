// What the store knows: names, one file each, and records, one file for each complete image. Both are only ever written when
// all blobs and layers they speak of are in their place. Looking up costs two file reads; nothing heavy is imported here.

import { existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { currentBoot, hasLayer, type ImageFiles } from '../../drivers/image/image-files.ts'
import { hasCode } from '../../ffi/errno.ts'
import { faultPoint } from '../../lib/fault.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { readJsonFile, syncPath, writeJsonFile } from '../../lib/json-file.ts'
import { sweepTemporaries } from '../../lib/state-file.ts'
import { TsrunError } from '../../model/errors.ts'
import {
  type Descriptor,
  type Digest,
  type Image,
  type ImageReference,
  isDigest,
  mediaTypes,
} from '../../model/image.ts'
import { familiarReference, formatReference, parseReference } from './image-reference.ts'

/** What a name means. */
export interface ImageName {
  /** Full form, e.g. `docker.io/library/busybox:latest`. */
  readonly reference: string
  /** What the registry gave: a manifest, or the index it was chosen from. */
  readonly target: Descriptor
  /** The image for this machine. */
  readonly manifest: Digest
}

/** An image and how safe its layers are; see layer-store.ts. */
export interface ImageRecord extends Image {
  readonly bootId: string
  readonly isSettled: boolean
}

export class ImageStore {
  readonly files: ImageFiles

  constructor(files: ImageFiles) {
    this.files = files
  }

  /** Whether anything was ever put into the store. */
  get exists(): boolean {
    return existsSync(this.files.blobs)
  }

  /** What a name means; undefined where the store has no such name. */
  name(reference: ImageReference): ImageName | undefined {
    return readWhole<ImageName>(this.#namePath(reference))
  }

  /** An image by its manifest. */
  record(manifest: Digest): ImageRecord | undefined {
    return readWhole<ImageRecord>(this.files.record(manifest))
  }

  names(): ImageName[] {
    const found: ImageName[] = []
    for (const folder of namesIfThere(this.files.names, 'ENOTDIR')) {
      for (const file of namesIfThere(join(this.files.names, folder), 'ENOTDIR')) {
        const name = file.endsWith('.tmp') ? undefined : readWhole<ImageName>(join(this.files.names, folder, file))
        if (name !== undefined) found.push(name)
      }
    }
    return found.sort((a, b) => (a.reference < b.reference ? -1 : 1))
  }

  records(): ImageRecord[] {
    return namesIfThere(this.files.records, 'ENOTDIR')
      .filter(file => file.endsWith('.json'))
      .map(file => this.record(`sha256:${file.slice(0, -5)}` as Digest))
      .filter(record => record !== undefined)
  }

  /**
   * Finds an image by name, id, or a unique beginning of an id.
   * @throws TsrunError invalid (no reference), conflict (several ids begin so)
   */
  find(text: string): { readonly record: ImageRecord; readonly name?: ImageName } | undefined {
    const digest = isDigest(text) ? text : /^[0-9a-f]{64}$/.test(text) ? (`sha256:${text}` as Digest) : undefined
    if (digest !== undefined) return this.#byDigest(digest)
    const name = this.#named(text)
    if (name !== undefined) {
      const record = this.record(name.manifest)
      return record === undefined ? undefined : { record, name }
    }
    const prefix = /^(?:sha256:)?([0-9a-f]+)$/.exec(text)?.[1]
    return prefix === undefined ? undefined : this.#byPrefix(prefix)
  }

  /** Whether every layer of an image is in its place and sound. */
  isComplete(record: ImageRecord): boolean {
    if (!record.isSettled && record.bootId !== currentBoot()) return false
    return record.layers.every(layer => hasLayer(this.files, layer.chainId))
  }

  /** Makes `name` point to its manifest, whatever it pointed to before. @param isDurable must survive a power loss at once */
  setName(reference: ImageReference, name: Omit<ImageName, 'reference'>, isDurable: boolean): void {
    const path = this.#namePath(reference)
    const value: ImageName = { reference: formatReference(reference), ...name }
    for (;;) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      try {
        writeJsonFile(path, value, { durable: isDurable })
        break
      } catch (error) {
        // The last name in the folder has just been removed, and the folder with it.
        if (!hasCode(error, 'ENOENT')) throw error
      }
    }
    if (isDurable) syncPath(this.files.names)
    faultPoint('image name')
    this.writeIndex()
  }

  /** Idempotent. */
  removeName(reference: ImageReference): void {
    const path = this.#namePath(reference)
    rmSync(path, { force: true })
    faultPoint('image name removed')
    removeEmptyFolder(dirname(path))
    this.writeIndex()
  }

  setRecord(record: ImageRecord, isDurable: boolean): void {
    writeJsonFile(this.files.record(record.manifest.digest), record, { durable: isDurable })
    faultPoint('image record')
  }

  /** Idempotent. */
  removeRecord(manifest: Digest): void {
    rmSync(this.files.record(manifest), { force: true })
    faultPoint('image record removed')
  }

  /**
   * Writes what makes the folder an OCI image layout for other tools. It is derived: after a crash, or two writers at once, it may
   * lag behind until the next name is set; tsrun itself never reads it.
   */
  writeIndex(): void {
    const layout = join(this.files.images, 'oci-layout')
    if (!existsSync(layout)) writeJsonFile(layout, { imageLayoutVersion: '1.0.0' })
    const manifests = this.names().map(({ reference, target }) => ({
      ...target,
      annotations: {
        'io.containerd.image.name': reference,
        'org.opencontainers.image.ref.name': familiarReference(parseReference(reference)),
      },
    }))
    writeJsonFile(join(this.files.images, 'index.json'), {
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests,
    })
  }

  /** Removes what killed writers have left. */
  sweep(): void {
    const { images, names, records } = this.files
    const folders = namesIfThere(names).map(folder => join(names, folder))
    for (const folder of [images, records, ...folders]) sweepTemporaries(folder)
    for (const folder of folders) removeEmptyFolder(folder)
  }

  #named(text: string): ImageName | undefined {
    let reference: ImageReference
    try {
      reference = parseReference(text)
    } catch (error) {
      // "sha256:" and a part of an id is no reference.
      if (/^sha256:[0-9a-f]+$/.test(text)) return undefined
      throw error
    }
    const name = this.name(reference)
    if (name !== undefined || reference.digest === undefined) return name
    // The digest of something that was pulled by tag.
    const { registry, repository, digest } = reference
    return this.names().find(other => {
      const parsed = parseReference(other.reference)
      const isSameRepository = parsed.registry === registry && parsed.repository === repository
      return isSameRepository && (other.target.digest === digest || other.manifest === digest)
    })
  }

  #byDigest(digest: Digest): { record: ImageRecord } | undefined {
    const record = this.record(digest) ?? this.records().find(candidate => candidate.id === digest)
    return record === undefined ? undefined : { record }
  }

  #byPrefix(prefix: string): { record: ImageRecord } | undefined {
    const matches = this.records().filter(record => record.id.startsWith(`sha256:${prefix}`))
    const ids = new Set(matches.map(record => record.id))
    if (ids.size > 1) {
      throw new TsrunError('conflict', 'ambiguous-id', `"${prefix}" is the beginning of ${ids.size} image ids`, {
        hint: `write more of it: ${[...ids].map(id => id.slice(7, 19)).join(', ')}`,
      })
    }
    return matches[0] === undefined ? undefined : { record: matches[0] }
  }

  /** `<registry+repository>/<tag>`, or `/@<digest>`; "+" cannot be part of a reference. */
  #namePath({ registry, repository, tag, digest }: ImageReference): string {
    const folder = `${registry}/${repository}`.replaceAll('/', '+')
    return join(this.files.names, folder, digest === undefined ? (tag ?? 'latest') : `@${digest}`)
  }
}

function removeEmptyFolder(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error
  }
}

/** A file that is written whole; what a power loss made of one that was not synced counts as not there. */
function readWhole<T>(path: string): T | undefined {
  try {
    const value = readJsonFile(path)
    // Left where it is: somebody may just be replacing it.
    return typeof value === 'object' && value !== null ? (value as T) : undefined
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}
