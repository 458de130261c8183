// Loads the FFI package. In the compiled executable its addon stands beside the executable in a folder that only
// root may write (design decision D1); under Node it comes from the package.

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { assertTrustedFile } from './trusted-file.ts'

/** A C function: callable, and `async` where the call may block. */
// biome-ignore lint/suspicious/noExplicitAny: arguments are converted by the FFI package from each declaration
export type NativeFunction = ((...args: any[]) => any) & { async: (...args: any[]) => void }

export interface NativeLibrary {
  func(declaration: string): NativeFunction
  symbol(name: string): unknown
}

export interface Koffi {
  load(path: string, options?: { lazy?: boolean; global?: boolean }): NativeLibrary
  /** errno of the last call on this thread. */
  errno(): number
  decode(pointer: unknown, type: string, length?: number): unknown
  decode(pointer: unknown, offset: number, type: string, length?: number): unknown
}

/** Set by scripts/build when it makes the executable. */
declare const TSRUN_COMPILED: true | undefined

/** Whether this is the compiled executable and not a JavaScript runtime on our files. */
export const isCompiled = typeof TSRUN_COMPILED !== 'undefined'

export const koffi: Koffi = load()

function load(): Koffi {
  if (!isCompiled) return createRequire(import.meta.url)('koffi') as Koffi
  const path = join(dirname(process.execPath), 'koffi.node')
  assertTrustedFile(path)
  const module = { exports: {} }
  process.dlopen(module, path)
  return module.exports as Koffi
}
