// What the machine lacks for tsrun. Needs no engine: it must work where none can be opened.

import { join, resolve } from 'node:path'
import { runPreflight } from '../kernel/preflight.ts'
import type { PreflightCheck } from '../kernel/preflight-kernel.ts'
import { libraryDirectory } from './library-directory.ts'
import { DEFAULT_ROOT } from './paths.ts'

export type { PreflightCheck } from '../kernel/preflight-kernel.ts'

/** Every requirement, with what was found and what to do. */
export function preflight(): PreflightCheck[] {
  const root = resolve(process.env.TSRUN_ROOT ?? DEFAULT_ROOT)
  return runPreflight({ initPath: join(libraryDirectory(), 'tsrun-init'), root })
}
