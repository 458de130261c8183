// Digests of content and of chains of layers.

import { createHash } from 'node:crypto'
import type { Digest } from '../../model/image.ts'

/** sha256 of some bytes. */
export function sha256(bytes: Buffer | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** The chain id of each layer, bottom first: a layer on top of all below it (image-spec config.md, "Layer ChainID"). */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = []
  for (const diffId of diffIds) {
    const below = chain.at(-1)
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`))
  }
  return chain
}
