// The user's binds, volumes and tmpfs -> OCI mounts. Makes the folders that `-v` promises to make.

import { mkdirSync, statSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container, MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciMount } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'

/** @throws TsrunError not-found (bind source), invalid */
export async function prepareMounts(context: EngineContext, container: Container, undo: Undo): Promise<OciMount[]> {
  const mounts: OciMount[] = []
  for (const mount of container.spec.mounts ?? []) mounts.push(await toMount(context, container, mount, undo))
  return mounts
}

async function toMount(context: EngineContext, container: Container, mount: MountSpec, undo: Undo): Promise<OciMount> {
  const access = mount.readonly ? 'ro' : 'rw'
  if (mount.type === 'tmpfs') {
    const given = (mount.data ?? '').split(',').filter(Boolean)
    const options = ['nosuid', 'nodev', 'noexec', ...given, ...(mount.readonly ? ['ro'] : [])]
    return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options }
  }
  const source =
    mount.type === 'bind' ? bindSource(container, mount) : await context.volumes.directoryFor(container, mount, undo)
  // A volume's files have the container's ids on disk, so that containers with other users can share it.
  const isMapped = container.idMaps !== undefined && mount.type === 'volume'
  return {
    destination: mount.target,
    type: 'bind',
    source,
    options: ['rbind', access, mount.propagation ?? 'rprivate', ...(isMapped ? ['idmap'] : [])],
  }
}

function bindSource(container: Container, mount: MountSpec): string {
  try {
    statSync(mount.source)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    if (mount.createSource !== true)
      throw new TsrunError(
        'not-found',
        'bind-source',
        `cannot start "${container.name}": the bind source "${mount.source}" does not exist`,
        { hint: 'make it first, or use -v, which makes a folder of that name' },
      )
    mkdirSync(mount.source, { recursive: true, mode: 0o755 })
  }
  return mount.source
}
