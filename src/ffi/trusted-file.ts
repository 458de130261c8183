// The addon and tsrun-init are loaded and run by root: a file that somebody else can change is refused.

import { lstatSync } from 'node:fs'
import { dirname } from 'node:path'

/** @throws Error when `path` or its folder belongs to, or can be written by, anybody but root and the current user. */
export function assertTrustedFile(path: string): void {
  for (const place of [dirname(path), path]) {
    const stat = lstatSync(place)
    const owned = stat.uid === 0 || stat.uid === process.getuid?.()
    if (owned && (stat.mode & 0o022) === 0 && !stat.isSymbolicLink()) continue
    throw new Error(
      `refusing to load "${path}": "${place}" can be changed by others (owner ${stat.uid}, mode ${(stat.mode & 0o7777).toString(8)})`,
    )
  }
}
