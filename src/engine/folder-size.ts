// How much a folder holds.

import { lstatSync, readdirSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'

/** The bytes of all files below a folder; one with several names counts once. */
export function folderSize(folder: string): number {
  const seen = new Set<string>()
  const measure = (path: Buffer): number => {
    let total = 0
    for (const name of readdirOrEmpty(path)) {
      const child = Buffer.concat([path, Buffer.from('/'), name])
      const stat = lstatSync(child, { throwIfNoEntry: false })
      if (stat === undefined) continue
      if (stat.isDirectory()) total += measure(child)
      else if (stat.isFile()) {
        const key = `${stat.dev}:${stat.ino}`
        if (stat.nlink > 1 && seen.has(key)) continue
        seen.add(key)
        total += stat.size
      }
    }
    return total
  }
  return measure(Buffer.from(folder))
}

function readdirOrEmpty(path: Buffer): Buffer[] {
  try {
    return readdirSync(path, 'buffer')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
}
