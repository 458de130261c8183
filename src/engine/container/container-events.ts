// Events of containers carry docker's attributes: labels, image, name, and what the action adds.

import type { Container } from '../../model/container.ts'
import type { Network } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import type { EventBus } from '../events.ts'

/** Emits one. @param attributes what the action adds, e.g. `exitCode` of `die` */
export function emitContainer(
  context: { readonly events: EventBus },
  container: Container,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): void {
  context.events.emit({
    type: 'container',
    action,
    id: container.id,
    name: container.name,
    attributes: {
      ...container.spec.labels,
      ...attributes,
      image: container.image.reference,
      name: container.name,
    },
  })
}

/** Its volumes are mounted, or not any more. */
export function emitMounts(
  context: Pick<EngineContext, 'events' | 'volumes'>,
  container: Container,
  action: 'mount' | 'unmount',
): void {
  for (const mount of container.spec.mounts ?? []) {
    if (mount.type !== 'volume') continue
    const { name } = context.volumes.placeOf(container, mount)
    const attributes = {
      container: container.id,
      driver: 'local',
      ...(action === 'mount'
        ? { destination: mount.target, 'read/write': String(!mount.readonly), propagation: '' }
        : {}),
    }
    context.events.emit({ type: 'volume', action, id: name, name, attributes })
  }
}

/** A container has joined a network, or left it. */
export function emitConnection(
  context: { readonly events: EventBus },
  container: Container,
  { id, name, driver }: Network,
  action: 'connect' | 'disconnect',
): void {
  const attributes = { container: container.id, name, type: driver }
  context.events.emit({ type: 'network', action, id, name, attributes })
}
