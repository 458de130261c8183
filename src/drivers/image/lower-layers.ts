// What the layers below a new one show together: the lookup that overlayfs will do, done by us while there is no mount.
// These directories are complete, root's own and never written again, so looking at them by path is safe; still no
// symbolic link is followed, because every part of a path is looked at itself.

import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { cString, lgetxattr } from '../../ffi/file-at.ts'

const maxRemembered = 4096

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
  readonly #merged = new Map<string, readonly string[]>()

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
    const layers = path === '' ? this.#directories : this.#layersOf(path.slice(0, Math.max(path.lastIndexOf('/'), 0)))
    for (const layer of layers) {
      const found = look(layer, path)
      if (found !== undefined) return isWhiteout(found.stat) ? undefined : found
    }
    return undefined
  }

  /** The layers that a directory is merged from. Remembered: the next lookup is likely in the same one. */
  #layersOf(directory: string): readonly string[] {
    if (directory === '') return this.#directories
    const known = this.#merged.get(directory)
    if (known !== undefined) return known
    const parent = this.#layersOf(directory.slice(0, Math.max(directory.lastIndexOf('/'), 0)))
    const layers = directoriesAt(parent, directory)
    if (this.#merged.size >= maxRemembered) this.#merged.clear()
    this.#merged.set(directory, layers)
    return layers
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
  const stat = lstatSync(full, { throwIfNoEntry: false })
  return stat === undefined ? undefined : { path: full, stat }
}
