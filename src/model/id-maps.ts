// Which ids of the host a container's users are: the lines of uid_map and gid_map (user_namespaces(7)). Pure.

import { maxId, parseId } from '../lib/passwd.ts'
import { TsrunError } from './errors.ts'

/** `size` ids from `containerId` on are the host's from `hostId` on. */
export interface IdMapping {
  readonly containerId: number
  readonly hostId: number
  readonly size: number
}

/** Both maps of one user namespace. */
export interface IdMaps {
  readonly uid: readonly IdMapping[]
  readonly gid: readonly IdMapping[]
}

/** What the kernel shows in place of an id that is not mapped: /proc/sys/kernel/overflowuid. */
const overflowId = 65534

/** The kernel takes as many lines (UID_GID_MAP_MAX_EXTENTS). */
const maxMappings = 340

/** `CONTAINER:HOST[:SIZE]`, as podman has it; the size is 1 when it is missing. @throws TsrunError invalid */
export function parseIdMapping(flag: string, text: string): IdMapping {
  const [container, host, size = '1', ...more] = text.split(':')
  const [containerId, hostId, count] = [container, host, size].map(part => parseId(part ?? ''))
  if (containerId !== undefined && hostId !== undefined && count !== undefined && count > 0 && more.length === 0)
    return { containerId, hostId, size: count }
  throw new TsrunError('invalid', 'id-map', `invalid value "${text}" for ${flag}`, {
    hint: 'CONTAINER:HOST:SIZE, e.g. 0:100000:65536',
  })
}

/** What the kernel would refuse with nothing but EINVAL, and root of the host as anybody. @throws TsrunError invalid */
export function checkIdMaps(maps: IdMaps): void {
  for (const [kind, mappings] of Object.entries(maps) as [keyof IdMaps, readonly IdMapping[]][]) {
    const refuse = (reason: string) => {
      throw new TsrunError('invalid', 'id-map', `cannot map the ${kind}s of a container: ${reason}`, {
        hint: 'e.g. --uidmap 0:100000:65536 --gidmap 0:100000:65536',
      })
    }
    if (mappings.length > maxMappings) refuse(`${mappings.length} ranges, and the kernel takes ${maxMappings}`)
    if (toHostId(mappings, 0) === undefined) refuse(`its ${kind} 0 is not mapped`)
    if (mappings.some(m => m.hostId === 0)) refuse("it would be the host's root")
    for (const field of ['containerId', 'hostId'] as const) {
      const sorted = [...mappings].sort((a, b) => a[field] - b[field])
      for (const [index, { size, ...ids }] of sorted.entries()) {
        if (size < 1 || !Number.isSafeInteger(size) || ids[field] < 0 || ids[field] + size - 1 > maxId)
          refuse(`${ids[field]} and the next ${size} are no ids`)
        const next = sorted[index + 1]
        if (next !== undefined && ids[field] + size > next[field]) refuse(`${next[field]} is mapped twice`)
      }
    }
  }
}

/** @returns undefined for an id that is not mapped */
export function toHostId(mappings: readonly IdMapping[], id: number): number | undefined {
  const found = mappings.find(m => id >= m.containerId && id < m.containerId + m.size)
  return found === undefined ? undefined : found.hostId + id - found.containerId
}

/** The other way; `overflowId` for a host's id that no id of the container means. */
export function toContainerId(mappings: readonly IdMapping[], id: number): number {
  const found = mappings.find(m => id >= m.hostId && id < m.hostId + m.size)
  return found === undefined ? overflowId : found.containerId + id - found.hostId
}

/** Whether two namespaces with these maps would mean the same ids. */
export function sameIdMaps(a: IdMaps | undefined, b: IdMaps | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
