// Volumes: named folders that outlive containers, `<root>/volumes/<name>/{volume.json,data}`.

import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { withLockNow } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { syncPath } from '../../lib/json-file.ts'
import type { Undo } from '../../lib/rollback.ts'
import { readJson, unlessDamaged, writeJson } from '../../lib/state-file.ts'
import type { Container, MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EventBus } from '../events.ts'
import { folderSize } from '../folder-size.ts'
import { assertName, newId } from '../ids.ts'
import type { Paths } from '../paths.ts'
import { type PruneFilter, passesPruneFilter } from '../prune-filter.ts'
import { fillVolume } from './fill-volume.ts'
import { draftPath, isDraft, sweepDrafts } from './volume-drafts.ts'
import { type VolumeContent, volumeContent } from './volume-options.ts'

/** A named folder that outlives containers. */
export interface Volume {
  readonly name: string
  readonly createdAt: string
  readonly labels: Readonly<Record<string, string>>
  /** Made for one container without a name; goes with it under `--rm`. */
  readonly anonymous: boolean
  /** docker's options of the `local` driver, as given: `type`, `device`, `o`. */
  readonly options?: Readonly<Record<string, string>>
  /** Host folder with the content; empty where that is memory. */
  readonly mountpoint: string
}

/** What a new volume is to be. */
export interface VolumeCreateOptions {
  /** Default: a random one, which makes it anonymous. */
  readonly name?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly anonymous?: boolean
  /**
   * `type=tmpfs` with `o=size=64m,mode=700`: memory, for each container its own while it runs; or `type=none`, `o=bind[,ro]` and
   * `device=/path`: a folder of the host.
   */
  readonly options?: Readonly<Record<string, string>>
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

