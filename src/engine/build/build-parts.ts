// What the parts of one build share. Made in build-image.ts.

import { mkdirSync } from 'node:fs'
import type { BlobStore } from '../../drivers/image/blob-store.ts'
import type { LayerStore } from '../../drivers/image/layer-store.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import type { Descriptor, Digest, Platform } from '../../model/image.ts'
import type { ContainerService } from '../container/container-service.ts'
import type { EngineContext } from '../context.ts'
import type { ImageService } from '../image/image-service.ts'
import type { ImageStore } from '../image/image-store.ts'
import { makeLayerDirectories } from '../image/resolve-image.ts'
import type { BuildContext } from './build-context.ts'
import type { BuildOptions } from './build-types.ts'
import type { StepCache } from './step-cache.ts'
import type { StepLog } from './step-log.ts'

export interface BuildParts {
  readonly context: EngineContext
  readonly containers: ContainerService
  readonly images: ImageService
  readonly store: ImageStore
  readonly blobs: BlobStore
  readonly layers: LayerStore
  readonly cache: StepCache
  /** Work in progress; its end is the build's. */
  readonly staging: Staging
  /** The same for what must not be on a disk: below the state directory. */
  readonly secretStaging: Staging
  readonly options: BuildOptions
  readonly files: BuildContext
  readonly steps: StepLog
  readonly platform: Platform
  readonly epoch: number | undefined
  /** Aborted by the user, or when a stage has failed. */
  readonly signal: AbortSignal
  /** So many steps run at once. */
  readonly limit: <T>(task: () => Promise<T>) => Promise<T>
}

/** A layer of a stage, bottom first in lists. */
export interface StageLayer {
  readonly chainId: Digest
  readonly diffId: Digest
  /** Of its blob, as it is in a manifest. */
  readonly descriptor: Descriptor
}

/** Directories for overlayfs, top first; an empty one where there is no layer. */
export async function layerDirectories(parts: BuildParts, layers: readonly StageLayer[]): Promise<string[]> {
  const chain = layers.map(layer => layer.chainId)
  if (chain.length > 0) return makeLayerDirectories(parts.store, parts.staging, chain)
  const empty = parts.staging.temporary('scratch')
  mkdirSync(empty, { mode: 0o755 })
  return [empty]
}
