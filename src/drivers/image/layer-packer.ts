// directory -> tar: the upper directory of an overlay as a layer (whiteouts and opaque directories in the words of the image
// specification), or a whole root file system. Names are sorted by their bytes and nothing depends on when or where it is done,
// so the same tree gives the same digest. A container may be at work in the tree: no link is ever followed.

import { type BigIntStats, closeSync, constants, readlinkSync } from 'node:fs'
import { cString, lgetxattr, openAt2, RESOLVE_NO_SYMLINKS } from '../../ffi/file-at.ts'
import type { TarEntry, TarTime } from '../../lib/tar-entry.ts'
import { encodeTarHeader, tarEntry } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { fileTime, readXattrs } from './file-metadata.ts'
import { opaqueXattr } from './lower-layers.ts'
import { entryOf, FirstNames, inChunks, lstatIfThere, packFile, sortedNames, typeOf } from './pack-members.ts'
import { procPath } from './proc-path.ts'

export interface PackOptions {
  /** `upper`: the upper directory of an overlay, as a layer. `tree`: a root file system, as it is. Default `upper`. */
  readonly kind?: 'upper' | 'tree'
  /** SOURCE_DATE_EPOCH: no time is later than this, in seconds; and none has a fraction. */
  readonly epoch?: number
}

const redirectXattr = cString('trusted.overlay.redirect')
const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** The tar of a directory, in chunks. @throws TsrunError unsupported: the overlay was mounted with redirect_dir */
export async function* packDirectory(directory: string, options: PackOptions = {}): AsyncGenerator<Buffer> {
  const root = openAt2(-100, cString(Buffer.from(directory).toString('latin1')), directoryFlags, 0)
  yield* inChunks(new Packer(options).walk(root, ''))
}

class Packer {
  readonly #options: PackOptions
  readonly #links = new FirstNames()

  constructor(options: PackOptions) {
    this.#options = options
  }

  /** All that is in an open directory, which is closed at the end. @param path its name with a slash behind, or empty */
  *walk(fd: number, path: string): Generator<Buffer> {
    try {
      for (const name of sortedNames(fd)) yield* this.#member(fd, name, path)
    } finally {
      closeSync(fd)
    }
  }

  *#member(fd: number, name: string, folder: string): Generator<Buffer> {
    const real = procPath(fd, cString(name))
    const stat = lstatIfThere(real)
    if (stat === undefined) return
    const path = `${folder}${name}`
    if (this.#options.kind !== 'tree' && stat.isCharacterDevice() && stat.rdev === 0n) {
      yield encodeTarHeader(tarEntry({ type: 'file', name: `${folder}.wh.${name}`, mtime: this.#time(stat) }))
      return
    }
    const type = typeOf(stat)
    if (type === undefined) return
    const linkName = this.#links.of(stat, path)
    if (linkName !== undefined) {
      yield encodeTarHeader(this.#entry(stat, { type: 'hardlink', name: path, linkName }))
      return
    }
    const xattrs = readXattrs(real)
    if (type === 'file')
      yield* packFile({ parentFd: fd, name, as: path, stat }, (_, size) =>
        encodeTarHeader(this.#entry(stat, { type, name: path, size, xattrs })),
      )
    else if (type === 'directory') yield* this.#directory(fd, { name, path, stat, xattrs })
    else if (type === 'symlink') {
      const target = readlinkSync(real, 'buffer').toString('latin1')
      yield encodeTarHeader(this.#entry(stat, { type, name: path, linkName: target, xattrs }))
    } else {
      yield encodeTarHeader(this.#entry(stat, { type, name: path, xattrs }))
    }
  }

  *#directory(fd: number, { name, path, stat, xattrs }: Member): Generator<Buffer> {
    yield encodeTarHeader(this.#entry(stat, { type: 'directory', name: `${path}/`, xattrs }))
    const child = openAt2(fd, cString(name), directoryFlags, RESOLVE_NO_SYMLINKS)
    if (this.#options.kind !== 'tree') {
      const self = Buffer.from(`/proc/self/fd/${child}/.\0`)
      if (lgetxattr(self, redirectXattr) !== undefined) {
        closeSync(child)
        throw new TsrunError(
          'unsupported',
          'overlay-redirect',
          `cannot make a layer: directory "${path}" was renamed in place`,
          {
            hint: 'the overlay must be mounted with redirect_dir=off',
          },
        )
      }
      if (lgetxattr(self, opaqueXattr)?.toString() === 'y') {
        yield encodeTarHeader(tarEntry({ type: 'file', name: `${path}/.wh..wh..opq`, mtime: this.#time(stat) }))
      }
    }
    yield* this.walk(child, `${path}/`)
  }

  #entry(stat: BigIntStats, init: Partial<TarEntry> & Pick<TarEntry, 'type' | 'name'>): TarEntry {
    return entryOf(stat, { mtime: this.#time(stat), ...init })
  }

  #time(stat: BigIntStats): TarTime {
    const time = fileTime(stat.mtimeNs)
    const { epoch } = this.#options
    return epoch === undefined ? time : { seconds: Math.min(time.seconds, epoch), nanoseconds: 0 }
  }
}

interface Member {
  readonly name: string
  readonly path: string
  readonly stat: BigIntStats
  readonly xattrs: ReadonlyMap<string, Buffer>
}
