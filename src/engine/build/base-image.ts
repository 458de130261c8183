// The image that a stage begins with, or that COPY --from names: pulled when it is not here, and kept from being removed until the
// build has ended.

import { keep } from '../../drivers/image/keep.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Platform } from '../../model/image.ts'
import type { ImageRecord } from '../image/image-store.ts'
import { asOci, parseManifest } from '../image/manifest.ts'
import type { BuildParts, StageLayer } from './build-parts.ts'
import type { StepReport } from './step-log.ts'

export interface BaseImage {
  readonly record: ImageRecord
  readonly layers: readonly StageLayer[]
}

/** @throws TsrunError not-found, denied, unavailable */
export async function findBaseImage(
  parts: BuildParts,
  reference: string,
  { platform, step }: { readonly platform: Platform; readonly step: StepReport },
): Promise<BaseImage> {
  let isFresh = false
  for (;;) {
    parts.signal.throwIfAborted()
    if (!isFresh && (parts.options.pull === true || !(await isHere(parts, reference, platform)))) {
      const { signal } = parts
      await parts.images.pull(reference, { platform, signal, onProgress: event => step.pull(event) })
      isFresh = true
    }
    const { manifestDigest } = await parts.images.resolve(reference)
    const record = parts.store.record(manifestDigest)
    if (record === undefined) continue
    const kept = [record.id, manifestDigest, ...record.layers.flatMap(layer => [layer.digest, layer.chainId])]
    await keep(parts.store.files, parts.staging, kept)
    // Somebody may have removed it before it was kept.
    if (parts.store.record(manifestDigest) === undefined || !parts.store.isComplete(record)) continue
    return { record, layers: layersOf(parts, record) }
  }
}

async function isHere(parts: BuildParts, reference: string, platform: Platform): Promise<boolean> {
  try {
    const { config } = await parts.images.resolve(reference)
    return config.os === platform.os && config.architecture === platform.architecture
  } catch (error) {
    if (error instanceof TsrunError && error.code === 'no-such-image') return false
    throw error
  }
}

function layersOf(parts: BuildParts, record: ImageRecord): StageLayer[] {
  const manifest = parseManifest(parts.blobs.read(record.manifest.digest))
  return record.layers.map(({ chainId, diffId }, index) => {
    const descriptor = manifest.layers[index]
    if (descriptor === undefined) throw new Error('the manifest has fewer layers than the image')
    return { chainId, diffId, descriptor: asOci(descriptor) }
  })
}
