// tar -> directory, as root, in the form overlayfs wants: owners, modes, times, links, devices, attributes and holes as the
// archive has them; whiteouts become character devices 0:0 and opaque directories get their attribute.
// Safe for any archive: see directory-tree.ts for how a path is found. A name is created, never opened through.

import { closeSync, constants, ftruncateSync, openSync, type Stats, writeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  chmodAt,
  chownAt,
  cString,
  fchmod,
  fchown,
  futimens,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkAt,
} from '../../ffi/file-at.ts'
import { displayName, type TarEntry, type TarTime } from '../../lib/tar-entry.ts'
import type { TarHandler } from '../../lib/tar-reader.ts'
import { TsrunError } from '../../model/errors.ts'
import { DirectoryTree, type Place } from './directory-tree.ts'
import { explain, normalise } from './entry-names.ts'
import {
  applyMetadata,
  copyContent,
  copyMetadata,
  markOpaque,
  readMetadata,
  setFileXattr,
  setXattrs,
} from './file-metadata.ts'
import { isWhiteout, type LowerLayers } from './lower-layers.ts'
import { refuseBeyond, type UnpackLimits } from './unpack-limits.ts'

const whiteoutPrefix = '.wh.'
const opaqueName = '.wh..wh..opq'
const createExclusive = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW

/** Unpacks one archive into one directory; feed it to a TarReader, then call finish(), and close() in any case. */
export class LayerUnpacker implements TarHandler {
  readonly #tree: DirectoryTree
  readonly #lower: LowerLayers
  readonly #limits: UnpackLimits
  /** Set last: what is created in a directory changes its time. */
  readonly #directoryTimes = new Map<string, TarTime>()
  #file: { readonly fd: number; readonly entry: TarEntry } | undefined
  #entries = 0
  #fileBytes = 0
  #hasRoot = false

  /** @param directory exists, is empty and nobody else's */
  constructor(directory: string, lower: LowerLayers, limits: UnpackLimits) {
    this.#tree = new DirectoryTree(directory, lower)
    this.#lower = lower
    this.#limits = limits
  }

  /** Bytes of all files, and how many entries there were. */
  get totals(): { readonly bytes: number; readonly entries: number } {
    return { bytes: this.#fileBytes, entries: this.#entries }
  }

  entry(entry: TarEntry): void {
    refuseBeyond('maxEntries', ++this.#entries, this.#limits)
    refuseBeyond('maxPathBytes', Math.max(entry.name.length, entry.linkName.length), this.#limits)
    try {
      this.#create(entry, normalise(entry.name))
    } catch (error) {
      throw explain(error, entry.name)
    }
  }

  data(bytes: Buffer, position: number): void {
    if (this.#file === undefined) return
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file.fd, bytes, at, bytes.length - at, position + at)
  }

  end(): void {
    if (this.#file === undefined) return
    const { fd, entry } = this.#file
    this.#file = undefined
    try {
      if (entry.isSparse) ftruncateSync(fd, entry.size)
      this.#fileBytes += entry.size
      fchown(fd, entry.uid, entry.gid)
      fchmod(fd, entry.mode)
      for (const [name, value] of entry.xattrs) setFileXattr(fd, name, value)
      futimens(fd, entry.atime ?? entry.mtime, entry.mtime)
    } catch (error) {
      throw explain(error, entry.name)
    } finally {
      closeSync(fd)
    }
  }

  /** The archive is complete: sets what had to wait. */
  finish(): void {
    for (const times of [this.#tree.implicitTimes, this.#directoryTimes]) {
      for (const [path, mtime] of times) this.#tree.setDirectoryTime(path, mtime)
    }
    if (this.#hasRoot) return
    // The top layer's root is the root of the merged tree: without a word on it, it is what the layer below has.
    const below = this.#lower.lookup('')
    const root = this.#rootPlace()
    if (below !== undefined) copyMetadata(below, root.parentFd, root.name)
    else chmodAt(root.parentFd, root.name, 0o755)
  }

  /** Idempotent. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    this.#file = undefined
    this.#tree.close()
  }

  #create(entry: TarEntry, path: string): void {
    const slash = path.lastIndexOf('/')
    const base = path.slice(slash + 1)
    if (base.startsWith(whiteoutPrefix)) {
      this.#whiteout(base, slash < 0 ? '' : path.slice(0, slash))
      return
    }
    if (path === '') {
      // A name for the root itself: only a directory can stand there.
      if (entry.type !== 'directory') throw new TsrunError('invalid', 'invalid-layer', 'the root must be a directory')
      this.#hasRoot = true
      this.#finishDirectory(this.#rootPlace(), path, entry)
      return
    }
    switch (entry.type) {
      case 'file':
        this.#openFile(path, entry)
        return
      case 'directory':
        this.#directory(path, entry)
        return
      case 'hardlink':
        this.#hardlink(path, entry)
        return
      case 'symlink': {
        const target = cString(entry.linkName)
        this.#finishNode(
          this.#replacing(path, p => symlinkAt(target, p.parentFd, p.name)),
          entry,
        )
        this.#tree.hideLower()
        return
      }
      default:
        this.#device(path, entry)
    }
  }

  #openFile(path: string, entry: TarEntry): void {
    let fd = -1
    this.#replacing(path, p => {
      fd = openAt(p.parentFd, p.name, createExclusive, 0o600)
    })
    this.#file = { fd, entry }
  }

  #directory(path: string, entry: TarEntry): void {
    let place = this.#tree.place(path)
    // A directory that comes twice is looked at first: an error for each would make a long archive of them slow.
    const there = this.#directoryTimes.has(path) ? this.#tree.stat(place) : this.#makeDirectory(place)
    if (there !== undefined && !there.isDirectory()) {
      this.#tree.remove(place)
      place = this.#tree.place(path)
      mkdirAt(place.parentFd, place.name, 0o700)
      // The archive both removes the lower directory and brings a new one.
      if (isWhiteout(there)) markOpaque(place.parentFd, place.name)
    }
    this.#finishDirectory(place, path, entry)
    this.#tree.hideLower()
  }

  /** Makes a directory; what stands in its place is left and returned. */
  #makeDirectory(place: Place): Stats | undefined {
    try {
      mkdirAt(place.parentFd, place.name, 0o700)
      return undefined
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      return this.#tree.stat(place)
    }
  }

  #finishDirectory(place: Place, path: string, entry: TarEntry): void {
    chownAt(place.parentFd, place.name, entry.uid, entry.gid)
    chmodAt(place.parentFd, place.name, entry.mode)
    if (entry.xattrs.size > 0) setXattrs(place.parentFd, place.name, entry.xattrs)
    this.#directoryTimes.set(path, entry.mtime)
  }

  #device(path: string, entry: TarEntry): void {
    const { deviceMajor: major, deviceMinor: minor } = entry
    if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) {
      throw new TsrunError('invalid', 'invalid-layer', `device ${major}:${minor} is out of range`)
    }
    const kind = entry.type === 'fifo' ? S_IFIFO : entry.type === 'block-device' ? S_IFBLK : S_IFCHR
    const device = entry.type === 'fifo' ? { major: 0, minor: 0 } : { major, minor }
    this.#finishNode(
      this.#replacing(path, p => mknodAt(p.parentFd, p.name, kind | 0o600, device)),
      entry,
    )
  }

  #finishNode(place: Place, entry: TarEntry): void {
    const metadata = { ...entry, atime: entry.atime ?? entry.mtime }
    applyMetadata(place.parentFd, place.name, metadata, entry.type === 'symlink')
  }

