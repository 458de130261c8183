// Code that root loads from a folder, such as a driver's package: refused when anybody else could have put it there.

import { lstatSync, readdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** More files than this are no driver; reading them all would take its time. */
const mostFiles = 20_000

/**
 * @throws Error when the folder, anything in it or any folder above it, by the path given or the real one, belongs to, or can be
 * written by, anybody but root and the current user. A sticky folder above it, as /tmp, may be written by others.
 */
export function assertTrustedTree(folder: string): void {
  const real = realpathSync(folder)
  for (const path of new Set([folder, real])) assertTrustedParents(path)
  let count = 0
  const visit = (path: string) => {
    assertTrusted(path, folder, false)
    if (++count > mostFiles) throw new Error(`refusing to load "${folder}": it has more than ${mostFiles} files`)
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) visit(join(path, name))
  }
  visit(real)
}

function assertTrustedParents(path: string): void {
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    assertTrusted(parent, path, true)
    if (parent === dirname(parent)) return
  }
}

function assertTrusted(place: string, wanted: string, isParent: boolean): void {
  const stat = lstatSync(place)
  const isOwned = stat.uid === 0 || stat.uid === process.getuid?.()
  const isWritable = !stat.isSymbolicLink() && (stat.mode & 0o022) !== 0
  const isSticky = isParent && (stat.mode & 0o1000) !== 0
  if (isOwned && (!isWritable || isSticky)) return
  const mode = (stat.mode & 0o7777).toString(8)
  throw new Error(`refusing to load "${wanted}": "${place}" can be changed by others (owner ${stat.uid}, mode ${mode})`)
}
