// Compiled seccomp programs on disk. Compiling takes milliseconds, and all containers with the same profile and the same
// relevant capabilities share one program.

import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { faultPoint } from '../../lib/fault.ts'
import { sweepTemporaries } from '../../lib/state-file.ts'
import { compileSeccomp } from './compile.ts'
import type { OciSeccomp } from './profile.ts'

/** Change it when the compiler makes other programs of the same profile. */
const compilerVersion = 1

/** A file: which libseccomp made it (path, size, time), a line feed, the program. */
const maxHeaderBytes = 512

/**
 * The program for `key`, from `cacheDir` when it is there and libseccomp is still the one that made it, else compiled from
 * `build()` and kept. `key` must name everything that the program depends on but libseccomp: profile version or hash,
 * capabilities, architecture. One open, read and stat when it is there. `cacheDir` must be writable by root alone.
 */
export function cachedSeccomp(cacheDir: string, key: string, build: () => OciSeccomp): Uint8Array {
  const path = `${cacheDir}/seccomp-${compilerVersion}-${key}`
  const found = readEntry(path)
  if (found !== undefined) return found
  const program = compileSeccomp(build())
  writeEntry(cacheDir, path, program)
  return program
}

/** The key of a profile that is not built in. */
export function profileHash(text: string): string {
  // Loaded here: a start with the default profile has no use for it.
  const { createHash } = process.getBuiltinModule('node:crypto')
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

function readEntry(path: string): Uint8Array | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  const end = bytes.indexOf(10)
  if (end < 0 || end > maxHeaderBytes || (bytes.length - end - 1) % 8 !== 0 || bytes.length === end + 1)
    return undefined
  const [library = '', ...stamp] = bytes.toString('utf8', 0, end).split('\t')
  return stampOf(library) === stamp.join('\t') ? bytes.subarray(end + 1) : undefined
}

function writeEntry(cacheDir: string, path: string, program: Uint8Array): void {
  const library = loadedLibrary()
  const stamp = library === undefined ? undefined : stampOf(library)
  if (library === undefined || stamp === undefined) return
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 })
  sweepTemporaries(cacheDir)
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, Buffer.concat([Buffer.from(`${library}\t${stamp}\n`), program]), { mode: 0o600 })
  faultPoint('draft of a seccomp program')
  renameSync(temporary, path)
}

/** Tells one version of a file from another without opening it. */
function stampOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.size}\t${stat.mtimeMs}`
}

/** Where the dynamic linker found libseccomp: distributions have it in different places. */
function loadedLibrary(): string | undefined {
  return /\s(\/\S*libseccomp\.so\S*)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1]
}
