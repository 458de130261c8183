// What the verbs of images take, and what some give back.

import type { UnpackLimits } from '../../drivers/image/unpack-limits.ts'
import type { ContainerDefaults, Digest, Platform } from '../../model/image.ts'
import type { EventBus } from '../events.ts'
import type { ImageUser } from './remove-image.ts'

export interface ImageServiceOptions {
  /** The engine's root: images, layers and staging go below it. */
  readonly root: string
  /** OCI image layouts that came with tsrun, `<embeddedDir>/<name>`. */
  readonly embeddedDir?: string
  /** Chain ids or directories of the layers that containers need: never removed. */
  readonly layersInUse?: () => Promise<ReadonlySet<string>>
  /** The containers, for the errors of remove() and for prune(). */
  readonly users?: () => Promise<readonly ImageUser[]>
  /** Told what happens to images. */
  readonly events?: EventBus
  /** How much a layer may ask for; see unpack-limits.ts for the defaults. */
  readonly limits?: Partial<UnpackLimits>
}

/** What load() brought in. */
export interface LoadedImageSummary {
  readonly id: Digest
  /** Short forms; empty for an image without a name. */
  readonly names: readonly string[]
}

/** How an archive is read. */
export interface LoadImagesOptions {
  /** Default: this machine's. */
  readonly platform?: Platform
  readonly signal?: AbortSignal
}

/** How a root file system becomes an image. */
export interface ImportImageOptions {
  /** Name for the new image. */
  readonly reference?: string
  /** Dockerfile instructions for the config, e.g. `CMD ["sh"]`. */
  readonly changes?: readonly string[]
  readonly message?: string
  readonly platform?: Platform
  readonly signal?: AbortSignal
}

export interface CommitImageOptions {
  /** The image the container was made of: an id or a name. */
  readonly base: string
  /** What the container has changed, as tar. */
  readonly layer: AsyncIterable<Buffer>
  readonly reference?: string
  readonly changes?: readonly string[]
  /** The container's own defaults, where they differ from the image's. */
  readonly defaults?: ContainerDefaults
  readonly message?: string
  readonly author?: string
  /** What the history says; default: the command of the container. */
  readonly createdBy?: string
}
