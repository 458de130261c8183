// What work in progress needs is told to those who remove.

import type { Digest } from '../../model/image.ts'
import type { ImageFiles } from './image-files.ts'
import type { Staging } from './staging.ts'
import { lockStore } from './store-lock.ts'

/**
 * Makes sure that no removal that goes on at the same time takes these blobs and layers. Only what is there afterwards, or comes then,
 * is safe: a removal under way has looked already at what is kept.
 */
export async function keep(files: ImageFiles, staging: Staging, digests: readonly Digest[]): Promise<void> {
  const unlock = await lockStore(files.lock, 'shared')
  try {
    for (const digest of digests) staging.keep(digest)
  } finally {
    unlock()
  }
}
