// The files of an image archive, each written into staging as it comes by and hashed on the way: an archive on a pipe is read once,
// and its manifest may stand at the end. Nothing is trusted to be small, so nothing is held in memory.

import { createHash, type Hash } from 'node:crypto'
import { closeSync, createReadStream, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { displayName, type TarEntry } from '../../lib/tar-entry.ts'
import type { TarHandler } from '../../lib/tar-reader.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Digest } from '../../model/image.ts'
import { normalise } from './entry-names.ts'
import type { Staging } from './staging.ts'
import { refuseBeyond, type UnpackLimits } from './unpack-limits.ts'

/** A file of the archive. */
export interface ArchivedFile {
  readonly path: string
  readonly digest: Digest
  readonly size: number
}

const maxDocumentBytes = 8 * 2 ** 20

export class ArchiveIntake implements TarHandler {
  readonly #staging: Staging
  readonly #limits: UnpackLimits
  readonly #files = new Map<string, ArchivedFile>()
  readonly #links = new Map<string, string>()
  #open:
    | { readonly fd: number; readonly path: string; readonly name: string; readonly hash: Hash; size: number }
    | undefined
  #entries = 0

  constructor(staging: Staging, limits: UnpackLimits) {
    this.#staging = staging
    this.#limits = limits
  }

  /** Names of all members but directories, for messages and to tell what kind of archive it is. */
  get names(): string[] {
    return [...this.#files.keys()]
  }

  /** A file of the archive; links are followed. */
  file(name: string): ArchivedFile | undefined {
    let at = name
    for (let hops = 0; hops < 10; hops++) {
      const target = this.#links.get(at)
      if (target === undefined) return this.#files.get(at)
      at = target
    }
    return undefined
  }

  /** A small file whole. @throws TsrunError invalid when it is too large for a document */
  read(name: string): Buffer | undefined {
    const file = this.file(name)
    if (file === undefined) return undefined
    if (file.size > maxDocumentBytes)
      throw new TsrunError('invalid', 'invalid-archive', `"${name}" in the archive is too large`)
    return readFileSync(file.path)
  }

  stream(name: string): AsyncIterable<Buffer> | undefined {
    const file = this.file(name)
    // It may have been moved into the store already.
    if (file === undefined || statSync(file.path, { throwIfNoEntry: false }) === undefined) return undefined
    return createReadStream(file.path, { highWaterMark: 1 << 20 })
  }

  entry(entry: TarEntry): void {
    refuseBeyond('maxEntries', ++this.#entries, this.#limits)
    const name = normalise(entry.name)
    if (entry.type === 'directory') return
    if (entry.type === 'symlink' || entry.type === 'hardlink') {
      const folder = entry.type === 'symlink' ? name.split('/').slice(0, -1) : []
      this.#links.set(name, resolveInside([...folder, ...entry.linkName.split('/')]))
      return
    }
    if (entry.type !== 'file' || entry.isSparse) {
      throw new TsrunError('invalid', 'invalid-archive', `"${displayName(name)}" in the archive is no plain file`)
    }
    const path = this.#staging.temporary('member')
    this.#open = { fd: openSync(path, 'wx', 0o600), path, name, hash: createHash('sha256'), size: 0 }
  }

  data(bytes: Buffer): void {
    if (this.#open === undefined) return
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#open.fd, bytes, at)
    this.#open.hash.update(bytes)
    this.#open.size += bytes.length
  }

  end(): void {
    if (this.#open === undefined) return
    const { fd, path, name, hash, size } = this.#open
    this.#open = undefined
    closeSync(fd)
    this.#links.delete(name)
    this.#files.set(name, { path, digest: `sha256:${hash.digest('hex')}` as Digest, size })
  }

  /** Idempotent. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd)
    this.#open = undefined
  }
}

/** Names in an archive are keys here, never paths: ".." just takes a part off. */
function resolveInside(parts: readonly string[]): string {
  const path: string[] = []
  for (const part of parts) {
    if (part === '..') path.pop()
    else if (part !== '' && part !== '.') path.push(part)
  }
  return path.join('/')
}