  #hardlink(path: string, entry: TarEntry): void {
    const targetPath = normalise(entry.linkName)
    if (targetPath === '') throw new TsrunError('invalid', 'invalid-layer', 'hard link to the root')
    let target = this.#tree.place(targetPath)
    let there = this.#tree.stat(target)
    if (there === undefined) {
      this.#copyUp(this.#tree.resolveName(targetPath), target)
      there = this.#tree.stat(target)
    }
    if (there === undefined || there.isDirectory() || isWhiteout(there)) {
      throw new TsrunError('invalid', 'invalid-layer', `hard link to "${displayName(targetPath)}", which is no file`)
    }
    const place = this.#tree.place(path)
    const taken = this.#tree.stat(place)
    // Already that very file, perhaps under another path: removing the name first would lose it.
    if (taken?.ino === there.ino) return
    if (taken !== undefined) {
      this.#tree.remove(place)
      target = this.#tree.place(targetPath)
    }
    const name = this.#tree.place(path)
    linkAt(target.parentFd, target.name, name.parentFd, name.name)
  }

  /** Brings a file of a lower layer into this one, so that a hard link can be made to it. */
  #copyUp(path: string, place: Place): void {
    const source = this.#lower.lookup(path)
    if (source === undefined) {
      throw new TsrunError('invalid', 'invalid-layer', `hard link to "${displayName(path)}", which is not there`)
    }
    if (!source.stat.isFile())
      throw new TsrunError('unsupported', 'invalid-layer', 'hard link to a special file of a lower layer')
    const from = openSync(source.path, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      const to = openAt(place.parentFd, place.name, createExclusive, 0o600)
      try {
        copyContent(from, to)
        this.#fileBytes += source.stat.size
      } finally {
        closeSync(to)
      }
      applyMetadata(place.parentFd, place.name, readMetadata(source.path), false)
    } finally {
      closeSync(from)
    }
  }

  #whiteout(base: string, directory: string): void {
    // Nothing lies below the first layer, and a whiteout there would show as a broken device.
    if (this.#lower.isEmpty) return
    if (base === opaqueName) {
      this.#opaque(directory)
      return
    }
    // Other names of aufs' own (.wh..wh.plnk, .wh..wh.aufs) mean nothing here.
    if (base.startsWith('.wh..wh.')) return
    const name = base.slice(whiteoutPrefix.length)
    if (name === '' || name === '.' || name === '..') {
      throw new TsrunError('invalid', 'invalid-layer', 'a whiteout of no name')
    }
    const path = directory === '' ? name : `${directory}/${name}`
    if (this.#lower.lookup(this.#tree.resolveName(path)) === undefined) return
    const place = this.#tree.place(path)
    const there = this.#tree.stat(place)
    if (there === undefined) mknodAt(place.parentFd, place.name, S_IFCHR, { major: 0, minor: 0 })
    // A whiteout is about the layers below, wherever in the archive it stands.
    else if (there.isDirectory()) markOpaque(place.parentFd, place.name)
  }

  #opaque(directory: string): void {
    const path = this.#tree.resolve(directory)
    if (this.#lower.lookup(path) === undefined) return
    const place = path === '' ? this.#rootPlace() : this.#tree.place(`${path}/.`)
    markOpaque(place.parentFd, place.name)
  }

  /** Runs `create`; when the name is taken, removes what is there and runs it again: the later entry wins. */
  #replacing(path: string, create: (place: Place) => void): Place {
    let place = this.#tree.place(path)
    try {
      create(place)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      this.#tree.remove(place)
      this.#directoryTimes.delete(path)
      // Removing a directory forgets the open ones, this parent among them.
      place = this.#tree.place(path)
      create(place)
    }
    return place
  }

  #rootPlace(): Place {
    return { parentFd: this.#tree.rootFd, name: cString('.') }
  }
}