  /**
   * Idempotent: an existing volume of that name is returned.
   * @throws TsrunError invalid, unsupported (type), conflict when the existing one has other options
   */
  create(options: VolumeCreateOptions = {}): Volume {
    const name = options.name ?? newId()
    assertName('volume', name)
    const wanted = options.options ?? {}
    const content = volumeContent(wanted)
    const existing = this.get(name)
    if (existing !== undefined) return assertSameOptions(existing, wanted)
    const own = `${this.#paths.volumes}/${name}/data`
    const volume: Volume = {
      name,
      createdAt: new Date().toISOString(),
      labels: options.labels ?? {},
      anonymous: options.anonymous ?? options.name === undefined,
      ...(content.kind === 'folder' ? {} : { options: wanted }),
      mountpoint: content.kind === 'bind' ? content.path : own,
    }
    sweepDrafts(this.#paths.volumes)
    const draft = draftPath(this.#paths.volumes)
    try {
      mkdirSync(`${draft}/data`, { recursive: true, mode: 0o755 })
      writeJson(`${draft}/volume.json`, volume, { durable: true })
      faultPoint('volume draft')
      renameSync(draft, `${this.#paths.volumes}/${name}`)
      syncPath(this.#paths.volumes)
      faultPoint('volume in place')
    } catch (error) {
      rmSync(draft, { recursive: true, force: true })
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
      // Somebody else was faster; or there is data whose record was lost, which is kept.
      const other = this.get(name)
      if (other !== undefined) return assertSameOptions(other, wanted)
      mkdirSync(own, { recursive: true, mode: 0o755 })
      writeJson(`${this.#paths.volumes}/${name}/volume.json`, volume, { durable: true })
    }
    this.#emit(name, 'create')
    return volume
  }

  /** Which volume a container's mount means, and where it is or will be on the host. */
  placeOf(container: Container, mount: MountSpec): { readonly name: string; readonly folder: string } {
    const name = volumeName(container.id, mount)
    return { name, folder: this.get(name)?.mountpoint ?? `${this.#paths.volumes}/${name}/data` }
  }

  /** Names of the containers that mount it. */
  usersOf(name: string): readonly string[] {
    return this.#usersOf(name)
  }

  /** The volume of that name; undefined where there is none. */
  get(name: string): Volume | undefined {
    return readJson<Volume>(`${this.#paths.volumes}/${name}/volume.json`, {
      name: 'text',
      mountpoint: 'text',
      labels: 'object',
    })
  }

  /** All volumes, by name, without those whose record is damaged: see unlessDamaged(). */
  list(): Volume[] {
    return namesIfThere(this.#paths.volumes)
      .filter(name => !isDraft(name))
      .sort()
      .flatMap(name => unlessDamaged(() => this.get(name)) ?? [])
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
    sweepDrafts(this.#paths.volumes)
    const volume = this.find(name)
    const users = this.#eraseUnused(volume.name)
    // Somebody else was faster.
    if (users === undefined) this.find(name)
    else if (users.length > 0)
      throw new TsrunError(
        'conflict',
        'volume-in-use',
        `cannot remove volume "${name}": ${users.join(', ')} mounts it`,
        {
          hint: `remove the container first: tsrun rm ${users[0] ?? ''}`,
        },
      )
  }

  /** Removes volumes that no container mounts and that pass the filter: the anonymous ones, or all. */
  prune(options: PruneFilter & { readonly all?: boolean } = {}): PrunedVolumes {
    const unused = this.list()
      .filter(volume => volume.anonymous || options.all === true)
      .filter(volume => this.#usersOf(volume.name).length === 0 && passesPruneFilter(volume, options))
    sweepDrafts(this.#paths.volumes)
    const names: string[] = []
    let reclaimedBytes = 0
    for (const { name } of unused) {
      const bytes = this.sizeOf(name)
      if (this.#eraseUnused(name)?.length !== 0) continue
      names.push(name)
      reclaimedBytes += bytes
    }
    this.#events.emit({
      type: 'volume',
      action: 'prune',
      id: '',
      name: '',
      attributes: { reclaimed: String(reclaimedBytes) },
    })
    return { names, reclaimedBytes }
  }

  /** Bytes on disk that go with the volume: nothing for memory and for a folder of the host. */
  sizeOf(name: string): number {
    return folderSize(`${this.#paths.volumes}/${name}/data`)
  }

  /**
   * @internal What is behind a container's volume mount, and the host folder with it. A missing volume is made; one that is empty is
   * filled from the image at the container's first start.
   */
  async contentFor(container: Container, mount: MountSpec, undo: Undo): Promise<[VolumeContent, folder: string]> {
    const { name } = this.placeOf(container, mount)
    // The container is on record: whoever removes volumes has seen it there, or has had this one out of its place before.
    const existing = this.#alone(() => this.get(name))
    const volume = existing ?? this.create({ name, anonymous: mount.source === '' })
    if (existing === undefined)
      undo.add('volume', () => void unlessDamaged(() => this.#eraseUnused(name, container.name)))
    const content = volumeContent(volume.options ?? {})
    if (content.kind === 'bind') assertFolder(container, content.path)
    if (content.kind === 'folder' && mount.noCopy !== true && container.startedAt === undefined) {
      const folder = `${this.#paths.volumes}/${name}`
      await fillVolume({ name, folder, layerDirs: container.image.layerDirs, path: mount.target })
    }
    return [content, volume.mountpoint]
  }

  /** @internal Removes those that no container mounts any more; another may have one with --volumes-from. */
  removeUnused(names: readonly string[]): void {
    // Where nobody can say whose it is, it stays.
    for (const name of names) unlessDamaged(() => this.#eraseUnused(name))
  }

  /** @param besides a container that does not count @returns who mounts it: then it stays; undefined where there is none */
  #eraseUnused(name: string, besides?: string): readonly string[] | undefined {
    const draft = draftPath(this.#paths.volumes)
    const users = this.#alone(() => {
      if (this.get(name) === undefined) return undefined
      const others = this.#usersOf(name).filter(user => user !== besides)
      if (others.length > 0) return others
      faultPoint('volume unused')
      // Out of its place at once: half a volume is never seen.
      renameSync(`${this.#paths.volumes}/${name}`, draft)
      return others
    })
    if (users?.length !== 0) return users
    faultPoint('volume taken out')
    rmSync(draft, { recursive: true, force: true })
    faultPoint('volume removed')
    this.#emit(name, 'destroy')
    return users
  }

  /** Runs `task` while nobody takes a volume out of its place. */
  #alone<T>(task: () => T): T {
    if (!existsSync(this.#paths.volumes)) return task()
    return withLockNow(this.#paths.volumes, task, 'the volumes')
  }

  #emit(name: string, action: string): void {
    this.#events.emit({ type: 'volume', action, id: name, name, attributes: { driver: 'local' } })
  }
}

function assertSameOptions(volume: Volume, wanted: Readonly<Record<string, string>>): Volume {
  const differs = Object.entries(wanted).find(([key, value]) => volume.options?.[key] !== value)
  if (differs === undefined) return volume
  throw new TsrunError(
    'conflict',
    'volume-exists',
    `cannot create volume "${volume.name}": it exists, with other options`,
    { hint: `choose another name, or remove it first: tsrun volume rm ${volume.name}` },
  )
}

function assertFolder(container: Container, path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return
  throw new TsrunError(
    'not-found',
    'volume-device',
    `cannot start "${container.name}": the device "${path}" of its volume is not a folder`,
    { hint: 'make the folder, or mount there what the volume is to hold' },
  )
}

/** Names of the anonymous volumes of a container. */
export function anonymousVolumesOf({ id, spec }: Container): string[] {
  const mounts = (spec.mounts ?? []).filter(mount => mount.type === 'volume' && mount.source === '')
  return mounts.map(mount => anonymousName(id, mount.target))
}

/** Which volume a mount of type `volume` means. */
export function volumeName(containerId: string, { source, target }: MountSpec): string {
  return source === '' ? anonymousName(containerId, target) : source
}

/** The same at every start of a container: 64 hex digits, as docker's anonymous volumes have. */
function anonymousName(containerId: string, target: string): string {
  return `${containerId.slice(0, 32)}${Buffer.from(target).toString('hex').slice(-32).padStart(32, '0')}`
}
