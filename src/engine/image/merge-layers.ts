// Images with more layers than overlayfs takes in one mount: the lowest are merged into one directory. It is derived from them,
// made on first use and kept beside the topmost of them, with which it goes. Where the cut is depends on the number of layers in
// coarse steps, so that images which grow from one another share the merged part.

import { closeSync, constants, existsSync, mkdirSync, openSync, renameSync } from 'node:fs'
import type { ImageFiles } from '../../drivers/image/image-files.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { hasCode } from '../../ffi/errno.ts'
import { syncfs } from '../../ffi/file-at.ts'
import { faultPoint } from '../../lib/fault.ts'
import type { Digest } from '../../model/image.ts'
import { copyUp } from '../volume/copy-up.ts'

/** How many of the lowest layers have to be merged so that at most `limit` directories remain; 0 where none. */
export function mergedCount(layers: number, limit: number): number {
  if (layers <= limit) return 0
  const step = stepOf(limit)
  return Math.ceil((layers + 1 - limit) / step) * step
}

/**
 * The directories of an image for overlayfs, top first.
 * @param chain its layers, bottom first
 * @returns undefined where some have to be merged first
 */
export function directoriesOf(files: ImageFiles, chain: readonly Digest[], limit: number): string[] | undefined {
  const count = mergedCount(chain.length, limit)
  const top = chain[count - 1]
  const above = chain.slice(count).map(chainId => files.layerTree(chainId))
  if (top === undefined) return above.reverse()
  return existsSync(files.mergedTree(top)) ? [files.mergedTree(top), ...above].reverse() : undefined
}

/** Merges what directoriesOf() misses. The layers must be in their place and kept by `staging`. @throws TsrunError system */
export async function mergeLayers(
  files: ImageFiles,
  staging: Staging,
  chain: readonly Digest[],
  limit: number,
): Promise<void> {
  const step = stepOf(limit)
  let below: string[] = []
  for (let end = step; end <= mergedCount(chain.length, limit); end += step) {
    const group = chain.slice(end - step, end)
    const top = group.at(-1)
    if (top === undefined) throw new Error('a group of layers is not empty')
    const target = files.mergedTree(top)
    if (!existsSync(target)) {
      const sources = [...below, ...group.map(chainId => files.layerTree(chainId))].reverse()
      await mergeInto(staging, sources, target)
    }
    below = [target]
  }
}

/** Half of what can be mounted at once: a group on top of the groups below it. */
function stepOf(limit: number): number {
  return Math.floor(limit / 2)
}

async function mergeInto(staging: Staging, sources: readonly string[], target: string): Promise<void> {
  const temporary = staging.temporary('merged')
  mkdirSync(temporary, { mode: 0o755 })
  await copyUp(sources, '.', temporary)
  // Nothing tells afterwards whether all of it is there, so it is on the disk before it has its name.
  const fd = openSync(temporary, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await syncfs(fd)
  } finally {
    closeSync(fd)
  }
  try {
    renameSync(temporary, target)
  } catch (error) {
    // Another process was faster.
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
  faultPoint('image layers merged')
}
