// What the faces and other services may ask of images. Looking up is done here with two file reads; all else is loaded when it is
// asked for, so that `run` does not pay for tar, compression and hashing.

import { ImageFiles } from '../../drivers/image/image-files.ts'
import { ImageStore } from './image-store.ts'
import { type ResolvedImage, resolveImage, useImage } from './resolve-image.ts'

export type { ResolvedImage } from './resolve-image.ts'

export interface ImageServiceOptions {
  /** The engine's root: images, layers and staging go below it. */
  readonly root: string
  /** OCI image layouts that came with tsrun, `<embeddedDir>/<name>`. */
  readonly embeddedDir?: string
  /** Chain ids or directories of the layers that containers need. */
  readonly layersInUse?: () => Promise<ReadonlySet<string>>
}

export class ImageService {
  readonly #store: ImageStore
  readonly #options: ImageServiceOptions

  constructor(options: ImageServiceOptions) {
    this.#store = new ImageStore(new ImageFiles(options.root))
    this.#options = options
  }

  /**
   * An image by name, id or a unique beginning of an id; an embedded one is brought into the store on first use.
   * @throws TsrunError not-found, invalid (no reference), conflict (ambiguous id)
   */
  resolve(reference: string): Promise<ResolvedImage> {
    return resolveImage(this.#store, reference, this.#options.embeddedDir)
  }

  /**
   * Runs `task` while the image cannot be removed. The task writes down that a container uses the layers; it should take
   * milliseconds, since removals wait for it.
   * @throws as resolve(), and what the task throws
   */
  use<T>(reference: string, task: (image: ResolvedImage) => Promise<T>): Promise<T> {
    return useImage(this.#store, { text: reference, embeddedDir: this.#options.embeddedDir }, task)
  }
}
