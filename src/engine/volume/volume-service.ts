// Volumes: named folders that outlive containers, `<root>/volumes/<name>/{volume.json,data}`.

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import type { Undo } from '../../lib/rollback.ts'
import { readJson, writeJson } from '../../lib/state-file.ts'
import type { Container, MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EventBus } from '../events.ts'
import { folderSize } from '../folder-size.ts'
import { assertName, newId } from '../ids.ts'
import type { Paths } from '../paths.ts'
import { type PruneFilter, passesPruneFilter } from '../prune-filter.ts'
import { copyUp } from './copy-up.ts'

/** A named folder that outlives containers. */
export interface Volume {
  readonly name: string
  readonly createdAt: string
  readonly labels: Readonly<Record<string, string>>
  /** Made for one container without a name; goes with it under `--rm`. */
  readonly anonymous: boolean
  /** Host folder with the content. */
  readonly mountpoint: string
}

/** What a prune of volumes took away. */
export interface PrunedVolumes {
  readonly names: readonly string[]
  readonly reclaimedBytes: number
}

/** The verbs of volumes. */
export class VolumeService {
  readonly #paths: Paths
  readonly #events: EventBus
  readonly #usersOf: (name: string) => readonly string[]

  /** @internal @param usersOf names of the containers that mount a volume */
  constructor(paths: Paths, usersOf: (name: string) => readonly string[], events: EventBus) {
    this.#paths = paths
    this.#events = events
    this.#usersOf = usersOf
  }

  /** Idempotent: an existing volume of that name is returned. @throws TsrunError invalid */
  create(options: { name?: string; labels?: Readonly<Record<string, string>>; anonymous?: boolean } = {}): Volume {
    const name = options.name ?? newId()
    assertName('volume', name)
    const existing = this.get(name)
    if (existing !== undefined) return existing
    const volume: Volume = {
      name,
      createdAt: new Date().toISOString(),
      labels: options.labels ?? {},
      anonymous: options.anonymous ?? options.name === undefined,
      mountpoint: `${this.#paths.volumes}/${name}/data`,
    }
    mkdirSync(volume.mountpoint, { recursive: true, mode: 0o755 })
    writeJson(`${this.#paths.volumes}/${name}/volume.json`, volume, { durable: true })
    this.#emit(name, 'create')
    return volume
  }

  /** Which volume a container's mount means, and where it is or will be on the host. */
  placeOf(container: Container, mount: MountSpec): { readonly name: string; readonly folder: string } {
    const name = mount.source === '' ? anonymousName(container.id, mount.target) : mount.source
    return { name, folder: `${this.#paths.volumes}/${name}/data` }
  }

  /** Names of the containers that mount it. */
  usersOf(name: string): readonly string[] {
    return this.#usersOf(name)
  }

  /** The volume of that name; undefined where there is none. */
  get(name: string): Volume | undefined {
    return readJson<Volume>(`${this.#paths.volumes}/${name}/volume.json`)
  }

  /** All volumes, by name. */
  list(): Volume[] {
    try {
      return readdirSync(this.#paths.volumes)
        .sort()
        .flatMap(name => this.get(name) ?? [])
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  }

  /** @throws TsrunError not-found */
  find(name: string): Volume {
    const volume = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) ? this.get(name) : undefined
    if (volume !== undefined) return volume
    throw new TsrunError('not-found', 'no-such-volume', `no such volume: "${name}"`, {
      hint: '`tsrun volume ls` lists them',
    })
  }

  /** @throws TsrunError not-found, conflict when a container mounts it */
  remove(name: string): void {
    const volume = this.find(name)
    const users = this.#usersOf(volume.name)
    if (users.length > 0)
      throw new TsrunError(
        'conflict',
        'volume-in-use',
        `cannot remove volume "${name}": ${users.join(', ')} mounts it`,
        {
          hint: `remove the container first: tsrun rm ${users[0] ?? ''}`,
        },
      )
    this.#erase(volume.name)
  }

  /** Removes volumes that no container mounts and that pass the filter: the anonymous ones, or all. */
  prune(options: PruneFilter & { readonly all?: boolean } = {}): PrunedVolumes {
    const unused = this.list()
      .filter(volume => volume.anonymous || options.all === true)
      .filter(volume => this.#usersOf(volume.name).length === 0 && passesPruneFilter(volume, options))
    let reclaimedBytes = 0
    for (const { name, mountpoint } of unused) {
      reclaimedBytes += folderSize(mountpoint)
      this.#erase(name)
    }
    this.#events.emit({
      type: 'volume',
      action: 'prune',
      id: '',
      name: '',
      attributes: { reclaimed: String(reclaimedBytes) },
    })
    return { names: unused.map(({ name }) => name), reclaimedBytes }
  }

  /** @internal The host folder behind a container's volume mount; a missing volume is made, a new one filled from the image. */
  async directoryFor(container: Container, mount: MountSpec, undo: Undo): Promise<string> {
    const name = mount.source === '' ? anonymousName(container.id, mount.target) : mount.source
    const existing = this.get(name)
    if (existing !== undefined) return existing.mountpoint
    const volume = this.create({ name, anonymous: mount.source === '' })
    undo.add('volume', () => this.#erase(name))
    if (mount.noCopy !== true) await copyUp(container.image.layerDirs, mount.target, volume.mountpoint)
    return volume.mountpoint
  }

  /** @internal Removes the anonymous volumes of a container that is being removed. */
  removeAnonymousOf(container: Container): void {
    for (const mount of container.spec.mounts ?? []) {
      if (mount.type !== 'volume' || mount.source !== '') continue
      const name = anonymousName(container.id, mount.target)
      // Another container may have it with --volumes-from.
      if (this.#usersOf(name).length === 0) this.#erase(name)
    }
  }

  #erase(name: string): void {
    if (this.get(name) === undefined) return
    rmSync(`${this.#paths.volumes}/${name}`, { recursive: true, force: true })
    this.#emit(name, 'destroy')
  }

  #emit(name: string, action: string): void {
    this.#events.emit({ type: 'volume', action, id: name, name, attributes: { driver: 'local' } })
  }
}

/** The same at every start of a container: 64 hex digits, as docker's anonymous volumes have. */
export function anonymousName(containerId: string, target: string): string {
  return `${containerId.slice(0, 32)}${Buffer.from(target).toString('hex').slice(-32).padStart(32, '0')}`
}
