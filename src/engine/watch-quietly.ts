// Being told of changes to a file or folder, where that can be had: a host has few inotify instances, so whoever waits polls, too.

import { watch } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'

/** @returns undefined where there is nothing to watch, or nobody can be watched any more */
export function watchQuietly(path: string, onChange: () => void): { close(): void } | undefined {
  try {
    const watcher = watch(path, onChange)
    watcher.on('error', onChange)
    return watcher
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOSPC', 'EMFILE')) return undefined
    throw error
  }
}
