// spec + image -> record. Everything a user can get wrong is found here, before a container exists.

import { chmodSync, chownSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { withRollback } from '../../lib/rollback.ts'
import { mark } from '../../lib/trace.ts'
import type { Container, ContainerSpec, MountSpec, NetworkAttachment, ProcessSpec } from '../../model/container.ts'
import { checkDriversOptions } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IdMaps } from '../../model/id-maps.ts'
import type { ImageConfig } from '../../model/image.ts'
import type { PortMapping } from '../../model/network.ts'
import { toPortMapping } from '../../model/port-request.ts'
import type { EngineContext } from '../context.ts'
import { assertName, inventName, newId, printable } from '../ids.ts'
import { staticIps } from '../network/plan-endpoints.ts'
import { reserveStatic, withNames } from '../network/reservations.ts'
import type { ContainerStore } from './container-store.ts'
import { mergeHealthcheck } from './merge-healthcheck.ts'
import { assertMountTargets } from './mount-targets.ts'
import { assertValidSpec } from './validate-spec.ts'
import { mountsFrom } from './volumes-from.ts'

/** What of an image a container needs. */
export interface ImageForContainer {
  readonly reference: string
  readonly id: string
  readonly layerDirs: readonly string[]
  readonly config: ImageConfig
}

export type CreateParts = Pick<
  EngineContext,
  'paths' | 'store' | 'journal' | 'locks' | 'networks' | 'drivers' | 'ipam' | 'usernsRemap' | 'retryAfterReconcile'
>

/** How a container is made. */
interface CreateContainerOptions {
  /** This process starts or removes it next; until then no prune takes it away. Default false. */
  readonly isToStart?: boolean
}

/** @throws TsrunError invalid, conflict (name taken) */
export async function createContainer(
  parts: CreateParts,
  spec: ContainerSpec,
  image: ImageForContainer,
  options: CreateContainerOptions = {},
): Promise<Container> {
  assertValidSpec(spec)
  if (!mayMapIds(parts, spec)) return create(parts, spec, image, options)
  const { chooseIdMaps, takesIds } = await import('../userns/choose-id-maps.ts')
  const { store, usernsRemap } = parts
  const sources = { usernsRemap, containers: () => store.all(), find: (name: string) => store.find(name) }
  const choose = () => {
    const idMaps = chooseIdMaps(sources, spec)
    return create(parts, spec, image, idMaps === undefined ? options : { ...options, idMaps })
  }
  return takesIds(spec) ? parts.locks.withIds(choose) : choose()
}

/** Whether its users may be others than those of the host. */
function mayMapIds({ usernsRemap }: CreateParts, spec: ContainerSpec): boolean {
  if (usernsRemap !== undefined || spec.userns !== undefined) return true
  if (spec.uidMappings?.length || spec.gidMappings?.length) return true
  const modes = [spec.networks?.[0]?.network, spec.pidMode, spec.ipcMode, spec.utsMode]
  return modes.some(mode => mode?.startsWith('container:'))
}

async function create(
  parts: CreateParts,
  spec: ContainerSpec,
  image: ImageForContainer,
  { isToStart = false, idMaps }: CreateContainerOptions & { readonly idMaps?: IdMaps },
): Promise<Container> {
  if (spec.name !== undefined) assertName('container', spec.name)
  if (spec.autoRemove === true && spec.restart !== undefined && spec.restart.name !== 'no')
    throw new TsrunError('invalid', 'restart-and-remove', 'cannot create a container that is removed and restarted', {
      hint: 'choose one of --rm and --restart',
    })
  const process = mergeProcess(spec, image.config)
  if (process.args.length === 0)
    throw new TsrunError(
      'invalid',
      'no-command',
      `cannot create a container of "${spec.image}": the image has no command and none was given`,
      {
        hint: `name one: tsrun run ${spec.image} COMMAND`,
      },
    )
  const healthcheck = mergeHealthcheck(spec.healthcheck, image.config.config?.Healthcheck)
  const mounts = withImageVolumes(withMounts(spec.mounts ?? [], mountsFrom(parts.store, spec)), image.config)
  assertMountTargets(mounts)
  if (!process.cwd.startsWith('/') || process.cwd.includes('\0'))
    throw new TsrunError(
      'invalid',
      'workdir',
      `cannot create a container: the working directory "${printable(process.cwd)}" is not an absolute path`,
      {
        hint: 'it is a path inside the container and begins with /, e.g. -w /srv',
      },
    )
  for (const attachment of spec.networks ?? []) await checkOptions(parts, attachment)
  const id = newId()
  mark('image resolved')
  const { paths, store } = parts
  const job = parts.journal.begin('container', id)
  return withRollback(async undo => {
    mkdirSync(paths.container(id), { recursive: true, mode: 0o700 })
    undo.add('container folder', () => rmSync(paths.container(id), { recursive: true, force: true }))
    makeUpper(paths.containerFile(id, 'upper'), image.layerDirs[0])
    mkdirSync(paths.containerFile(id, 'work'), { mode: 0o700 })
    const name = takeName(store, spec.name, id)
    undo.add('container name', () => store.releaseName(name, id))
    const container: Container = {
      id,
      name,
      createdAt: new Date().toISOString(),
      image: { reference: image.reference, id: image.id, layerDirs: image.layerDirs },
      process,
      spec: {
        ...spec,
        labels: { ...image.config.config?.Labels, ...spec.labels },
        mounts,
      },
      ...(idMaps === undefined ? {} : { idMaps }),
      ...(healthcheck === undefined ? {} : { healthcheck }),
      ...commandOf(spec, image.config),
      ...(image.config.config?.Shell?.length ? { shell: image.config.config.Shell } : {}),
      exposed: Object.keys(image.config.config?.ExposedPorts ?? {}),
      ports: resolvePorts(spec, image.config),
      stopSignal: spec.stopSignal ?? image.config.config?.StopSignal ?? 'SIGTERM',
    }
    store.write(container)
    undo.add('container record', () => {})
    // Behind the record: an address whose owner has none counts as left over.
    for (const attachment of spec.networks ?? [])
      if (staticIps(attachment).length > 0)
        await reserveStatic(parts, container, attachment, undo).catch((error: unknown) => {
          throw withNames(parts, error)
        })
    return container
  }).then(
    container => {
      if (isToStart) job.handOn()
      else job.end()
      return container
    },
    (error: unknown) => {
      job.end()
      throw error
    },
  )
}

