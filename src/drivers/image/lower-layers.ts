// What the layers below a new one show together: the lookup that overlayfs will do, done by us while there is no mount.
// These directories are complete, root's own and never written again, so looking at them by path is safe; still no
// symbolic link is followed, because every part of a path is looked at itself.

import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { cString, lgetxattr } from '../../ffi/file-at.ts'

export const opaqueXattr = cString('trusted.overlay.opaque')

/** A file or directory as the layers below show it. */
export interface LowerFile {
  /** Its real place, in the topmost layer that has it. */
  readonly path: Buffer
  readonly stat: Stats
}

/** The layers below, top first. */
export class LowerLayers {
  readonly #directories: readonly string[]

  constructor(directories: readonly string[]) {
    this.#directories = directories
  }

  get isEmpty(): boolean {
    return this.#directories.length === 0
  }

  /**
   * Looks up `path`, a byte string of components without links; the empty one is the root.
   * A symbolic link or file in the middle of the path is "not there".
   */
  lookup(path: string): LowerFile | undefined {
    const components = path === '' ? [] : path.split('/')
    let layers = this.#directories
    let prefix = ''
    for (const component of components.slice(0, -1)) {
      prefix = prefix === '' ? component : `${prefix}/${component}`
      layers = directoriesAt(layers, prefix)
      if (layers.length === 0) return undefined
    }
    for (const layer of layers) {
      const found = look(layer, path)
      if (found !== undefined) return isWhiteout(found.stat) ? undefined : found
    }
    return undefined
  }
}

/** Target of a symbolic link found by lookup(), as a byte string. */
export function linkTarget(file: LowerFile): string {
  return readlinkSync(file.path, 'buffer').toString('latin1')
}

/** A character device 0:0: how overlayfs says "deleted". */
export function isWhiteout(stat: Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0
}

/** The layers whose directory `path` is part of the merged one: down to the first that is opaque or has something else. */
function directoriesAt(layers: readonly string[], path: string): string[] {
  const merged: string[] = []
  for (const layer of layers) {
    const found = look(layer, path)
    if (found === undefined) continue
    if (!found.stat.isDirectory()) break
    merged.push(layer)
    if (lgetxattr(Buffer.concat([found.path, Buffer.alloc(1)]), opaqueXattr)?.toString() === 'y') break
  }
  return merged
}

function look(layer: string, path: string): LowerFile | undefined {
  const full = path === '' ? Buffer.from(layer) : Buffer.concat([Buffer.from(`${layer}/`), Buffer.from(path, 'latin1')])
  try {
    return { path: full, stat: lstatSync(full) }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
