// What a container has changed, by docker's letters: its own layer against the image's, without mounting anything. The
// container may be at work: no link is followed.

import { type BigIntStats, closeSync, lstatSync, readdirSync } from 'node:fs'
import { isWhiteout, LowerLayers, opaqueXattr } from '../../drivers/image/lower-layers.ts'
import { hasCode } from '../../ffi/errno.ts'
import { cString, lgetxattr, openAt2 } from '../../ffi/file-at.ts'
import { byteString } from '../../lib/tar-entry.ts'
import type { Container } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { openChild, pathIn } from './file-tree.ts'

/** Changed, added or deleted. */
export interface FileChange {
  readonly kind: 'C' | 'A' | 'D'
  /** Absolute, in the container. */
  readonly path: string
}

/** Places that a start makes for its mounts; docker has them in a layer of their own. */
const madeForMounts = new Set(['dev', 'proc', 'sys', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf'])

/** Sorted by path, each folder before what is in it. */
export function listChanges(context: EngineContext, container: Container): FileChange[] {
  const upper = context.paths.containerFile(container.id, 'upper')
  const fd = openAt2(-100, cString(byteString(upper)), 0o200000, 0)
  try {
    const lower = new LowerLayers(container.image.layerDirs)
    const changes = compareDirectory(lower, fd, '').changes
    return changes.map(({ kind, path }) => ({ kind, path: Buffer.from(`/${path}`, 'latin1').toString('utf8') }))
  } finally {
    closeSync(fd)
  }
}

interface Comparison {
  readonly changes: readonly FileChange[]
  /** Something of ours was left out, so the folder's own time says nothing. */
  readonly skipped: boolean
}

function compareDirectory(lower: LowerLayers, fd: number, folder: string): Comparison {
  const changes: FileChange[] = []
  let skipped = false
  const names = readdirSync(`/proc/self/fd/${fd}`, 'buffer').map(name => name.toString('latin1'))
  for (const name of names.sort()) {
    const path = folder === '' ? name : `${folder}/${name}`
    const stat = lstatIfThere(pathIn(fd, name))
    if (stat === undefined) continue
    const found = compareMember(lower, { fd, name, path, stat })
    if (found === undefined) skipped = true
    else changes.push(...found)
  }
  if (isOpaque(`/proc/self/fd/${fd}/.`)) changes.push(...hiddenBelow(lower, folder, new Set(names)))
  return { changes: changes.sort((a, b) => (a.path < b.path ? -1 : 1)), skipped }
}

interface Member {
  readonly fd: number
  readonly name: string
  readonly path: string
  readonly stat: BigIntStats
}

/** @returns undefined for what is no change of the container's */
function compareMember(lower: LowerLayers, { fd, name, path, stat }: Member): readonly FileChange[] | undefined {
  const below = lower.lookup(path)
  if (stat.isCharacterDevice() && stat.rdev === 0n) return below === undefined ? [] : [{ kind: 'D', path }]
  const kind = below === undefined ? 'A' : 'C'
  if (!stat.isDirectory()) {
    if (kind === 'A' && stat.size === 0n && madeForMounts.has(path)) return undefined
    return [{ kind, path }]
  }
  const child = openChild(fd, name)
  let inside: Comparison
  try {
    inside = compareDirectory(lower, child, path)
  } finally {
    closeSync(child)
  }
  if (kind === 'A') {
    if (inside.changes.length === 0 && madeForMounts.has(path)) return undefined
    return [{ kind, path }, ...inside.changes]
  }
  const old = below?.stat
  const itself =
    old === undefined ||
    !old.isDirectory() ||
    old.mode !== Number(stat.mode) ||
    old.uid !== Number(stat.uid) ||
    old.gid !== Number(stat.gid) ||
    (!inside.skipped && Math.floor(old.mtimeMs) !== Number(stat.mtimeMs))
  return itself || inside.changes.length > 0 ? [{ kind, path }, ...inside.changes] : undefined
}

/** What an opaque folder hides of the layers below. */
function hiddenBelow(lower: LowerLayers, folder: string, own: ReadonlySet<string>): FileChange[] {
  const place = lower.lookup(folder)
  if (place === undefined || !place.stat.isDirectory()) return []
  const names = readdirSync(place.path, 'buffer').map(name => name.toString('latin1'))
  return names
    .filter(
      name => !own.has(name) && !isWhiteout(lstatSync(Buffer.concat([place.path, Buffer.from(`/${name}`, 'latin1')]))),
    )
    .map(name => ({ kind: 'D', path: folder === '' ? name : `${folder}/${name}` }))
}

function isOpaque(path: string): boolean {
  return lgetxattr(cString(path), opaqueXattr)?.toString() === 'y'
}

function lstatIfThere(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
