// The host's devices that a container gets: nodes for its /dev, and rules that let it use them.

import { readdirSync, statSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import type { ContainerSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { DeviceRule } from '../../model/resources.ts'

export interface HostDevices {
  readonly nodes: OciSpec['linux']['devices']
  readonly rules: readonly DeviceRule[]
  /** Where the host has those that the container finds elsewhere, by the container's path. */
  readonly sources: Readonly<Record<string, string>>
}

type DeviceNode = HostDevices['nodes'][number]

/** What every container has anyhow, or what only its own instance of a file system may provide. */
const notOfTheHost = new Set(['pts', 'shm', 'fd', 'mqueue', 'stdin', 'stdout', 'stderr', 'core', 'ptmx', 'console'])
const ofEveryContainer = new Set(['null', 'zero', 'full', 'random', 'urandom', 'tty'])

/** @throws TsrunError not-found, invalid (not a device) */
export function findDevices(spec: ContainerSpec): HostDevices {
  // A privileged container has them all, and no list that restricts it.
  if (spec.privileged === true) return { nodes: devicesBelow('/dev', '/dev'), rules: [], sources: {} }
  const found = (spec.devices ?? []).map(({ hostPath, path, access }) => ({
    nodes: nodesOf(hostPath, path),
    ...{ hostPath, path, access },
  }))
  return {
    nodes: found.flatMap(({ nodes }) => nodes),
    rules: found.flatMap(({ nodes, access }) =>
      nodes.map(({ type, major, minor }) => ({ allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access })),
    ),
    sources: Object.fromEntries(
      found.flatMap(({ nodes, hostPath, path }) =>
        nodes.map(node => [node.path, `${hostPath}${node.path.slice(path.length)}`]),
      ),
    ),
  }
}

/** One device, or all in a folder such as /dev/snd. */
function nodesOf(hostPath: string, path: string): DeviceNode[] {
  const stat = statSync(hostPath, { throwIfNoEntry: false })
  if (stat?.isDirectory()) return devicesBelow(hostPath, path)
  const node = toNode(hostPath, path)
  if (node !== undefined) return [node]
  const reason = stat === undefined ? 'it does not exist' : 'it is not a device'
  throw new TsrunError(
    stat === undefined ? 'not-found' : 'invalid',
    'no-device',
    `cannot give the container device "${hostPath}": ${reason}`,
    { hint: '`ls -l /dev` lists the devices of this host' },
  )
}

function devicesBelow(hostPath: string, path: string): DeviceNode[] {
  return readdirSync(hostPath, { withFileTypes: true }).flatMap(entry => {
    if (hostPath === '/dev' && (notOfTheHost.has(entry.name) || ofEveryContainer.has(entry.name))) return []
    const [from, to] = [`${hostPath}/${entry.name}`, `${path}/${entry.name}`]
    if (entry.isDirectory()) return devicesBelow(from, to)
    return entry.isCharacterDevice() || entry.isBlockDevice() ? (toNode(from, to) ?? []) : []
  })
}

/** Symbolic links are followed: /dev/disk/by-id names devices so. */
function toNode(hostPath: string, path: string): DeviceNode | undefined {
  try {
    const stat = statSync(hostPath)
    const type = stat.isBlockDevice() ? 'b' : stat.isCharacterDevice() ? 'c' : undefined
    if (type === undefined) return undefined
    return { path, type, ...numbersOf(stat.rdev), fileMode: stat.mode & 0o777, uid: stat.uid, gid: stat.gid }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ENXIO')) return undefined
    throw error
  }
}

/** glibc's gnu_dev_major and gnu_dev_minor. */
function numbersOf(rdev: number): { major: number; minor: number } {
  const device = BigInt(rdev)
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  }
}
