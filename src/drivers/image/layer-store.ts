// Unpacked layers, one directory each, shared read-only by all images and containers. Named by chain id, not by diff id:
// what is in one may depend on the layers below (hard links to their files, metadata of directories, whiteouts).
//
// A layer is unpacked aside and gets its name when it is complete. Its files are not synced then, which would take longer than
// unpacking: instead layer.json says in which boot it was made, and one of an earlier boot that was never settled (syncfs) is
// unpacked again from its blob, which is synced.

import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { withLock } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { readJsonFile, writeJsonFile } from '../../lib/json-file.ts'
import { type Digest, isDigest } from '../../model/image.ts'
import { currentBoot, type ImageFiles } from './image-files.ts'
import { keep } from './keep.ts'
import type { Staging } from './staging.ts'
import type { UnpackLimits } from './unpack-limits.ts'

/** layer.json */
export interface StoredLayer {
  readonly chainId: Digest
  readonly diffId: Digest
  /** Bytes of its files. */
  readonly size: number
  readonly entries: number
  /** Which boot of the machine it was unpacked in. */
  readonly bootId: string
  /** Known to be on the disk. */
  readonly isSettled: boolean
}

export interface LayerRequest {
  readonly chainId: Digest
  readonly diffId: Digest
  readonly source: AsyncIterable<Buffer>
  /** Chain ids of the layers below, bottom first. */
  readonly below: readonly Digest[]
  readonly limits?: Partial<UnpackLimits>
  readonly signal?: AbortSignal
}

export class LayerStore {
  readonly #files: ImageFiles

  constructor(files: ImageFiles) {
    this.#files = files
  }

  /** The layer if it is there and sound. */
  get(chainId: Digest): StoredLayer | undefined {
    const layer = readLayer(join(this.#files.layer(chainId), 'layer.json'))
    return layer?.isSettled || layer?.bootId === currentBoot() ? layer : undefined
  }

  /** Unpacks a layer and gives it its place. The layers below must be there. */
  async unpack(staging: Staging, request: LayerRequest): Promise<StoredLayer> {
    const { unpackLayer } = await import('./unpack-layer.ts')
    const { chainId, diffId, source, limits, signal } = request
    const temporary = staging.temporary('layer')
    const tree = join(temporary, 'fs')
    mkdirSync(tree, { recursive: true, mode: 0o755 })
    const unpacked = await unpackLayer({
      source,
      directory: tree,
      lowerDirectories: request.below.map(id => this.#files.layerTree(id)).reverse(),
      diffId,
      ...(limits === undefined ? {} : { limits }),
      ...(signal === undefined ? {} : { signal }),
    })
    return this.adopt(staging, temporary, { chainId, diffId, size: unpacked.size, entries: unpacked.entries })
  }

  /** Gives a layer that was made elsewhere its place. @param folder in `staging`, with the layer's tree in it as `fs` */
  adopt(staging: Staging, folder: string, about: Omit<StoredLayer, 'bootId' | 'isSettled'>): Promise<StoredLayer> {
    const layer: StoredLayer = { ...about, bootId: currentBoot(), isSettled: false }
    writeJsonFile(join(folder, 'layer.json'), layer)
    return this.#place(staging, folder, layer)
  }

  /** Chain ids of all layers that have their place. */
  list(): Digest[] {
    return readdirSync(this.#files.layers)
      .map(hex => `sha256:${hex}` as Digest)
      .filter(isDigest)
  }

  /** Takes a layer out of its place, into `staging`, where it dies. Takes no longer for a large one. Idempotent. */
  moveOut(staging: Staging, chainId: Digest): void {
    try {
      renameSync(this.#files.layer(chainId), staging.temporary('trash'))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    faultPoint('image layer removed')
  }

  /** Notes that a layer is on the disk: after a sync of the file system. */
  settle(chainId: Digest): void {
    const path = join(this.#files.layer(chainId), 'layer.json')
    const layer = this.get(chainId)
    if (layer !== undefined && !layer.isSettled) writeJsonFile(path, { ...layer, isSettled: true })
  }

  async #place(staging: Staging, temporary: string, layer: StoredLayer): Promise<StoredLayer> {
    const path = this.#files.layer(layer.chainId)
    await keep(this.#files, staging, [layer.chainId])
    faultPoint('image layer unpacked')
    for (;;) {
      try {
        renameSync(temporary, path)
        faultPoint('image layer')
        return layer
      } catch (error) {
        if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
      }
      // Another process was faster, or this is the unsound one.
      const other = await this.#soundOrOut(staging, layer.chainId)
      if (other !== undefined) return other
    }
  }

  /** One process alone takes an unsound layer out of its place: what it finds there afterwards is another's, and may be in use. */
  async #soundOrOut(staging: Staging, chainId: Digest): Promise<StoredLayer | undefined> {
    const takeOut = async (): Promise<StoredLayer | undefined> => {
      const sound = this.get(chainId)
      if (sound !== undefined) return sound
      faultPoint('image layer unsound')
      this.moveOut(staging, chainId)
      return undefined
    }
    try {
      return await withLock(this.#files.layer(chainId), takeOut, { what: `layer ${chainId}`, folder: true })
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }
}

/** What a power cut made of a file that was not synced counts as not there. */
function readLayer(path: string): StoredLayer | undefined {
  try {
    return readJsonFile(path) as StoredLayer | undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
