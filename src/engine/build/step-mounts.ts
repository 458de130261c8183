// What RUN --mount asks for, made ready: files of secrets, directories of caches, copies of what a bind shows.

import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import type { MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { unpackFiles } from '../files/unpack-files.ts'
import type { BuildParts } from './build-parts.ts'
import type { BuildSecret } from './build-types.ts'
import { type HeldCache, holdCache } from './cache-mounts.ts'
import type { Instruction } from './dockerfile/instruction.ts'
import { syntaxError } from './dockerfile/syntax-error.ts'
import { type FileSource, findFiles, packSource, type SourceFile } from './file-source.ts'
import type { BindMount, RunMount, SecretMount } from './mount-flags.ts'

export interface StepMounts {
  readonly mounts: readonly MountSpec[]
  /** Secrets that are given as variables. */
  readonly env: readonly string[]
  /** Gives back locks and removes what was made for this step. */
  release(): void
}

/** A bind with what it shows. */
export interface BoundMount extends BindMount {
  readonly file: SourceFile
}

export type FoundMount = Exclude<RunMount, BindMount> | BoundMount

/** Finds what binds show. @param sourceOf the context, or what `from` names @throws TsrunError not-found, invalid */
export async function findMounts(
  mounts: readonly RunMount[],
  sourceOf: (from: string | undefined) => Promise<FileSource>,
): Promise<FoundMount[]> {
  const found: FoundMount[] = []
  for (const mount of mounts) {
    if (mount.type !== 'bind') {
      found.push(mount)
      continue
    }
    const [file] = findFiles(await sourceOf(mount.from), mount.source)
    if (file !== undefined) found.push({ ...mount, file })
  }
  return found
}

/** What a step's result depends on: the words, and what binds show; never what is in caches and secrets. */
export async function keyOfMounts(mounts: readonly FoundMount[]): Promise<unknown[]> {
  const keys: unknown[] = []
  for (const mount of mounts) {
    if (mount.type !== 'bind') {
      keys.push(mount)
      continue
    }
    const { file, ...words } = mount
    const hash = createHash('sha256')
    const describe = (entry: Parameters<NonNullable<Parameters<typeof packSource>[1]['describe']>>[0]) => ({
      ...entry,
      mtime: { seconds: 0, nanoseconds: 0 },
    })
    for await (const chunk of packSource(file, { as: file.isDirectory ? '' : 'file', describe })) hash.update(chunk)
    keys.push([words, hash.digest('hex')])
  }
  return keys
}

/** @throws TsrunError not-found: a secret that is required and was not given */
export async function prepareMounts(
  parts: BuildParts,
  place: Instruction,
  found: readonly FoundMount[],
): Promise<StepMounts> {
  const mounts: MountSpec[] = []
  const env: string[] = []
  const held = new Map<string, HeldCache>()
  const release = () => {
    for (const cache of held.values()) cache.release()
    held.clear()
  }
  try {
    // Always in the same order: steps that want two locked caches of each other would wait for ever.
    for (const mount of [...found].sort(byCacheId)) {
      const readonly = mount.type === 'cache' ? mount.readonly : mount.type === 'bind' && !mount.isWritable
      if (mount.type === 'tmpfs') {
        const data = mount.size === undefined ? 'mode=1777' : `mode=1777,size=${mount.size}`
        mounts.push({ type: 'tmpfs', source: '', target: mount.target, readonly, data })
      } else if (mount.type === 'cache') {
        const root = join(parts.context.paths.build, 'mounts')
        const cache = held.get(mount.id) ?? (await holdCache(root, mount, parts.signal))
        held.set(mount.id, cache)
        mounts.push({ type: 'bind', source: cache.directory, target: mount.target, readonly })
      } else if (mount.type === 'bind') {
        mounts.push({ type: 'bind', source: await shown(parts, mount), target: mount.target, readonly })
      } else addSecret(parts, place, mount, { mounts, env })
    }
  } catch (error) {
    release()
    throw error
  }
  return { mounts, env, release }
}

function byCacheId(a: FoundMount, b: FoundMount): number {
  const [first, second] = [a, b].map(mount => (mount.type === 'cache' ? mount.id : ''))
  return first === second ? 0 : (first ?? '') < (second ?? '') ? -1 : 1
}

/** A directory of the context as it is where nothing is left out and nothing is written; else a copy of what is to be seen. */
async function shown(parts: BuildParts, { file, isWritable }: BoundMount): Promise<string> {
  const isContext = file.source === parts.files
  if (isContext && !isWritable && !parts.files.isFiltered) return realPath(file)
  const folder = parts.staging.temporary('bind')
  mkdirSync(folder, { mode: 0o755 })
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    const as = file.isDirectory ? '' : 'file'
    await unpackFiles(fd, packSource(file, { as, describe: entry => entry }), {})
  } finally {
    closeSync(fd)
  }
  return file.isDirectory ? folder : join(folder, 'file')
}

/** Where it really is, links resolved inside of its tree. */
function realPath({ source, path }: SourceFile): string {
  const spot = source.tree.locate(path === '' ? '/' : path, { follow: true })
  if (spot === undefined) throw new Error(`"${path}" vanished`)
  try {
    return join(readlinkSync(`/proc/self/fd/${spot.parentFd}`), Buffer.from(spot.name, 'latin1').toString('utf8'))
  } finally {
    closeSync(spot.parentFd)
  }
}

function addSecret(
  parts: BuildParts,
  place: Instruction,
  mount: SecretMount,
  into: { readonly mounts: MountSpec[]; readonly env: string[] },
): void {
  const secret = parts.options.secrets?.find(({ id }) => id === mount.id)
  if (secret === undefined) {
    if (!mount.isRequired) return
    throw syntaxError(place, `the step needs the secret "${mount.id}"`, `give it: --secret id=${mount.id},src=FILE`)
  }
  const bytes = readSecret(secret)
  if (mount.env !== undefined) into.env.push(`${mount.env}=${bytes.toString('utf8')}`)
  if (mount.target === undefined) return
  // Below the state directory, which is memory on most machines, and gone after a reboot on all.
  const file = parts.secretStaging.temporary('secret')
  writeFileSync(file, bytes, { mode: 0o400 })
  chownSync(file, mount.uid, mount.gid)
  chmodSync(file, mount.mode)
  into.mounts.push({ type: 'bind', source: file, target: mount.target, readonly: true })
}

function readSecret({ id, source }: BuildSecret): Buffer {
  if ('value' in source) return Buffer.from(source.value)
  try {
    return readFileSync(source.file)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EISDIR')) throw error
    throw new TsrunError('not-found', 'no-secret', `cannot read the secret "${id}" from "${source.file}"`, {
      cause: error,
    })
  }
}
