// Whether overlayfs can write to a file system: found out by a small overlay that is mounted nowhere and gone at once.

import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SyscallError } from '../ffi/errno.ts'
import { cString, lsetxattr } from '../ffi/file-at.ts'
import { OverlayView } from './overlay.ts'

/** @param directory need not be there: then the nearest one above it is looked at @returns what was looked at, and what is wrong */
export function probeOverlay(directory: string): { readonly folder: string; readonly problem?: string } {
  let folder = directory
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder)
  const place = mkdtempSync(join(folder, '.tsrun-probe-'))
  try {
    const [lower, upperDir, workDir] = ['lower', 'upper', 'work'].map(name => join(place, name)) as [
      string,
      string,
      string,
    ]
    for (const path of [lower, upperDir, workDir]) mkdirSync(path)
    new OverlayView([lower], { upperDir, workDir }).close()
    // overlayfs mounts without, and then nobody can remove a directory of the image.
    lsetxattr(cString(upperDir), cString('trusted.overlay.opaque'), Buffer.from('y'))
    return { folder }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error
    return { folder, problem: error.code }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}
