// A new volume starts with what the image has at its place, all of it or nothing: `<volume>/filling` is being copied and counts for
// nothing when that is cut off; `<volume>/filled` is whole and on its way into `<volume>/data`. Containers that run may have the
// volume already, so nothing is written below names that they can change.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { withLock } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { TsrunError } from '../../model/errors.ts'
import { copyContent, copyUp } from './copy-up.ts'

/** What is to be filled, and from where. */
export interface Filling {
  readonly name: string
  /** `<root>/volumes/<name>`, with `data` in it; a container that is on record keeps it from being removed. */
  readonly folder: string
  /** The topmost first. */
  readonly layerDirs: readonly string[]
  /** In the image. */
  readonly path: string
}

/** Fills a volume that is empty, or whose filling was cut off; waits where another container fills it. @throws TsrunError system */
export async function fillVolume({ name, folder, layerDirs, path }: Filling): Promise<void> {
  const [filling, filled, data] = [`${folder}/filling`, `${folder}/filled`, `${folder}/data`]
  const fill = async () => {
    rmSync(filling, { recursive: true, force: true })
    if (!existsSync(filled)) {
      if (readdirSync(data).length > 0) return
      mkdirSync(filling, { mode: 0o700 })
      faultPoint('volume filling')
      const hasContent = await copyUp(layerDirs, path, filling)
      if (!hasContent) return rmSync(filling, { recursive: true })
      renameSync(filling, filled)
      faultPoint('volume filled')
    }
    moveContent(filled, data)
    // What the folder itself is like, and what could not be moved since something is mounted there.
    const reason = await copyContent(filled, data)
    if (reason !== undefined) throw new TsrunError('system', 'copy-up', `cannot fill the volume "${name}": ${reason}`)
    rmSync(filled, { recursive: true })
  }
  await withLock(folder, fill, { what: `volume "${name}"`, folder: true, timeoutMs: Number.POSITIVE_INFINITY })
}

/** What others have made there meanwhile stays. */
function moveContent(from: string, to: string): void {
  const taken = new Set(readdirSync(to, 'buffer').map(name => name.toString('latin1')))
  for (const name of readdirSync(from, 'buffer')) {
    const [source, target] = [inFolder(from, name), inFolder(to, name)]
    if (taken.has(name.toString('latin1'))) {
      rmSync(source, { recursive: true })
      continue
    }
    try {
      renameSync(source, target)
      faultPoint('volume content moved')
    } catch (error) {
      if (!hasCode(error, 'EXDEV')) throw error
    }
  }
}

/** A name may be any bytes. */
function inFolder(folder: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), name])
}
