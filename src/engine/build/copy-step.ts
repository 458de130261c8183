// COPY and ADD: files into a new layer, without a container. They are written through an overlay of the layers below, mounted for
// nobody else, so that links in the image lead where they would in a container and what is not touched costs nothing.

import { createHash } from 'node:crypto'
import { chmodSync, chownSync, closeSync, constants, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import {
  cString,
  fchown,
  mkdirAt,
  openAt2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../../ffi/file-at.ts'
import { OverlayView } from '../../kernel/overlay.ts'
import { readFileInLayers } from '../../kernel/rootfs-file.ts'
import type { ModeChange } from '../../lib/file-mode.ts'
import { parseId } from '../../lib/passwd.ts'
import { byteString, type TarEntry } from '../../lib/tar-entry.ts'
import { encodeTarHeader, tarEnd, tarEntry, tarPadding } from '../../lib/tar-writer.ts'
import { TsrunError } from '../../model/errors.ts'
import { resolveUser } from '../../model/user.ts'
import { FileTree } from '../files/file-tree.ts'
import { unpackFiles } from '../files/unpack-files.ts'
import { addedArchive } from './added-archive.ts'
import type { BuildParts } from './build-parts.ts'
import { baseName, packSource, type SourceFile } from './file-source.ts'
import type { IgnoreRules } from './ignore-file.ts'

const MAX_ACCOUNT_FILE_BYTES = 8 << 20

/** A file whose content is in the Dockerfile, or was downloaded. */
export interface InlineFile {
  readonly name: string
  readonly content: Buffer
  readonly mode: number
  /** Seconds since 1970; now when not given. */
  readonly mtime?: number
}

export interface CopyRequest {
  readonly files: readonly SourceFile[]
  readonly inline: readonly InlineFile[]
  /** Absolute in the image; with a slash at its end it is a directory. */
  readonly destination: string
  /** `user[:group]`, names of the image or numbers. */
  readonly chown?: string
  /** As it was written, and what it makes of a mode. */
  readonly chmod?: { readonly text: string; readonly change: ModeChange }
  readonly exclude?: IgnoreRules
  /** Keep the folders that a source is in. */
  readonly keepsParents: boolean
  /** ADD: archives are unpacked. */
  readonly unpacks: boolean
}

/** What the files are, whatever their times: names, modes, owners that count, bytes. */
export async function digestOfFiles({ files, inline, exclude }: CopyRequest): Promise<string> {
  const hash = createHash('sha256')
  for (const file of files) {
    hash.update(`\n${JSON.stringify([file.path, file.isDirectory])}\n`)
    const as = file.isDirectory ? '' : 'file'
    const describe = (entry: TarEntry): TarEntry => ({
      ...asCopied(file, entry),
      mtime: { seconds: 0, nanoseconds: 0 },
    })
    const options = exclude === undefined ? { as, describe } : { as, describe, exclude }
    for await (const chunk of packSource(file, options)) hash.update(chunk)
  }
  for (const { name, content, mode } of inline)
    hash.update(`\n${JSON.stringify([name, mode, content.length])}\n`).update(content)
  return hash.digest('hex')
}

/**
 * Writes the files into `<folder>/fs`.
 * @param layerDirs what is below, top first
 * @throws TsrunError not-found, conflict (a file where a directory should be), invalid (owner)
 */
export async function copyInto(
  parts: BuildParts,
  { folder, layerDirs }: { readonly folder: string; readonly layerDirs: readonly string[] },
  request: CopyRequest,
): Promise<void> {
  const owner = request.chown === undefined ? undefined : resolveOwner(layerDirs, request.chown)
  await withUpper({ folder, layerDirs }, async root => {
    const destination = request.destination
    const isMany = request.files.length + request.inline.length > 1 || request.keepsParents
    const isDirectory = destination.endsWith('/') || isMany || isDirectoryIn(root, destination)
    const path = byteString(destination).split('/').filter(Boolean).join('/')
    const rootFd = root.openDirectory('/')
    try {
      const copy = new Copy({ parts, request, rootFd, owner })
      for (const file of request.files) await copy.file(file, path, isDirectory)
      for (const file of request.inline) await copy.inline(file, path, isDirectory)
    } finally {
      closeSync(rootFd)
    }
  })
}

/** Makes a directory with those above it, as far as they are missing. */
export async function makeDirectory(
  place: { readonly folder: string; readonly layerDirs: readonly string[] },
  path: string,
  user: string | undefined,
): Promise<void> {
  const owner = user === undefined ? undefined : resolveOwner(place.layerDirs, user)
  await withUpper(place, async root => {
    const rootFd = root.openDirectory('/')
    try {
      ensureDirectory(rootFd, byteString(path).split('/').filter(Boolean).join('/'), owner)
    } finally {
      closeSync(rootFd)
    }
  })
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

interface CopyParts {
  readonly parts: BuildParts
  readonly request: CopyRequest
  readonly rootFd: number
  readonly owner: Owner | undefined
}

class Copy {
  readonly #parts: BuildParts
  readonly #request: CopyRequest
  readonly #rootFd: number
  readonly #owner: Owner | undefined

  constructor({ parts, request, rootFd, owner }: CopyParts) {
    this.#parts = parts
    this.#request = request
    this.#rootFd = rootFd
    this.#owner = owner
  }

  async file(file: SourceFile, destination: string, intoDirectory: boolean): Promise<void> {
    this.#parts.signal.throwIfAborted()
    const { exclude, keepsParents, unpacks } = this.#request
    const folder = keepsParents ? joined(destination, parentOf(file)) : destination
    const as = file.isDirectory || !intoDirectory ? folder : joined(folder, baseName(file.path))
    if (unpacks && !file.isDirectory && (await this.#unpacked(file, destination))) return
    ensureDirectory(this.#rootFd, file.isDirectory || intoDirectory ? folder : above(folder), this.#owner)
    const describe = (entry: TarEntry): TarEntry => this.#shown(asCopied(file, entry))
    const options = exclude === undefined ? { as, describe } : { as, describe, exclude }
    await this.#unpack(this.#rootFd, packSource(file, options))
  }

  async inline({ name, content, mode, mtime }: InlineFile, destination: string, intoDirectory: boolean): Promise<void> {
    const as = intoDirectory ? joined(destination, byteString(name)) : destination
    ensureDirectory(this.#rootFd, intoDirectory ? destination : above(destination), this.#owner)
    const seconds = mtime ?? Math.floor(Date.now() / 1000)
    const entry = tarEntry({ type: 'file', name: as, size: content.length, mode, mtime: { seconds, nanoseconds: 0 } })
    await this.#unpack(this.#rootFd, [encodeTarHeader(this.#shown(entry)), content, tarPadding(content.length), tarEnd])
  }

  /** An archive's files, into the directory. */
  async #unpacked(file: SourceFile, destination: string): Promise<boolean> {
    const archive = await addedArchive(file)
    if (archive === undefined) return false
    ensureDirectory(this.#rootFd, destination, this.#owner)
    const fd = openInRoot(this.#rootFd, destination)
    try {
      await this.#unpack(fd, archive, this.#owner)
    } finally {
      closeSync(fd)
    }
    return true
  }

  async #unpack(fd: number, archive: AsyncIterable<Buffer> | Iterable<Buffer>, owner?: Owner): Promise<void> {
    const { signal } = this.#parts
    const watched = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of archive) {
        signal.throwIfAborted()
        yield chunk
      }
    }
    await unpackFiles(fd, watched(), owner === undefined ? {} : { owner })
  }

  #shown(entry: TarEntry): TarEntry {
    const { chmod } = this.#request
    const { epoch } = this.#parts
    return {
      ...entry,
      ...(this.#owner ?? {}),
      ...(chmod === undefined || entry.type === 'symlink'
        ? {}
        : { mode: chmod.change(entry.mode & 0o7777, entry.type === 'directory') }),
      ...(epoch === undefined ? {} : { mtime: { seconds: epoch, nanoseconds: 0 } }),
    }
  }
}

/** As docker has it: what comes from the context is root's, and of its attributes only the capabilities count. */
function asCopied({ source }: SourceFile, entry: TarEntry): TarEntry {
  if (source.keepsOwner) return entry
  const xattrs = new Map([...entry.xattrs].filter(([name]) => name === 'security.capability'))
  return { ...entry, uid: 0, gid: 0, xattrs }
}

/** Runs `task` over the layers with `<folder>/fs` on top of them, which it makes. */
async function withUpper(
  { folder, layerDirs }: { readonly folder: string; readonly layerDirs: readonly string[] },
  task: (root: FileTree) => Promise<void>,
): Promise<void> {
  const upperDir = join(folder, 'fs')
  const workDir = join(folder, 'work')
  mkdirSync(upperDir, { recursive: true })
  mkdirSync(workDir, { mode: 0o700 })
  const { uid, gid, mode } = statSync(layerDirs[0] ?? '/')
  chownSync(upperDir, uid, gid)
  chmodSync(upperDir, mode & 0o7777)
  const view = new OverlayView(layerDirs, { upperDir, workDir })
  try {
    const root = FileTree.within(view.path)
    try {
      await task(root)
    } finally {
      root.close()
    }
  } finally {
    view.close()
  }
}

/** Names are those of the image; a number alone is user and group, as docker has it. @throws TsrunError invalid */
function resolveOwner(layerDirs: readonly string[], spec: string): Owner {
  const read = (path: string) => readFileInLayers(layerDirs, path, MAX_ACCOUNT_FILE_BYTES)?.toString('utf8') ?? ''
  const isNumber = parseId(spec) !== undefined
  const { uid, gid } = resolveUser(isNumber ? `${spec}:${spec}` : spec, read('/etc/passwd'), read('/etc/group'))
  return { uid, gid }
}

function isDirectoryIn(root: FileTree, path: string): boolean {
  const spot = root.locate(byteString(path), { follow: true })
  if (spot === undefined) return false
  closeSync(spot.parentFd)
  return spot.stat?.isDirectory() === true
}

/** Makes what is missing of `path`, links in it followed inside of the root. @throws TsrunError conflict */
function ensureDirectory(rootFd: number, path: string, owner: Owner | undefined): void {
  const parts = path === '' ? [] : path.split('/')
  for (const [index, name] of parts.entries()) {
    const parent = openInRoot(rootFd, parts.slice(0, index).join('/'))
    try {
      mkdirAt(parent, cString(name), 0o755)
      if (owner === undefined) continue
      const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
      const fd = openAt2(parent, cString(name), flags, RESOLVE_NO_SYMLINKS)
      fchown(fd, owner.uid, owner.gid)
      closeSync(fd)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    } finally {
      closeSync(parent)
    }
  }
}

function openInRoot(rootFd: number, path: string): number {
  try {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY
    return openAt2(rootFd, cString(`./${path}`), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
  } catch (error) {
    if (!hasCode(error, 'ENOTDIR', 'ENOENT', 'ELOOP')) throw error
    const shown = Buffer.from(path, 'latin1').toString('utf8')
    throw new TsrunError('conflict', 'not-a-directory', `cannot copy to "/${shown}": it is not a directory`)
  }
}

function parentOf({ path, isDirectory }: SourceFile): string {
  return isDirectory ? path : above(path)
}

function above(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}

function joined(folder: string, name: string): string {
  return folder === '' || name === '' ? `${folder}${name}` : `${folder}/${name}`
}
