// A file that gets its name when it is whole. Until then it has none, where the file system can do that (O_TMPFILE): what is killed
// meanwhile leaves nothing, since the kernel drops a file without a name with its last descriptor.

import { closeSync, constants, openSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { linkDescriptor, O_PATH, O_TMPFILE } from '../../ffi/file-at.ts'

/** Either `place` or `drop` ends it. */
export interface DraftFile {
  /** Open for writing; the caller's, to be closed before the end. */
  readonly fd: number
  /** Gives the file its name, in the place of what has it. @throws after which nothing is left of it */
  place(): void
  /** Gives the file up. */
  drop(): void
}

/** Begins the file that is to be `target`, for its owner only. @throws Node's error of open(2) */
export function openDraft(target: string): DraftFile {
  // For where the file system has no files without a name, and to take the place of another: link(2) does not. It is cut so that it is
  // not too long where the file's own is not.
  const beside = join(dirname(target), `.${basename(target).slice(0, 40)}.${process.pid}.tmp`)
  const drop = (): void => rmSync(beside, { force: true })
  const fd = openUnnamed(dirname(target))
  if (fd === undefined)
    return { fd: openSync(beside, 'w', 0o600), place: () => orElse(drop, () => renameSync(beside, target)), drop }
  // So that the caller can close his own, and hears what close(2) says, before the file is placed.
  const handle = orElse(
    () => closeSync(fd),
    () => openSync(`/proc/self/fd/${fd}`, O_PATH),
  )
  return {
    fd,
    place() {
      try {
        linkDescriptor(handle, target)
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error
        drop()
        linkDescriptor(handle, beside)
        orElse(drop, () => renameSync(beside, target))
      } finally {
        closeSync(handle)
      }
    },
    drop: () => closeSync(handle),
  }
}

/** Undefined where the file system cannot. */
function openUnnamed(folder: string): number | undefined {
  try {
    return openSync(folder, O_TMPFILE | constants.O_WRONLY, 0o600)
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'EINVAL')) return undefined
    throw error
  }
}

function orElse<T>(undo: () => void, task: () => T): T {
  try {
    return task()
  } catch (error) {
    undo()
    throw error
  }
}
