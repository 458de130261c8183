// What containers, volumes and images take up on disk.

import { unlessDamaged } from '../lib/state-file.ts'
import type { EngineContext } from './context.ts'
import { folderSize } from './folder-size.ts'
import type { ImageUsage } from './image/list-images.ts'

/** One kind of thing. */
export interface UsageLine {
  readonly type: 'Images' | 'Containers' | 'Local Volumes' | 'Build Cache'
  readonly total: number
  readonly active: number
  readonly sizeBytes: number
  readonly reclaimableBytes: number
}

/** Images, containers and volumes. */
export function measureUsage(context: EngineContext, images: ImageUsage): UsageLine[] {
  const containers = context.store.list().map(({ id }) => {
    const status = unlessDamaged(() => context.store.state(id).status)
    const active = status === 'running' || status === 'paused' || status === 'restarting'
    return { active, size: folderSize(context.paths.containerFile(id, 'upper')) }
  })
  const volumes = context.volumes.list().map(({ name }) => {
    return {
      active: (unlessDamaged(() => context.volumes.usersOf(name).length) ?? 1) > 0,
      size: context.volumes.sizeOf(name),
    }
  })
  return [
    {
      type: 'Images',
      total: images.images,
      active: images.active,
      sizeBytes: images.totalBytes,
      reclaimableBytes: images.reclaimableBytes,
    },
    { type: 'Containers', ...sum(containers) },
    { type: 'Local Volumes', ...sum(volumes) },
  ]
}

function sum(items: readonly { readonly active: boolean; readonly size: number }[]): Omit<UsageLine, 'type'> {
  const size = (list: typeof items) => list.reduce((total, item) => total + item.size, 0)
  const idle = items.filter(item => !item.active)
  return {
    total: items.length,
    active: items.length - idle.length,
    sizeBytes: size(items),
    reclaimableBytes: size(idle),
  }
}
