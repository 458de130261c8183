// Content-addressed blobs, one file each, named by their sha256. A blob has its name only when all of it is there and right.

import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { hasCode } from '../../ffi/errno.ts'
import { faultPoint } from '../../lib/fault.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Descriptor, type Digest, isDigest } from '../../model/image.ts'
import { sha256 } from './digest.ts'
import type { ImageFiles } from './image-files.ts'
import { keep } from './keep.ts'
import type { Staging } from './staging.ts'

/** Manifests and configs are read whole: none that is larger is read at all. */
const maxDocumentBytes = 8 * 2 ** 20
const writeChunk = 1 << 20

export class BlobStore {
  readonly #files: ImageFiles

  constructor(files: ImageFiles) {
    this.#files = files
  }

  /** Whether a blob of that digest and size is there. */
  has({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): boolean {
    return this.size(digest) === size
  }

  /** Its size in bytes; undefined where it is not there. */
  size(digest: Digest): number | undefined {
    return statSync(this.#files.blob(digest), { throwIfNoEntry: false })?.size
  }

  /** A small blob, verified. @throws TsrunError not-found, invalid (damaged) */
  read(digest: Digest): Buffer {
    const path = this.#files.blob(digest)
    try {
      const size = statSync(path).size
      if (size > maxDocumentBytes)
        throw new TsrunError(
          'invalid',
          'document-too-large',
          `blob ${digest} of ${size} bytes is no manifest or config`,
        )
      const bytes = readFileSync(path)
      if (sha256(bytes) === digest) return bytes
    } catch (error) {
      if (hasCode(error, 'ENOENT'))
        throw new TsrunError('not-found', 'no-such-blob', `blob ${digest} is not in the image store`)
      throw error
    }
    throw new TsrunError('system', 'damaged-blob', `blob ${digest} in the image store is damaged`, {
      hint: `remove "${path}" and pull or load the image again`,
    })
  }

  /** The bytes of a blob, not verified: who unpacks them hashes them. */
  stream(digest: Digest, start = 0): AsyncIterable<Buffer> {
    return createReadStream(this.#files.blob(digest), { highWaterMark: writeChunk, start })
  }

  /** Stores a small blob. */
  async add(staging: Staging, bytes: Buffer): Promise<Digest> {
    return (await this.write(staging, [bytes])).digest
  }

  /** Takes a blob out of its place, into `staging`, where it dies. Idempotent. Returns the bytes that gives back. */
  moveOut(staging: Staging, digest: Digest): number {
    const size = this.size(digest) ?? 0
    try {
      renameSync(this.#files.blob(digest), staging.temporary('trash'))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    faultPoint('image blob removed')
    return size
  }

  /** Digests of all blobs. */
  list(): Digest[] {
    return readdirSync(this.#files.blobs)
      .map(hex => `sha256:${hex}` as Digest)
      .filter(isDigest)
  }

  /** Gives a file in `staging`, whose digest the caller has computed, its place. */
  async adopt(staging: Staging, path: string, digest: Digest): Promise<void> {
    await keep(this.#files, staging, [digest])
    if (staging.isDurable) {
      const file = await open(path, 'r')
      staging.defer(syncAndClose(file))
    }
    renameSync(path, this.#files.blob(digest))
    faultPoint('image blob')
  }

  /**
   * Stores what `source` gives. The blob is synced in the background: `staging.synced()` must be awaited before a name
   * points to it.
   * @throws TsrunError invalid when digest or size is not the expected one; then nothing is stored
   */
  async write(
    staging: Staging,
    source: AsyncIterable<Buffer> | Iterable<Buffer>,
    expected: { readonly digest?: Digest; readonly size?: number } = {},
  ): Promise<{ readonly digest: Digest; readonly size: number }> {
    const path = staging.temporary('blob')
    const file = await open(path, 'wx', 0o600)
    try {
      const { digest, size } = await copy(source, file, expected.size)
      if (expected.digest !== undefined && digest !== expected.digest) {
        throw new TsrunError(
          'invalid',
          'digest-mismatch',
          `the content is ${digest}, but ${expected.digest} was expected`,
        )
      }
      if (expected.size !== undefined && size !== expected.size) {
        throw new TsrunError(
          'invalid',
          'size-mismatch',
          `the content has ${size} bytes, but ${expected.size} were expected`,
        )
      }
      await keep(this.#files, staging, [digest])
      renameSync(path, this.#files.blob(digest))
      faultPoint('image blob')
      if (staging.isDurable) staging.defer(syncAndClose(file))
      else await file.close()
      return { digest, size }
    } catch (error) {
      await file.close()
      throw error
    }
  }
}

async function copy(
  source: AsyncIterable<Buffer> | Iterable<Buffer>,
  file: FileHandle,
  limit = Number.POSITIVE_INFINITY,
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of source) {
    size += chunk.length
    if (size > limit)
      throw new TsrunError('invalid', 'size-mismatch', `the content has more than the expected ${limit} bytes`)
    hash.update(chunk)
    for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, size }
}

async function syncAndClose(file: FileHandle): Promise<void> {
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
