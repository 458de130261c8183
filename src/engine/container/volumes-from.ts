// `--volumes-from`: the binds and volumes of other containers, named so that they mean the same here.

import type { ContainerSpec, MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { volumeName } from '../volume/volume-service.ts'
import type { ContainerStore } from './container-store.ts'

/** @throws TsrunError not-found, invalid (mode) */
export function mountsFrom(store: ContainerStore, spec: ContainerSpec): MountSpec[] {
  return (spec.volumesFrom ?? []).flatMap(text => {
    const [reference = '', mode, ...more] = text.split(':')
    if (more.length > 0 || (mode !== undefined && mode !== 'ro' && mode !== 'rw'))
      throw new TsrunError('invalid', 'volumes-from', `invalid value "${text}" for --volumes-from`, {
        hint: 'CONTAINER, CONTAINER:ro or CONTAINER:rw',
      })
    const other = store.find(reference)
    return (other.spec.mounts ?? [])
      .filter(mount => mount.type !== 'tmpfs')
      .map(mount => ({
        ...mount,
        ...(mount.type === 'volume' ? { source: volumeName(other.id, mount) } : {}),
        readonly: mount.readonly || mode === 'ro',
      }))
  })
}
