// The verbs about what is in containers: diff, export, cp. Thin; the code behind each is loaded when it is asked for.

import { emitContainer } from '../container/container-events.ts'
import type { ContainerStore } from '../container/container-store.ts'
import type { EngineContext } from '../context.ts'
import type { CopyOptions } from './copy-files.ts'
import type { FileChange } from './diff.ts'

/** Verbs about the files of containers, whether they run or not. */
export class ContainerFiles {
  readonly #context: EngineContext

  /** @internal */
  constructor(context: EngineContext) {
    this.#context = context
  }

  /** What differs from the image, by path. @throws TsrunError not-found, conflict (removed meanwhile) */
  async diff(reference: string): Promise<FileChange[]> {
    const { listChanges } = await import('./diff.ts')
    const { whileThere } = await import('./while-there.ts')
    const container = this.#store.find(reference)
    return whileThere(this.#context, container, () => listChanges(this.#context, container))
  }

  /**
   * The container's file system as a tar archive, without what is mounted in it.
   * @throws TsrunError not-found, conflict (removed meanwhile)
   */
  async *export(reference: string): AsyncGenerator<Buffer> {
    const { exportTree } = await import('./container-tree.ts')
    const { streamWhileThere } = await import('./while-there.ts')
    const container = this.#store.find(reference)
    emitContainer(this.#context, container, 'export')
    yield* streamWhileThere(this.#context, container, () => exportTree(this.#context, container))
  }

  /**
   * Copies `path` of the container to `hostPath`, by the rules of docker's cp.
   * @returns the bytes of the archive
   * @throws TsrunError not-found, conflict (file for directory, removed meanwhile), denied
   */
  async copyOut(reference: string, path: string, hostPath: string, options: CopyOptions = {}): Promise<number> {
    const { copyFiles } = await import('./copy-files.ts')
    const { openContainer, openHost } = await import('./container-tree.ts')
    const { whileThere } = await import('./while-there.ts')
    const container = this.#store.find(reference)
    return whileThere(this.#context, container, async () => {
      const from = openContainer(this.#context, container, path, 'read')
      const to = openHost(hostPath)
      emitContainer(this.#context, container, 'archive-path')
      try {
        // Files on the host belong to whoever copies them, unless the archive is to be kept as it is.
        const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
        return await copyFiles(from, to, { ...options, ...(options.archive === true ? {} : { owner }) })
      } finally {
        from.close()
        to.close()
      }
    })
  }

  /** The other way. */
  async copyIn(reference: string, hostPath: string, path: string, options: CopyOptions = {}): Promise<number> {
    const { copyFiles } = await import('./copy-files.ts')
    const { openContainer, openHost } = await import('./container-tree.ts')
    const from = openHost(hostPath)
    const container = this.#store.find(reference)
    const to = openContainer(this.#context, container, path, 'write')
    emitContainer(this.#context, container, 'extract-to-dir')
    try {
      return await copyFiles(from, to, options)
    } finally {
      from.close()
      to.close()
    }
  }

  /** A file, or a directory with all below it, as a tar archive. @throws TsrunError not-found, conflict (removed meanwhile) */
  async *archive(reference: string, path: string, options: { followLink?: boolean } = {}): AsyncGenerator<Buffer> {
    const { packPlace } = await import('./copy-files.ts')
    const { openContainer } = await import('./container-tree.ts')
    const { streamWhileThere } = await import('./while-there.ts')
    const container = this.#store.find(reference)
    const from = openContainer(this.#context, container, path, 'read')
    emitContainer(this.#context, container, 'archive-path')
    try {
      yield* streamWhileThere(this.#context, container, () => packPlace(from, options))
    } finally {
      from.close()
    }
  }

  /** Unpacks a tar archive into a directory of the container. @throws TsrunError not-found, invalid (no archive) */
  async extract(reference: string, path: string, archive: AsyncIterable<Buffer>): Promise<void> {
    const { unpackInto } = await import('./copy-files.ts')
    const { openContainer } = await import('./container-tree.ts')
    const container = this.#store.find(reference)
    const to = openContainer(this.#context, container, path, 'write')
    emitContainer(this.#context, container, 'extract-to-dir')
    try {
      await unpackInto(to, archive)
    } finally {
      to.close()
    }
  }

  /** Bytes of the files that it has changed or made. @throws TsrunError not-found */
  async size(reference: string): Promise<number> {
    const { folderSize } = await import('../folder-size.ts')
    return folderSize(this.#context.paths.containerFile(this.#store.find(reference).id, 'upper'))
  }

  get #store(): ContainerStore {
    return this.#context.store
  }
}
