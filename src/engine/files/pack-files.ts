// A file, or a directory with all below it -> tar. Others may be at work in it: no link is ever followed.

import { type BigIntStats, closeSync } from 'node:fs'
import { readXattrs } from '../../drivers/image/file-metadata.ts'
import {
  entryOf,
  FirstNames,
  inChunks,
  lstatIfThere,
  packFile,
  sortedNames,
  typeOf,
} from '../../drivers/image/pack-members.ts'
import type { TarEntry } from '../../lib/tar-entry.ts'
import { encodeTarHeader } from '../../lib/tar-writer.ts'
import { type IdMaps, toContainerId } from '../../model/id-maps.ts'
import { openChild, pathIn, readLinkOf } from './file-tree.ts'

/** What to pack: `name` in an open directory. */
export interface PackRequest {
  readonly parentFd: number
  /** Byte string. `.` is the directory itself. */
  readonly name: string
  /** What it is called in the archive; undefined: only what is in it, under their own names. */
  readonly as: string | undefined
  /** The users that the files belong to, where the host knows them by other ids than the archive shall have. */
  readonly idMaps?: IdMaps | undefined
  /** With `as` undefined, what the names begin with: empty, or with a slash at its end. Default empty. */
  readonly prefix?: string
  /**
   * Whether a name in the archive is wanted. `inside`: a directory that is wanted only if something in it is. It is not asked
   * for the directory whose content is packed. Default: all are.
   */
  readonly select?: (name: string, isDirectory: boolean) => 'take' | 'inside' | 'skip'
  /** What the archive says of a file instead. Default: what it is. */
  readonly describe?: (entry: TarEntry) => TarEntry
}

/** The archive, in chunks of about a megabyte. */
export function packFiles(request: PackRequest): AsyncGenerator<Buffer> {
  return inChunks(new Packer(request).start())
}

class Packer {
  readonly #request: PackRequest
  readonly #links = new FirstNames()

  constructor(request: PackRequest) {
    this.#request = request
  }

  #header(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): Buffer {
    const { idMaps: maps, describe: change = entry => entry } = this.#request
    if (maps === undefined) return encodeTarHeader(change(entryOf(stat, init)))
    const ids = { uid: toContainerId(maps.uid, Number(stat.uid)), gid: toContainerId(maps.gid, Number(stat.gid)) }
    return encodeTarHeader(change(entryOf(stat, { ...init, ...ids })))
  }

  *start(): Generator<Buffer> {
    const { parentFd, name, as, prefix = '' } = this.#request
    if (as !== undefined) yield* this.#member(parentFd, name, as)
    else yield* this.#content(openChild(parentFd, name), prefix)
  }

  /** Closes `fd`. @param prefix empty, or with a slash at its end */
  *#content(fd: number, prefix: string): Generator<Buffer> {
    try {
      for (const name of sortedNames(fd)) yield* this.#member(fd, name, `${prefix}${name}`)
    } finally {
      closeSync(fd)
    }
  }

  *#member(parentFd: number, name: string, as: string): Generator<Buffer> {
    const path = pathIn(parentFd, name === '.' ? './' : name)
    const stat = lstatIfThere(path)
    const type = stat === undefined ? undefined : typeOf(stat)
    if (stat === undefined || type === undefined) return
    const wish = this.#request.select?.(as, type === 'directory') ?? 'take'
    if (wish === 'skip') return
    const first = this.#links.of(stat, as)
    if (first !== undefined) {
      yield this.#header(stat, { type: 'hardlink', name: as, linkName: first })
      return
    }
    const xattrs = readXattrs(path)
    if (type === 'directory') {
      const header = this.#header(stat, { type, name: `${as}/`, xattrs })
      yield* after(header, this.#content(openChild(parentFd, name), `${as}/`), wish === 'inside')
    } else if (type === 'file')
      yield* packFile({ parentFd, name, as, stat }, (opened, size) =>
        this.#header(opened, { type, name: as, size, xattrs }),
      )
    else if (type === 'symlink')
      yield this.#header(stat, { type, name: as, linkName: readLinkOf(parentFd, name), xattrs })
    else yield this.#header(stat, { type, name: as, xattrs })
  }
}

/** A directory's header and what is in it; with `isLazy` nothing where nothing is in it. */
function* after(header: Buffer, content: Iterable<Buffer>, isLazy: boolean): Generator<Buffer> {
  if (!isLazy) yield header
  let isDue = isLazy
  for (const bytes of content) {
    if (isDue) yield header
    isDue = false
    yield bytes
  }
}
