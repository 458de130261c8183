// A directory that a step has written -> a layer of the store: moved there, not copied. Its archive is made once, to be hashed; it
// is written down as well where an image will need it, and made again from the layer where that turns out later.

import { createHash } from 'node:crypto'
import { closeSync, constants, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../drivers/image/digest.ts'
import { packDirectory } from '../../drivers/image/layer-packer.ts'
import { cString, openAt2, utimensAt } from '../../ffi/file-at.ts'
import { byteString } from '../../lib/tar-entry.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Descriptor, type Digest, mediaTypes } from '../../model/image.ts'
import { openChild, pathIn } from '../files/file-tree.ts'
import type { BuildParts, StageLayer } from './build-parts.ts'
import type { BuiltLayer } from './step-cache.ts'

/** The chain id of a layer on top of another one. */
function chainOn(below: Digest | undefined, diffId: Digest): Digest {
  return below === undefined ? diffId : sha256(`${below} ${diffId}`)
}

/**
 * Makes a layer of `<folder>/fs`, an upper directory of overlayfs in the build's staging.
 * @param below chain id of the layer under it @param isForImage its archive will be needed
 * @returns undefined where nothing is in the directory
 */
export async function storeLayer(
  parts: BuildParts,
  folder: string,
  { below, isForImage }: { readonly below: Digest | undefined; readonly isForImage: boolean },
): Promise<BuiltLayer | undefined> {
  const tree = join(folder, 'fs')
  const { size, entries } = settleTimes(tree, parts.epoch)
  if (entries === 0) return undefined
  const archive = packDirectory(tree, packOptions(parts.epoch))
  const written = isForImage ? await parts.blobs.write(parts.staging, archive) : await digestOf(archive)
  const { digest: diffId, size: archiveSize } = written
  const chainId = chainOn(below, diffId)
  await parts.layers.adopt(parts.staging, folder, { chainId, diffId, size, entries })
  return { chainId, diffId, size, archiveSize }
}

export function asStageLayer({ chainId, diffId, archiveSize }: BuiltLayer): StageLayer {
  const descriptor: Descriptor = { mediaType: mediaTypes.ociLayer, digest: diffId, size: archiveSize }
  return { chainId, diffId, descriptor }
}

/** Writes the archives of layers whose step was not thought to be for an image. */
export async function writeMissingBlobs(parts: BuildParts, layers: readonly StageLayer[]): Promise<void> {
  for (const { chainId, diffId, descriptor } of layers) {
    if (descriptor.digest !== diffId || parts.blobs.has(descriptor)) continue
    parts.signal.throwIfAborted()
    const tree = parts.store.files.layerTree(chainId)
    const { digest } = await parts.blobs.write(parts.staging, packDirectory(tree, packOptions(parts.epoch)))
    if (digest !== diffId)
      throw new TsrunError('system', 'layer-changed', `layer ${chainId} is not what it was when it was made`, {
        hint: 'somebody has written into the layers: `tsrun builder prune`, and build again',
      })
  }
}

async function digestOf(archive: AsyncIterable<Buffer>): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of archive) {
    hash.update(chunk)
    size += chunk.length
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, size }
}

function packOptions(epoch: number | undefined): { epoch?: number } {
  return epoch === undefined ? {} : { epoch }
}

/** Counts what is there; with an epoch no time is later, so that the directory shows what its archive says. */
function settleTimes(tree: string, epoch: number | undefined): { size: number; entries: number } {
  const time = { seconds: epoch ?? 0, nanoseconds: 0 }
  let size = 0
  let entries = 0
  const walk = (fd: number): void => {
    try {
      for (const bytes of readdirSync(`/proc/self/fd/${fd}`, 'buffer')) {
        const name = bytes.toString('latin1')
        const stat = lstatSync(pathIn(fd, name))
        entries += 1
        if (stat.isFile()) size += stat.size
        if (stat.isDirectory()) walk(openChild(fd, name))
        if (epoch !== undefined && stat.mtimeMs >= epoch * 1000) utimensAt(fd, cString(name), time, time)
      }
    } finally {
      closeSync(fd)
    }
  }
  walk(openAt2(-100, cString(byteString(tree)), constants.O_RDONLY | constants.O_DIRECTORY, 0))
  return { size, entries }
}
