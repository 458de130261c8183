// One blob from a registry into the store: continued where an earlier try stopped, verified while it comes in, and given its name
// when all of it is there and right.

import { TsrunError } from '../../../model/errors.ts'
import type { Descriptor } from '../../../model/image.ts'
import type { BlobStore } from '../blob-store.ts'
import type { ImageFiles } from '../image-files.ts'
import type { Staging } from '../staging.ts'
import { PartialBlob } from './partial-blob.ts'
import type { BlobPart } from './registry-client.ts'
import { maxAttempts, pauseBefore } from './retry.ts'
import { TransportError } from './transport-error.ts'

export interface BlobDownload {
  readonly files: ImageFiles
  readonly blobs: BlobStore
  readonly staging: Staging
  /** What is wanted; its digest is kept by `staging`. */
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>
  /** Opens the blob at `start`, or at 0. */
  readonly open: (start: number) => Promise<BlobPart>
  readonly signal?: AbortSignal
  /** Told of each chunk, with the bytes that are there. */
  readonly onProgress?: (bytes: number) => void
}

/** @returns the bytes that were fetched @throws TsrunError invalid (digest, size), RegistryError, TransportError */
export async function downloadBlob(download: BlobDownload): Promise<number> {
  const { files, blobs, staging, descriptor, signal } = download
  const partial = await PartialBlob.open(files, descriptor.digest, signal)
  try {
    // Whoever had it before may have brought it to its end.
    if (blobs.has(descriptor)) return 0
    let fetched = 0
    for (;;) {
      if (partial.size > descriptor.size) partial.reset()
      const before = partial.size
      download.onProgress?.(before)
      await fill(partial, download)
      fetched += partial.size - before
      const digest = partial.digest()
      if (digest === descriptor.digest) break
      // A crash may have left what was never written: only what was fetched in one go speaks against the registry.
      const isOwnWork = partial.inherited === 0
      partial.reset()
      if (isOwnWork)
        throw new TsrunError(
          'invalid',
          'digest-mismatch',
          `the registry gives ${digest} where ${descriptor.digest} was expected`,
          { hint: 'the registry, or something on the way, has changed the content: do not trust it' },
        )
    }
    await blobs.adopt(staging, partial.path, descriptor.digest)
    return fetched
  } finally {
    partial.close()
  }
}

/** Fetches what is missing. Attempts that bring something do not count. */
async function fill(partial: PartialBlob, { descriptor, open, signal, onProgress }: BlobDownload): Promise<void> {
  const { digest, size } = descriptor
  let failures = 0
  while (partial.size < size) {
    try {
      const { start, body } = await open(partial.size)
      if (start !== partial.size) partial.reset()
      for await (const chunk of body) {
        if (partial.size + chunk.length > size) {
          partial.reset()
          throw new TsrunError(
            'invalid',
            'size-mismatch',
            `the registry gives more than the ${size} bytes of ${digest}`,
          )
        }
        partial.append(chunk)
        failures = 0
        onProgress?.(partial.size)
      }
      if (partial.size < size)
        throw new TsrunError(
          'invalid',
          'size-mismatch',
          `the registry gives ${partial.size} bytes of ${digest}, which has ${size}`,
        )
    } catch (error) {
      signal?.throwIfAborted()
      if (
        !(error instanceof TransportError) ||
        !(error.mayPass || error.kind === 'refused') ||
        ++failures >= maxAttempts
      )
        throw error
      await pauseBefore(failures, signal)
    }
  }
}
