// What the layers of an image show at a place, as a folder of its own.

import { closeSync } from 'node:fs'
import { OverlayView } from '../../kernel/overlay.ts'
import { TsrunError } from '../../model/errors.ts'

/**
 * Fills the empty folder `target` with the merged content of `path` in the layers (topmost first); with it come owner
 * and mode of the image's folder.
 * @returns false where the image has no folder there: then nothing was done
 * @throws TsrunError system
 */
export async function copyUp(layerDirs: readonly string[], path: string, target: string): Promise<boolean> {
  const view = new OverlayView(layerDirs)
  const folder = view.openDirectory(path)
  try {
    if (folder === undefined) return false
    const reason = await copyContent(`/proc/${process.pid}/fd/${folder}`, target)
    if (reason === undefined) return true
    throw new TsrunError('system', 'copy-up', `cannot fill the volume from the image's "${path}": ${reason}`)
  } finally {
    if (folder !== undefined) closeSync(folder)
    view.close()
  }
}

/** What is in a folder, and what the folder itself is like. @returns why that failed */
export async function copyContent(source: string, target: string): Promise<string | undefined> {
  const { spawnSync } = await import('node:child_process')
  // cp keeps owners, modes, times, links, devices and xattrs; nothing in Node does all of that.
  const result = spawnSync('cp', ['-a', '--', `${source}/.`, target], { stdio: ['ignore', 'ignore', 'pipe'] })
  return result.status === 0 ? undefined : String(result.error?.message ?? result.stderr)
}
