// What COPY --from and binds take files from: stages, images, and the directories that the user named.

import { OverlayView } from '../../kernel/overlay.ts'
import { FileTree } from '../files/file-tree.ts'
import { findBaseImage } from './base-image.ts'
import { openNamedContext } from './build-context.ts'
import { type BuildParts, layerDirectories, type StageLayer } from './build-parts.ts'
import type { FileSource } from './file-source.ts'
import { nothingIgnored } from './ignore-file.ts'
import { namedContext } from './named-context.ts'
import type { BuiltStage } from './stage-builder.ts'
import type { BuildPlan } from './stage-plan.ts'

/** The trees that --from names, each opened once. */
export class Sources {
  readonly #parts: BuildParts
  readonly #plan: BuildPlan
  readonly #stage: (index: number) => Promise<BuiltStage>
  readonly #open = new Map<string, Promise<FileSource>>()
  readonly #closers: (() => void)[] = []

  constructor(parts: BuildParts, plan: BuildPlan, stage: (index: number) => Promise<BuiltStage>) {
    this.#parts = parts
    this.#plan = plan
    this.#stage = stage
  }

  /** @throws TsrunError not-found */
  find(from: string | undefined): Promise<FileSource> {
    if (from === undefined) return Promise.resolve(this.#parts.files)
    const named = namedContext(this.#parts.options, from)
    const index = named === undefined ? this.#plan.stageOf(from) : undefined
    const key = index === undefined ? from : `#${index}`
    const known = this.#open.get(key)
    if (known !== undefined) return known
    const opening =
      named !== undefined && 'directory' in named
        ? this.#directory(from, named.directory)
        : index === undefined
          ? this.#image(named?.image ?? from)
          : this.#built(index, from)
    opening.catch(() => {})
    this.#open.set(key, opening)
    return opening
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#open.values())
    for (const close of this.#closers) close()
  }

  async #built(index: number, name: string): Promise<FileSource> {
    const { layers } = await this.#stage(index)
    return this.#view(layers, `stage "${name}"`)
  }

  async #directory(name: string, path: string): Promise<FileSource> {
    const { close, ...source } = openNamedContext(name, path)
    this.#closers.push(close)
    return source
  }

  async #image(reference: string): Promise<FileSource> {
    const { platform, steps } = this.#parts
    const { layers } = await steps.during(`FROM ${reference}`, step =>
      findBaseImage(this.#parts, reference, { platform, step }),
    )
    return this.#view(layers, `image "${reference}"`)
  }

  async #view(layers: readonly StageLayer[], label: string): Promise<FileSource> {
    const view = new OverlayView(await layerDirectories(this.#parts, layers))
    const tree = FileTree.within(view.path)
    this.#closers.push(() => {
      tree.close()
      view.close()
    })
    return { tree, ignore: nothingIgnored, label, keepsOwner: true }
  }
}
