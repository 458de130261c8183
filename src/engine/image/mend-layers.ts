// Layers are not synced when they are unpacked (see layer-store.ts): after a power cut those of a container may be files without
// content. Whoever starts it looks first, and has them unpacked again.

import { existsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Digest } from '../../model/image.ts'
import type { ImageStore } from './image-store.ts'

/** @throws TsrunError system `unsound-layers` when what is needed for it is not there */
export async function mendLayers(
  store: ImageStore,
  { name, image }: Pick<Container, 'name' | 'image'>,
  embeddedDir: string | undefined,
): Promise<void> {
  const layers = new LayerStore(store.files)
  // Those of a build that goes on are elsewhere, and of this boot.
  const stored = image.layerDirs.map(folder => dirname(folder)).filter(folder => dirname(folder) === store.files.layers)
  // What many layers were merged into goes with the topmost of them when another image's pull unpacks that again.
  const areThere = (): boolean => image.layerDirs.every(folder => existsSync(folder))
  const areSound = (): boolean =>
    stored.every(folder => layers.get(`sha256:${basename(folder)}` as Digest) !== undefined)
  if (areThere() && (areSound() || store.find(image.id)?.record.isSettled === true)) return
  const { resolveImage } = await import('./resolve-image.ts')
  let cause: unknown
  // By name as well: an embedded image comes again out of the program.
  for (const text of [image.id, image.reference]) {
    try {
      await resolveImage(store, text, embeddedDir)
    } catch (error) {
      if (!(error instanceof TsrunError)) throw error
      cause ??= error
    }
    if (areThere() && areSound()) return
  }
  throw new TsrunError(
    'system',
    'unsound-layers',
    `cannot start "${name}": the machine went down before the layers of ${image.reference} were known to be on the disk`,
    { hint: `bring the image in again, e.g. tsrun pull ${image.reference}`, ...(cause === undefined ? {} : { cause }) },
  )
}
