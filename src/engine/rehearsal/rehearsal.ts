// `--dry-run`: the same command once more, in a process that may do as it likes. It has a network namespace that mirrors
// the host's (host-copy.ts) and writes to an overlay over tsrun's directories, so its changes are real, are checked by the
// kernel and are printed as they are made - and are gone with it. Nothing printed is guessed.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { isCompiled } from '../../ffi/koffi.ts'
import { CLONE_NEWNET, CLONE_NEWNS, MNT_DETACH, mount, umount, unshare } from '../../ffi/libc.ts'
import { TsrunError } from '../../model/errors.ts'
import { DEFAULT_ROOT, DEFAULT_STATE } from '../paths.ts'
import { describeHost, rebuildHost } from './host-copy.ts'

// linux/mount.h
const MS_REC = 16384
const MS_PRIVATE = 1 << 18

/**
 * Runs `tsrun ...argv` in a copy of the host, with its standard streams ours. Moves the calling thread into new
 * namespaces for good: the caller has nothing left to do but to end.
 * @returns the exit code
 * @throws SyscallError
 */
export function rehearseCommand(argv: readonly string[]): number {
  const host = describeHost()
  const covered = [process.env.TSRUN_ROOT ?? DEFAULT_ROOT, process.env.TSRUN_STATE ?? DEFAULT_STATE].map(
    nearestExisting,
  )
  const scratch = mkdtempSync(join(scratchParent(covered), 'tsrun-rehearsal-'))
  try {
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount('none', '/', null, MS_REC | MS_PRIVATE, null)
    mount('tmpfs', scratch, 'tmpfs', 0, 'mode=0700')
    for (const [index, lower] of covered.entries()) coverWithOverlay(lower, join(scratch, `${index}`))
    for (const problem of rebuildHost(host)) process.stderr.write(`# not in the copy of this host: ${problem}\n`)
    return runAgain(argv)
  } finally {
    umount(scratch, MNT_DETACH)
    rmdirSync(scratch)
  }
}

/** The directory, or the one above it that is there. */
function nearestExisting(directory: string): string {
  let found = resolve(directory)
  while (!existsSync(found)) found = dirname(found)
  return realpathSync(found)
}

/** A place that none of the overlays hides. */
function scratchParent(covered: readonly string[]): string {
  const candidates = [tmpdir(), '/run', '/var/tmp', '/dev/shm', '/']
  const isHidden = (place: string) => covered.some(lower => place === lower || place.startsWith(join(lower, '/')))
  const found = candidates.find(place => existsSync(place) && !isHidden(realpathSync(place)))
  if (found !== undefined) return found
  throw new TsrunError(
    'unavailable',
    'no-scratch',
    'cannot rehearse: no place for temporary files is outside of the state directories',
    {
      hint: 'choose other directories with --root and --state',
    },
  )
}

/** Everything written to `lower` goes to `scratch`. */
function coverWithOverlay(lower: string, scratch: string): void {
  const upper = join(scratch, 'upper')
  const work = join(scratch, 'work')
  for (const made of [upper, work]) mkdirSync(made, { recursive: true })
  const option = (path: string) => path.replaceAll(/[\\:,]/g, '\\$&')
  mount('overlay', lower, 'overlay', 0, `lowerdir=${option(lower)},upperdir=${option(upper)},workdir=${option(work)}`)
}

function runAgain(argv: readonly string[]): number {
  const self = isCompiled ? [] : [...process.execArgv, process.argv[1] ?? '']
  const env = { ...process.env, TSRUN_REHEARSAL: '1', TSRUN_EXPLAIN: process.env.TSRUN_EXPLAIN ?? '-' }
  const { status, error } = spawnSync(process.execPath, [...self, ...argv], { stdio: 'inherit', env })
  if (error !== undefined) throw error
  return status ?? 1
}
