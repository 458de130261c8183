// The directory that a build takes files from, its Dockerfile and its .dockerignore. Whatever links are in it, nothing outside
// of it is read.

import { closeSync, constants, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { decompress, detectCompression } from '../../drivers/image/decompress.ts'
import type { Staging } from '../../drivers/image/staging.ts'
import { hasCode } from '../../ffi/errno.ts'
import { readFileInRoot } from '../../kernel/rootfs-file.ts'
import { TsrunError } from '../../model/errors.ts'
import { FileTree } from '../files/file-tree.ts'
import { unpackFiles } from '../files/unpack-files.ts'
import type { BuildOptions } from './build-types.ts'
import { MAX_DOCKERFILE_BYTES } from './dockerfile/lines.ts'
import type { FileSource } from './file-source.ts'
import { isGitAddress } from './git-address.ts'
import { type IgnoreRules, nothingIgnored, parseIgnoreFile } from './ignore-file.ts'

export interface BuildContext extends FileSource {
  readonly directory: string
  readonly dockerfile: {
    readonly text: string
    /** For messages. */
    readonly name: string
  }
  /** Something is left out: what is given away must be a copy. */
  readonly isFiltered: boolean
  close(): void
}

/** @throws TsrunError not-found (directory, Dockerfile), invalid (archive, pattern) */
export async function openBuildContext(options: BuildOptions, staging: Staging): Promise<BuildContext> {
  const directory =
    typeof options.context === 'string'
      ? existingDirectory(options.context)
      : await unpacked(options.context, staging.temporary('context'))
  const dockerfile = readDockerfile(directory, options)
  const ignore = readIgnoreFile(directory, options.file ?? 'Dockerfile')
  const tree = FileTree.within(directory)
  return {
    tree,
    ignore: ignore ?? nothingIgnored,
    isFiltered: ignore !== undefined,
    label: 'the build context',
    keepsOwner: false,
    directory,
    dockerfile,
    close: () => tree.close(),
  }
}

/** Whether what begins so is an archive, and not a Dockerfile. */
export function looksLikeArchive(head: Buffer): boolean {
  // The name in a tar header ends in NULs.
  return head.subarray(0, 512).includes(0) || detectCompression(head) !== 'none'
}

/** A directory besides the context, with a .dockerignore of its own. @throws TsrunError not-found, invalid */
export function openNamedContext(name: string, path: string): FileSource & { close(): void } {
  const directory = existingDirectory(path)
  const ignore = readIgnoreFile(directory, 'Dockerfile') ?? nothingIgnored
  const tree = FileTree.within(directory)
  return { tree, ignore, label: `the build context "${name}"`, keepsOwner: false, close: () => tree.close() }
}

function existingDirectory(path: string): string {
  const isThere = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  if (!isThere && (/^https?:\/\//.test(path) || isGitAddress(path)))
    throw new TsrunError('unsupported', 'remote-context', `cannot build from "${path}": the context must be here`, {
      hint: 'clone or download it first, or pipe it in as a tar archive: curl ... | tsrun build -',
    })
  if (isThere) return resolve(path)
  throw new TsrunError('not-found', 'no-context', `cannot build from "${path}": there is no such directory`)
}

async function unpacked(archive: AsyncIterable<Buffer>, directory: string): Promise<string> {
  mkdirSync(directory, { mode: 0o700 })
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await unpackFiles(fd, decompress(archive), {})
  } finally {
    closeSync(fd)
  }
  return directory
}

/** A file inside of the context is read as such; one elsewhere is the user's own. */
function readDockerfile(directory: string, options: BuildOptions): BuildContext['dockerfile'] {
  if (options.dockerfile !== undefined) return { text: options.dockerfile, name: options.file ?? 'Dockerfile' }
  const name = options.file ?? 'Dockerfile'
  const path = resolve(directory, name)
  const text = path.startsWith(`${directory}/`)
    ? readInside(directory, path.slice(directory.length + 1))
    : readIfThere(path)
  if (text !== undefined) return { text: text.toString('utf8'), name }
  throw new TsrunError('not-found', 'no-dockerfile', `cannot build: there is no file "${path}"`, {
    hint: 'name it with -f, or give its folder as the context',
  })
}

/** `Dockerfile-name.dockerignore` beside the Dockerfile, else `.dockerignore` of the context. */
function readIgnoreFile(directory: string, dockerfile: string): IgnoreRules | undefined {
  const path = resolve(directory, dockerfile)
  const own = `${basename(path)}.dockerignore`
  const beside = resolve(dirname(path), own)
  const text = beside.startsWith(`${directory}/`)
    ? readInside(directory, beside.slice(directory.length + 1))
    : readIfThere(beside)
  if (text !== undefined) return parseIgnoreFile(text.toString('utf8'), own)
  const general = readInside(directory, '.dockerignore')
  return general === undefined ? undefined : parseIgnoreFile(general.toString('utf8'), '.dockerignore')
}

/** A file of the context, links in it ending inside. @throws TsrunError invalid: too large */
function readInside(directory: string, path: string): Buffer | undefined {
  try {
    return readFileInRoot(directory, path, MAX_DOCKERFILE_BYTES)
  } catch (error) {
    if (!(error instanceof TsrunError) || error.code !== 'file-too-large') throw error
    const limit = `${MAX_DOCKERFILE_BYTES >> 20} MiB`
    throw new TsrunError('invalid', 'file-too-large', `cannot build: "${path}" is larger than ${limit}`, {
      cause: error,
    })
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
