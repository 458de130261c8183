// A container's process has gone a moment ago, and its monitor is about to write down how.

import { hasCode } from '../../ffi/errno.ts'
import type { EngineContext } from '../context.ts'
import { OutputRelay } from './output-relay.ts'

/**
 * Waits until the monitor has written the exit record and let go of its ports; not at all where there is no monitor any more.
 * @param patienceMs it passes on all output first, and whoever reads that may be slow. Default: for ever
 */
export async function untilRecorded({ paths }: EngineContext, id: string, patienceMs?: number): Promise<void> {
  try {
    const watcher = new OutputRelay(paths.runFile(id, 'attach.sock'))
    const timer = patienceMs === undefined ? undefined : setTimeout(() => watcher.close(), patienceMs)
    await watcher.exit
    clearTimeout(timer)
    watcher.close()
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ECONNREFUSED')) throw error
  }
}
