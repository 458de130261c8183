// The layers of an image, by all that they are called: blobs in its manifest, contents in its config.

import { chainIds } from '../../drivers/image/digest.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Descriptor, Digest, ImageConfig, ImageManifest } from '../../model/image.ts'

export interface ChainedLayer {
  /** Of the blob. */
  readonly descriptor: Descriptor
  readonly diffId: Digest
  readonly chainId: Digest
  /** Chain ids of the layers below, bottom first. */
  readonly below: readonly Digest[]
}

/** Bottom first. @throws TsrunError invalid when manifest and config do not speak of as many */
export function chainLayers(manifest: ImageManifest, config: ImageConfig): ChainedLayer[] {
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== manifest.layers.length)
    throw new TsrunError(
      'invalid',
      'invalid-image',
      `the image has ${manifest.layers.length} layers, but its config speaks of ${diffIds.length}`,
    )
  const chain = chainIds(diffIds)
  return manifest.layers.map((descriptor, index) => {
    const [diffId, chainId] = [diffIds[index], chain[index]]
    if (diffId === undefined || chainId === undefined) throw new Error('the chain of layers is too short')
    return { descriptor, diffId, chainId, below: chain.slice(0, index) }
  })
}
