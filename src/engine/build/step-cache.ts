// What steps have made before: `<root>/build/steps/<key hex>.json`, one small file for each, which names a layer of the store.
// A key says all that the step's result depends on. The layers named here are in use for `rmi` and `prune`; a record whose
// layer is gone, or not sound after a power loss, is a miss.

import { mkdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { LayerStore } from '../../drivers/image/layer-store.ts'
import { hasCode } from '../../ffi/errno.ts'
import { faultPoint } from '../../lib/fault.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { readJsonFile, writeJsonFile } from '../../lib/json-file.ts'
import { sweepTemporaries } from '../../lib/state-file.ts'
import { type Digest, digestHex } from '../../model/image.ts'

/** A layer that a step has made. */
export interface BuiltLayer {
  readonly chainId: Digest
  readonly diffId: Digest
  /** Bytes of its files. */
  readonly size: number
  /** Bytes of its archive. */
  readonly archiveSize: number
}

export interface CachedStep {
  readonly key: Digest
  /** The instruction, for people. */
  readonly createdBy: string
  /** RFC 3339 */
  readonly createdAt: string
  /** Absent where the step changed no file. */
  readonly layer?: BuiltLayer
}

export class StepCache {
  readonly #directory: string

  /** @param directory `<root>/build/steps`; need not be there */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** What a step of this key made, if it still is there. The caller keeps its layer from being removed first. */
  find(key: Digest): CachedStep | undefined {
    const path = this.#path(key)
    const step = readStep(path)
    if (step === undefined) return undefined
    faultPoint('build step found')
    return isTouched(path) ? step : undefined
  }

  /** Whether its layer can be used. */
  isSound({ layer }: CachedStep, layers: LayerStore): boolean {
    return layer === undefined || layers.get(layer.chainId) !== undefined
  }

  put(step: CachedStep): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    writeJsonFile(this.#path(step.key), step)
    faultPoint('build step')
  }

  /** All steps, each with the time of its last use. */
  list(): { readonly step: CachedStep; readonly usedAt: Date }[] {
    return namesIfThere(this.#directory).flatMap(name => {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) return []
      const path = join(this.#directory, name)
      const step = readStep(path)
      const stat = statSync(path, { throwIfNoEntry: false })
      return step === undefined || stat === undefined ? [] : [{ step, usedAt: stat.mtime }]
    })
  }

  /** Removes what killed builds have left half written. */
  sweep(): void {
    sweepTemporaries(this.#directory)
  }

  /** Idempotent. The layer goes with the next collection. */
  remove(key: Digest): void {
    rmSync(this.#path(key), { force: true })
    faultPoint('build step removed')
  }

  /** Hex digests of the layers and blobs that the cache needs. */
  inUse(): string[] {
    return this.list().flatMap(({ step: { layer } }) =>
      layer === undefined ? [] : [digestHex(layer.chainId), digestHex(layer.diffId)],
    )
  }

  #path(key: Digest): string {
    return join(this.#directory, `${digestHex(key)}.json`)
  }
}

/** Notes that it was used now. @returns false where it has just been removed */
function isTouched(path: string): boolean {
  try {
    utimesSync(path, new Date(), new Date())
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** A file that a power loss cut off is a miss. */
function readStep(path: string): CachedStep | undefined {
  try {
    return readJsonFile(path) as CachedStep | undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
