// `system prune`: all that nobody uses, in the order in which one thing frees the next.

import { noteLeftOut, unlessDamaged } from '../lib/state-file.ts'
import type { PruneBuildsOptions, PrunedBuilds } from './build/build-usage.ts'
import type { ContainerService } from './container/container-service.ts'
import type { ImageService } from './image/image-service.ts'
import type { RemovedImages } from './image/remove-image.ts'
import type { NetworkService } from './network/network-service.ts'
import type { PruneFilter } from './prune-filter.ts'
import type { VolumeService } from './volume/volume-service.ts'

/** What `engine.prune()` may take away besides stopped containers, unused networks, dangling images and what only builds keep. */
export interface PruneOptions extends PruneFilter {
  /** All images that no container uses, not only those without a name, and all that builds keep. Default false. */
  readonly allImages?: boolean
  /** Anonymous volumes that no container mounts. Default false. */
  readonly volumes?: boolean
}

/** What a prune has taken away. */
export interface Pruned {
  /** Ids. */
  readonly containers: readonly string[]
  /** Names. */
  readonly networks: readonly string[]
  /** Names. */
  readonly volumes: readonly string[]
  /** Undefined where a damaged record left them alone. */
  readonly images: RemovedImages | undefined
  /** Undefined where a filter by label left the build cache alone (it has none), or a damaged record. */
  readonly builds: PrunedBuilds | undefined
  /** Of containers, volumes, images and builds. */
  readonly reclaimedBytes: number
}

/** The services of an engine. */
interface Services {
  readonly containers: ContainerService
  readonly networks: NetworkService
  readonly volumes: VolumeService
  readonly images: ImageService
  reconcile(): Promise<void>
  pruneBuilds(options: PruneBuildsOptions): Promise<PrunedBuilds>
}

/**
 * Also takes back what crashes have left behind. Where the record of a container is damaged nobody knows what it needs: what it
 * might is left alone, see Engine.damagedFiles().
 */
export async function pruneEverything(engine: Services, options: PruneOptions): Promise<Pruned> {
  const { allImages = false, volumes = false, ...filter } = options
  await engine.reconcile()
  const containers = await engine.containers.prune(filter)
  const networks = (await engine.networks.prune(filter).catch(noteLeftOut)) ?? []
  const removedVolumes = (volumes ? unlessDamaged(() => engine.volumes.prune(filter)) : undefined) ?? {
    names: [],
    reclaimedBytes: 0,
  }
  const isByLabel = (filter.labels ?? []).length > 0 || (filter.withoutLabels ?? []).length > 0
  const until = filter.until === undefined ? {} : { until: new Date(filter.until) }
  const images = await engine.images.prune({ all: allImages, ...filter }).catch(noteLeftOut)
  // After the images: what only a removed one had is in use no more.
  const builds = isByLabel
    ? undefined
    : await engine.pruneBuilds({ keepOfImages: !allImages, ...until }).catch(noteLeftOut)
  return {
    containers: containers.removed.map(({ id }) => id),
    networks,
    volumes: removedVolumes.names,
    images,
    builds,
    reclaimedBytes:
      containers.reclaimedBytes +
      removedVolumes.reclaimedBytes +
      (images?.reclaimedBytes ?? 0) +
      (builds?.reclaimedBytes ?? 0),
  }
}
