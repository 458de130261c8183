// Which ids of the host a new container's users are. Decided once, when it is created, and kept in its record: its files on
// disk have the container's own ids, so nothing has to be shifted, and a restart means the same as the first start.

import type { Container, ContainerSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { checkIdMaps, type IdMaps, sameIdMaps } from '../../model/id-maps.ts'
import { type IdRange, mapWhole, subordinateIds } from './subordinate-ids.ts'

/** As many ids as images use: distributions give `nobody` 65534. */
const defaultAutoSize = 65_536

export interface IdMapParts {
  /** What `--userns-remap` says; undefined: containers share the host's users unless asked otherwise. */
  readonly usernsRemap: string | undefined
  /** All containers there are. */
  containers(): readonly Container[]
  /** @throws TsrunError not-found */
  find(reference: string): Container
}

/**
 * @returns undefined for a container that shares the host's user namespace. For `auto`, taken only once the container's record
 *   is written: the caller holds the lock on ids until then.
 * @throws TsrunError invalid, not-found, conflict (no ids left)
 */
export function chooseIdMaps(parts: IdMapParts, spec: ContainerSpec): IdMaps | undefined {
  const shared = sharedWith(parts, spec)
  const chosen = explicitMaps(spec) ?? byMode(parts, spec, shared)
  if (shared !== undefined && !sameIdMaps(shared.idMaps, chosen))
    throw new TsrunError(
      'invalid',
      'userns-shared',
      `cannot share namespaces with container "${shared.name}" and have other ids: its namespaces belong to its users`,
      { hint: 'leave --userns, --uidmap and --gidmap away: the container gets the ids of the one it joins' },
    )
  if (chosen === undefined) return undefined
  checkIdMaps(chosen)
  refuseHostNamespaces(spec)
  return chosen
}

/** Whether a choice has to be made alone, because it takes ids that nobody else may have. */
export function takesIds(spec: ContainerSpec): boolean {
  return spec.userns?.startsWith('auto') === true
}

function explicitMaps({ uidMappings, gidMappings, userns }: ContainerSpec): IdMaps | undefined {
  const uid = uidMappings?.length ? uidMappings : undefined
  const gid = gidMappings?.length ? gidMappings : undefined
  if (uid === undefined && gid === undefined) return undefined
  if (userns !== undefined)
    throw new TsrunError('invalid', 'userns', 'cannot use --uidmap and --gidmap together with --userns')
  // As podman: the one that is missing is like the other.
  return { uid: uid ?? gid ?? [], gid: gid ?? uid ?? [] }
}

function byMode(parts: IdMapParts, spec: ContainerSpec, shared: Container | undefined): IdMaps | undefined {
  const mode = spec.userns ?? (shared === undefined ? (parts.usernsRemap === undefined ? 'host' : 'remap') : 'shared')
  if (mode === 'host') return undefined
  if (mode === 'shared') return shared?.idMaps
  if (mode.startsWith('container:')) return parts.find(mode.slice('container:'.length)).idMaps
  if (mode === 'remap') {
    if (parts.usernsRemap !== undefined) return mapWhole(subordinateIds(parts.usernsRemap))
    throw new TsrunError('invalid', 'userns', 'cannot use --userns remap: the engine has no ids to map to', {
      hint: 'name them: tsrun --userns-remap default run ..., or TSRUN_USERNS_REMAP=165536:65536; or use --userns auto',
    })
  }
  const size = /^auto(?::size=(\d{1,9}))?$/.exec(mode)
  if (size !== null) return freeRange(parts, Number(size[1] ?? defaultAutoSize))
  throw new TsrunError('invalid', 'userns', `invalid value "${mode}" for --userns`, {
    hint: 'host, remap, auto, auto:size=N or container:NAME (keep-id and nomap are about users without root)',
  })
}

/** A range that no container has: the same for users and groups. */
function freeRange(parts: IdMapParts, size: number): IdMaps {
  const pool = subordinateIds(parts.usernsRemap ?? 'default')
  const taken = parts.containers().flatMap(({ idMaps }) => [...(idMaps?.uid ?? []), ...(idMaps?.gid ?? [])])
  for (const range of pool.uid) {
    const start = firstGap(
      range,
      size,
      taken.map(m => ({ start: m.hostId, size: m.size })),
    )
    if (start === undefined || !pool.gid.some(g => g.start <= start && start + size <= g.start + g.size)) continue
    const mapping = [{ containerId: 0, hostId: start, size }]
    return { uid: mapping, gid: mapping }
  }
  throw new TsrunError('conflict', 'no-ids-left', `cannot find ${size} ids that no container has for --userns auto`, {
    hint: 'give the account "tsrun" more in /etc/subuid and /etc/subgid, remove containers, or ask for fewer: --userns auto:size=4096',
  })
}

/** The first start of `size` ids in the range that touch none of `taken`. */
function firstGap(range: IdRange, size: number, taken: readonly IdRange[]): number | undefined {
  let start = range.start
  for (const other of [...taken].sort((a, b) => a.start - b.start)) {
    if (other.start >= start + size) break
    start = Math.max(start, other.start + other.size)
  }
  return size > 0 && start + size <= range.start + range.size ? start : undefined
}

/** Namespaces belong to users: who joins another container's has to be its users. */
function sharedWith(parts: IdMapParts, spec: ContainerSpec): Container | undefined {
  const found = joinedContainers(spec).map(reference => parts.find(reference))
  const [first] = found
  const other = found.find(
    container => !sameIdMaps(container.idMaps, first?.idMaps) || (container.idMaps && container.id !== first?.id),
  )
  if (other !== undefined && first !== undefined)
    throw new TsrunError(
      'invalid',
      'userns-shared',
      `cannot share namespaces with both "${first.name}" and "${other.name}": each has users of its own`,
    )
  return first
}

/** References of the containers whose namespaces it joins. */
export function joinedContainers(spec: ContainerSpec): string[] {
  return [spec.networks?.[0]?.network, spec.pidMode, spec.ipcMode, spec.utsMode, spec.userns].flatMap(mode =>
    mode?.startsWith('container:') ? [mode.slice('container:'.length)] : [],
  )
}

/** What the users of a namespace have no power over; docker refuses the same. */
function refuseHostNamespaces(spec: ContainerSpec): void {
  const modes = [
    ['--privileged', spec.privileged === true],
    ['--network host', spec.networks?.[0]?.network === 'host'],
    ['--pid host', spec.pidMode === 'host'],
    ['--ipc host', spec.ipcMode === 'host'],
  ] as const
  const [flag] = modes.find(([, isSet]) => isSet) ?? []
  if (flag === undefined) return
  throw new TsrunError(
    'invalid',
    'userns-host',
    `cannot use ${flag} with mapped users: they have no power over the host`,
    {
      hint: 'add --userns host, and the container runs with the users of the host',
    },
  )
}
