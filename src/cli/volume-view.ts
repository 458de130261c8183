// A volume under docker's field names.

import type { Volume } from '../engine/volume/volume-service.ts'

/** The object that `docker volume inspect` prints. */
export function inspectVolume(volume: Volume): Record<string, unknown> {
  return {
    CreatedAt: volume.createdAt,
    Driver: 'local',
    Labels: volume.labels,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: volume.options ?? null,
    Scope: 'local',
  }
}
