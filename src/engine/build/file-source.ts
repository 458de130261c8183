// Where COPY takes files from: the context, another stage or an image. Every path is looked up inside of it, whatever its links
// say; what is named is packed as tar, which is both what is hashed for the cache and what is unpacked into the new layer.

import { closeSync, readdirSync } from 'node:fs'
import { byteString, displayName, type TarEntry } from '../../lib/tar-entry.ts'
import { TsrunError } from '../../model/errors.ts'
import type { FileTree, Spot } from '../files/file-tree.ts'
import { packFiles } from '../files/pack-files.ts'
import { hasGlob, matchesGlob, PatternError, parseGlob } from './glob.ts'
import type { IgnoreRules } from './ignore-file.ts'

/** A tree with what of it may not be seen. */
export interface FileSource {
  readonly tree: FileTree
  readonly ignore: IgnoreRules
  /** `the build context`, `stage "builder"`. */
  readonly label: string
  /** Owner and group as they are there; false: root's, as docker has files of the context. */
  readonly keepsOwner: boolean
}

/** Something that a source has. */
export interface SourceFile {
  readonly source: FileSource
  /** Byte string, relative to the root of the tree, without `.` and `..`; empty for the root. */
  readonly path: string
  readonly isDirectory: boolean
}

/** What is there by that name or pattern, sorted. @throws TsrunError not-found, invalid (leads out of the tree) */
export function findFiles(source: FileSource, wanted: string): SourceFile[] {
  const path = inside(source, wanted)
  try {
    const found = hasGlob(path) ? expand(source, path) : [path]
    const files = found.flatMap(each => look(source, each) ?? [])
    if (files.length > 0) return files
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new TsrunError('invalid', 'pattern', `cannot copy "${wanted}": ${error.message}`)
  }
  const isIgnored = !hasGlob(path) && source.ignore.excludes(decoded(path))
  throw new TsrunError('not-found', 'no-such-file', `cannot copy "${wanted}": it is not in ${source.label}`, {
    hint: isIgnored
      ? '.dockerignore leaves it out'
      : 'paths begin at the root of the context, not where the Dockerfile is',
  })
}

export interface PackOptions {
  /** What the names begin with: of a directory what is in it goes there, of a file it is the name itself. */
  readonly as: string
  readonly exclude?: IgnoreRules
  readonly describe: (entry: TarEntry) => TarEntry
}

/** A file, or what is in a directory, as tar. */
export async function* packSource(file: SourceFile, options: PackOptions): AsyncGenerator<Buffer> {
  const { source, path, isDirectory } = file
  const spot = source.tree.locate(path === '' ? '/' : path, { follow: true })
  if (spot?.stat === undefined) throw vanished(file)
  const { parentFd, name } = spot
  const prefix = isDirectory && options.as !== '' ? `${options.as}/` : options.as
  /** What is packed as this name: below the source, or the name of the one file. */
  const below = (as: string): string => (isDirectory ? as.slice(prefix.length) : baseName(path))
  const original = (as: string): string => {
    if (!isDirectory) return path
    return path === '' ? below(as) : `${path}/${below(as)}`
  }
  const { exclude } = options
  const excludes = (as: string): boolean => {
    const from = decoded(original(as))
    return (
      source.ignore.excludes(from) || exclude?.excludes(from) === true || exclude?.excludes(decoded(below(as))) === true
    )
  }
  const hasExceptions = source.ignore.hasExceptions || exclude?.hasExceptions === true
  const select = (as: string, isFolder: boolean): 'take' | 'inside' | 'skip' => {
    if (!excludes(as)) return 'take'
    return isFolder && hasExceptions ? 'inside' : 'skip'
  }
  try {
    const content = isDirectory ? { as: undefined, prefix } : { as: options.as }
    yield* packFiles({ parentFd, name, ...content, select, describe: options.describe })
  } finally {
    closeSync(parentFd)
  }
}

/** The last part of a source's path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Without `.`, and never further up than the root. */
function inside({ label }: FileSource, wanted: string): string {
  const parts: string[] = []
  for (const part of wanted.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined)
      throw new TsrunError('invalid', 'outside', `cannot copy "${wanted}": it leads out of ${label}`, {
        hint: 'only what is in the context can be copied: name a larger one, and the Dockerfile in it with -f',
      })
  }
  return byteString(parts.join('/'))
}

function look(source: FileSource, path: string): SourceFile | undefined {
  const spot = locate(source, path)
  if (spot?.stat === undefined) return undefined
  closeSync(spot.parentFd)
  const isDirectory = spot.stat.isDirectory()
  const isExcluded = path !== '' && source.ignore.excludes(decoded(path))
  if (isExcluded && !(isDirectory && source.ignore.hasExceptions)) return undefined
  return { source, path, isDirectory }
}

function locate({ tree }: FileSource, path: string): Spot | undefined {
  const spot = tree.locate(path === '' ? '/' : path, { follow: true })
  if (spot !== undefined && spot.stat === undefined) closeSync(spot.parentFd)
  return spot
}

/** Part by part: only folders that match are read. */
function expand(source: FileSource, pattern: string): string[] {
  let found = ['']
  for (const part of pattern.split('/')) {
    const join = (folder: string, name: string) => (folder === '' ? name : `${folder}/${name}`)
    if (!hasGlob(part)) {
      found = found.map(folder => join(folder, part))
      continue
    }
    const glob = parseGlob(decoded(part), 'path')
    found = found.flatMap(folder =>
      namesIn(source, folder)
        .filter(name => matchesGlob(glob, decoded(name)))
        .map(name => join(folder, name)),
    )
  }
  return found
}

function namesIn(source: FileSource, folder: string): string[] {
  const spot = locate(source, folder)
  if (spot?.stat === undefined) return []
  closeSync(spot.parentFd)
  if (!spot.stat.isDirectory()) return []
  const fd = source.tree.openDirectory(folder === '' ? '/' : folder)
  try {
    return readdirSync(`/proc/self/fd/${fd}`, 'buffer')
      .map(name => name.toString('latin1'))
      .sort()
  } finally {
    closeSync(fd)
  }
}

/** For patterns, which are text. */
function decoded(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8')
}

function vanished({ path, source }: SourceFile): TsrunError {
  return new TsrunError(
    'conflict',
    'file-changed',
    `cannot copy "${displayName(path)}": it vanished from ${source.label} meanwhile`,
  )
}
