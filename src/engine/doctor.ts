// What the machine lacks for tsrun. Needs no engine: it must work where none can be opened.

import { join } from 'node:path'
import { type PreflightCheck, runPreflight } from '../kernel/preflight.ts'
import { libraryDirectory } from './library-directory.ts'

/** Every requirement, with what was found and what to do. */
export function preflight(): PreflightCheck[] {
  return runPreflight({ initPath: join(libraryDirectory(), 'tsrun-init') })
}
