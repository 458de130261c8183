// What builds keep for the next ones: how much it is, and how it goes.

import { join } from 'node:path'
import { ImageFiles } from '../../drivers/image/image-files.ts'
import { Staging } from '../../drivers/image/staging.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import type { EngineContext } from '../context.ts'
import type { UsageLine } from '../disk-usage.ts'
import { folderSize } from '../folder-size.ts'
import type { ImageService } from '../image/image-service.ts'
import { ImageStore } from '../image/image-store.ts'
import { pruneCaches } from './cache-mounts.ts'
import { StepCache } from './step-cache.ts'

/** Which of the build cache goes. */
export interface PruneBuildsOptions {
  /** Only steps that no build has used since then; the directories of cache mounts stay. */
  readonly until?: Date
  /** Leaves the steps whose layer some image has, and those without one: only what takes up space goes. Default false. */
  readonly keepOfImages?: boolean
}

/** What a prune of the build cache took away. */
export interface PrunedBuilds {
  readonly steps: number
  readonly cacheMounts: number
  readonly reclaimedBytes: number
}

/** Forgets steps, and removes the layers that only they needed and the directories of cache mounts that no step uses. */
export async function pruneBuilds(
  context: EngineContext,
  images: ImageService,
  { until, keepOfImages = false }: PruneBuildsOptions = {},
): Promise<PrunedBuilds> {
  const cache = new StepCache(join(context.paths.build, 'steps'))
  const kept = keepOfImages ? layersOfImages(context) : new Set<string>()
  cache.sweep()
  const going = cache
    .list()
    .filter(({ usedAt }) => until === undefined || usedAt < until)
    .filter(({ step }) => !keepOfImages || (step.layer !== undefined && !kept.has(step.layer.chainId)))
  for (const { step } of going) cache.remove(step.key)
  let bytes = 0
  const measure = (directory: string) => {
    bytes += folderSize(directory)
  }
  const cacheMounts = until === undefined ? await pruneMounts(context, measure) : 0
  // No image is that old: only what nobody needs goes.
  const { reclaimedBytes } = await images.prune({ until: new Date(0).toISOString() })
  return { steps: going.length, cacheMounts, reclaimedBytes: reclaimedBytes + bytes }
}

async function pruneMounts(context: EngineContext, measure: (directory: string) => void): Promise<number> {
  const files = new ImageFiles(context.paths.root)
  files.create()
  const staging = Staging.open(files.staging, false)
  try {
    return pruneCaches(join(context.paths.build, 'mounts'), staging, measure)
  } finally {
    await staging.close()
  }
}

/** The line of `system df`: steps and cache mounts; layers that are an image's as well count there. */
export function measureBuilds(context: EngineContext): UsageLine {
  const ofImages = layersOfImages(context)
  const steps = new StepCache(join(context.paths.build, 'steps')).list()
  const own = new Map<string, number>()
  for (const { step } of steps)
    if (step.layer !== undefined && !ofImages.has(step.layer.chainId)) own.set(step.layer.chainId, step.layer.size)
  const mounts = join(context.paths.build, 'mounts')
  const ids = namesIfThere(mounts)
  const sizeBytes = [...own.values()].reduce((sum, size) => sum + size, 0) + folderSize(mounts)
  return {
    type: 'Build Cache',
    total: steps.length + ids.length,
    active: steps.filter(({ step }) => step.layer !== undefined && ofImages.has(step.layer.chainId)).length,
    sizeBytes,
    reclaimableBytes: sizeBytes,
  }
}

/** Chain ids of the layers that images have. */
function layersOfImages(context: EngineContext): Set<string> {
  const store = new ImageStore(new ImageFiles(context.paths.root))
  return new Set(store.records().flatMap(record => record.layers.map(layer => layer.chainId)))
}
