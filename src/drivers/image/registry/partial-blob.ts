// A blob that is being downloaded: a file under its digest that outlives the process, so that the next pull goes on where this one
// stopped. Locked by whoever writes it; who finds it locked waits, and mostly finds the blob complete then. It lies beside the
// blobs and not among them: nothing reads it but a download.

import { createHash, type Hash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type FileLock, lockFile } from '../../../kernel/flock.ts'
import { faultPoint } from '../../../lib/fault.ts'
import { namesIfThere } from '../../../lib/if-there.ts'
import { TsrunError } from '../../../model/errors.ts'
import { type Digest, digestHex } from '../../../model/image.ts'
import type { ImageFiles } from '../image-files.ts'

export class PartialBlob {
  readonly path: string
  readonly #fd: number
  readonly #lock: FileLock
  #hash: Hash
  #size = 0
  /** Bytes that were there when it was opened. */
  inherited = 0

  private constructor(path: string, fd: number, lock: FileLock) {
    this.path = path
    this.#fd = fd
    this.#lock = lock
    this.#hash = createHash('sha256')
  }

  /** Opens it, when nobody else has it. The caller closes it. */
  static async open(files: ImageFiles, digest: Digest, signal?: AbortSignal): Promise<PartialBlob> {
    mkdirSync(files.partial, { recursive: true, mode: 0o700 })
    const path = join(files.partial, digestHex(digest))
    const lock = await lockFile(path, {
      what: `the download of ${digest}`,
      timeoutMs: Number.POSITIVE_INFINITY,
      ...(signal === undefined ? {} : { signal }),
    })
    const partial = new PartialBlob(path, openSync(path, 'r+'), lock)
    try {
      await partial.#readBack()
    } catch (error) {
      partial.close()
      throw error
    }
    return partial
  }

  get size(): number {
    return this.#size
  }

  append(chunk: Buffer): void {
    this.#hash.update(chunk)
    for (let at = 0; at < chunk.length; ) at += writeSync(this.#fd, chunk, at, chunk.length - at, this.#size + at)
    this.#size += chunk.length
    faultPoint('part of a blob')
  }

  /** Begins anew. */
  reset(): void {
    ftruncateSync(this.#fd)
    this.#hash = createHash('sha256')
    this.#size = 0
    this.inherited = 0
  }

  /** The digest of what is there. */
  digest(): Digest {
    return `sha256:${this.#hash.copy().digest('hex')}` as Digest
  }

  /** Idempotent in its effect: an empty file is of no use to anybody. */
  close(): void {
    if (this.#size === 0 && existsSync(this.path)) rmSync(this.path, { force: true })
    closeSync(this.#fd)
    this.#lock.release()
  }

  async #readBack(): Promise<void> {
    for await (const chunk of createReadStream(this.path, { highWaterMark: 1 << 20 })) {
      this.#hash.update(chunk)
      this.#size += chunk.length
    }
    this.inherited = this.#size
  }
}

/** Removes what broken downloads have left; those that go on are left alone. Returns the bytes that gives back. */
export async function removePartialBlobs(files: ImageFiles): Promise<number> {
  let bytes = 0
  for (const name of namesIfThere(files.partial)) {
    const path = join(files.partial, name)
    try {
      using _lock = await lockFile(path, { timeoutMs: 0 })
      bytes += statSync(path).size
      rmSync(path, { force: true })
    } catch (error) {
      if (!(error instanceof TsrunError && error.kind === 'unavailable')) throw error
    }
  }
  return bytes
}
