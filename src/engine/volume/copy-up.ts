// A new volume starts with what the image has at its place.

import { closeSync } from 'node:fs'
import { OverlayView } from '../../kernel/overlay.ts'
import { TsrunError } from '../../model/errors.ts'

/**
 * Fills the empty folder `target` with the merged content of `path` in the layers (topmost first); with it come owner
 * and mode of the image's folder. Does nothing where the image has no folder there.
 * @throws TsrunError system
 */
export async function copyUp(layerDirs: readonly string[], path: string, target: string): Promise<void> {
  const view = new OverlayView(layerDirs)
  const folder = view.openDirectory(path)
  try {
    if (folder === undefined) return
    const { spawnSync } = await import('node:child_process')
    // cp keeps owners, modes, times, links, devices and xattrs; nothing in Node does all of that.
    const source = `/proc/${process.pid}/fd/${folder}/.`
    const result = spawnSync('cp', ['-a', '--', source, target], { stdio: ['ignore', 'ignore', 'pipe'] })
    if (result.status === 0) return
    throw new TsrunError('system', 'copy-up', `cannot fill the volume from the image's "${path}": ${result.stderr}`)
  } finally {
    if (folder !== undefined) closeSync(folder)
    view.close()
  }
}
