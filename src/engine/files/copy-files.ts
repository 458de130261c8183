// docker's rules for what `cp SOURCE DESTINATION` means, whichever of the two is in a container. What is copied goes through
// the tar form, so that a copy and an archive are the same code.

import { closeSync } from 'node:fs'
import { basename } from 'node:path'
import { TsrunError } from '../../model/errors.ts'
import type { Place } from './container-tree.ts'
import type { Spot } from './file-tree.ts'
import { packFiles } from './pack-files.ts'
import { type UnpackOptions, unpackFiles } from './unpack-files.ts'

/** How files are copied. */
export interface CopyOptions {
  /** Copy what a link at the end of the source means, not the link. */
  readonly followLink?: boolean
  /** Keep owner and group when copying to the host. */
  readonly archive?: boolean
}

/** @returns the bytes of the archive that went from one to the other @throws TsrunError not-found, conflict */
export async function copyFiles(from: Place, to: Place, options: CopyOptions & UnpackOptions): Promise<number> {
  const source = findSource(from, options.followLink === true)
  try {
    const isDirectory = source.stat.isDirectory()
    const destination = findDestination(to, isDirectory)
    try {
      let size = 0
      const { parentFd, name, into } = destination
      const as = into ? nameInside(from, source) : name
      const archive = packFiles({ parentFd: source.parentFd, name: source.name, as, idMaps: from.idMaps })
      await unpackFiles(
        parentFd,
        counted(archive, length => {
          size += length
        }),
        { ...options, ...usersOf(to) },
      )
      return size
    } finally {
      closeSync(destination.parentFd)
    }
  } finally {
    closeSync(source.parentFd)
  }
}

/** What is at a place, as an archive of that name; of `dir/.` what is in it. */
export async function* packPlace(from: Place, options: { followLink?: boolean }): AsyncGenerator<Buffer> {
  const { parentFd, name } = findSource(from, options.followLink === true)
  try {
    yield* packFiles({
      parentFd,
      name,
      as: wantsContent(from.path) || name === '.' ? undefined : name,
      idMaps: from.idMaps,
    })
  } finally {
    closeSync(parentFd)
  }
}

/** Unpacks into an existing directory. */
export async function unpackInto(to: Place, archive: AsyncIterable<Buffer>): Promise<void> {
  const spot = to.tree.locate(to.path, { follow: true })
  if (spot !== undefined) closeSync(spot.parentFd)
  if (spot?.stat === undefined) throw missing(to)
  if (!spot.stat.isDirectory()) throw notDirectory(to)
  const fd = to.tree.openDirectory(to.path)
  try {
    await unpackFiles(fd, archive, usersOf(to))
  } finally {
    closeSync(fd)
  }
}

function usersOf({ idMaps }: Place): Pick<UnpackOptions, 'idMaps'> {
  return idMaps === undefined ? {} : { idMaps }
}

function findSource(from: Place, followLink: boolean): Spot & { readonly stat: NonNullable<Spot['stat']> } {
  const insists = /\/\.?$/.test(from.path)
  const spot = from.tree.locate(from.path, { follow: followLink || insists })
  if (spot?.stat === undefined) {
    if (spot !== undefined) closeSync(spot.parentFd)
    throw missing(from)
  }
  if (insists && !spot.stat.isDirectory()) {
    closeSync(spot.parentFd)
    throw notDirectory(from)
  }
  return { ...spot, stat: spot.stat }
}

interface Destination {
  readonly parentFd: number
  readonly name: string
  /** The copy goes into the directory `parentFd` under its own name, and not under `name`. */
  readonly into: boolean
}

function findDestination(to: Place, sourceIsDirectory: boolean): Destination {
  const spot = to.tree.locate(to.path, { follow: true })
  if (spot === undefined) throw missing(to, 'its folder does not exist')
  const { parentFd, name, stat } = spot
  try {
    if (stat?.isDirectory() === true) {
      const fd = to.tree.openDirectory(to.path)
      closeSync(parentFd)
      return { parentFd: fd, name: '.', into: true }
    }
    if (stat === undefined && !sourceIsDirectory && /\/\.?$/.test(to.path))
      throw missing(to, 'the folder does not exist')
    if (stat !== undefined && sourceIsDirectory)
      throw new TsrunError('conflict', 'not-a-directory', `cannot copy a directory to the file ${to.label}`)
    if (stat !== undefined && /\/\.?$/.test(to.path)) throw notDirectory(to)
    return { parentFd, name, into: false }
  } catch (error) {
    closeSync(parentFd)
    throw error
  }
}

/** What it is called in the directory it is copied into; undefined where only what is in it is copied. A link that was followed lends its name. */
function nameInside({ path }: Place, { name }: Spot): string | undefined {
  if (wantsContent(path) || name === '.') return undefined
  const last = basename(path)
  return last === '' || last === '..' ? name : last
}

function wantsContent(path: string): boolean {
  return path === '.' || path.endsWith('/.')
}

async function* counted(archive: AsyncIterable<Buffer>, count: (length: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of archive) {
    count(chunk.length)
    yield chunk
  }
}

function missing(place: Place, reason = 'no such file or directory'): TsrunError {
  return new TsrunError('not-found', 'no-such-file', `cannot copy ${place.label}: ${reason}`)
}

function notDirectory(place: Place): TsrunError {
  return new TsrunError('conflict', 'not-a-directory', `cannot copy ${place.label}: it is not a directory`)
}