/** A network that there is not yet, or whose driver has gone, is passed over: the start asks again. @throws TsrunError invalid */
async function checkOptions({ networks, drivers }: CreateParts, attachment: NetworkAttachment): Promise<void> {
  if (attachment.driverOptions === undefined) return
  const network = networks.named(attachment.network)
  if (network === undefined) return
  checkDriversOptions(network, (await drivers(network.driver)).driver, attachment.driverOptions)
}

/** overlayfs shows the upper folder's owner and mode as those of `/`: they must be the image's. */
function makeUpper(path: string, topLayer: string | undefined): void {
  mkdirSync(path)
  if (topLayer === undefined) return
  const { uid, gid, mode } = statSync(topLayer)
  if (uid !== 0 || gid !== 0) chownSync(path, uid, gid)
  chmodSync(path, mode & 0o7777)
}

function takeName(store: ContainerStore, wanted: string | undefined, id: string): string {
  if (wanted !== undefined) {
    store.reserveName(wanted, id)
    return wanted
  }
  for (let attempt = 0; ; attempt += 1) {
    const name = attempt < 5 ? inventName() : `${inventName()}_${id.slice(0, 4)}`
    try {
      store.reserveName(name, id)
      return name
    } catch (error) {
      if (attempt > 8 || !(error instanceof TsrunError)) throw error
    }
  }
}

/** As docker: a new entrypoint also drops the image's command. */
function commandOf(
  spec: ContainerSpec,
  { config = {} }: ImageConfig,
): Required<Pick<Container, 'entrypoint' | 'command'>> {
  return {
    entrypoint: spec.entrypoint ?? config.Entrypoint ?? [],
    command: spec.command ?? (spec.entrypoint === undefined ? (config.Cmd ?? []) : []),
  }
}

function mergeProcess(spec: ContainerSpec, config: ImageConfig): ProcessSpec {
  const image = config.config ?? {}
  const { entrypoint, command } = commandOf(spec, config)
  return {
    args: [...entrypoint, ...command],
    env: mergeEnv(image.Env ?? [], spec.env ?? []),
    cwd: spec.workingDir ?? (image.WorkingDir || '/'),
    user: spec.user ?? image.User ?? '',
  }
}

/** Later entries win; the first place of a key is kept. */
function mergeEnv(base: readonly string[], own: readonly string[]): string[] {
  const merged = new Map<string, string>()
  for (const entry of [...base, ...own]) merged.set(entry.split('=', 1)[0] ?? entry, entry)
  return [...merged.values()]
}

function withImageVolumes(mounts: readonly MountSpec[], config: ImageConfig): MountSpec[] {
  const volumes = Object.keys(config.config?.Volumes ?? {}).map(
    (target): MountSpec => ({ type: 'volume', source: '', target, readonly: false }),
  )
  return withMounts(mounts, volumes)
}

/** `further` mounts where `own` has none. */
function withMounts(own: readonly MountSpec[], further: readonly MountSpec[]): MountSpec[] {
  const taken = new Set(own.map(mount => mount.target))
  return [...own, ...further.filter(mount => !taken.has(mount.target))]
}

/** The ports asked for; host port 0 where any will do. */
function resolvePorts(spec: ContainerSpec, config: ImageConfig): PortMapping[] {
  const asked = (spec.publish ?? []).map(toPortMapping)
  if (spec.publishAll === true) {
    const exposed = [...Object.keys(config.config?.ExposedPorts ?? {}), ...(spec.expose ?? [])]
    for (const text of exposed) {
      const [port = '', protocol = 'tcp'] = text.split('/')
      const containerPort = Number(port)
      if (!asked.some(p => p.containerPort === containerPort && p.protocol === protocol))
        asked.push({ protocol: protocol as PortMapping['protocol'], hostIp: '', hostPort: 0, containerPort })
    }
  }
  const { publishMode } = spec
  return publishMode === undefined ? asked : asked.map(port => ({ ...port, publishMode }))
}
