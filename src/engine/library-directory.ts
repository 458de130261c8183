// Finds what is installed beside this program.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isCompiled } from '../ffi/koffi.ts'
import { TsrunError } from '../model/errors.ts'

/**
 * Where tsrun-init and the images stand: beside the executable, or in the package's dist folder.
 * @throws TsrunError unavailable
 */
export function libraryDirectory(): string {
  if (isCompiled) return dirname(process.execPath)
  let directory = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    for (const candidate of [directory, join(directory, 'dist')])
      if (existsSync(join(candidate, 'tsrun-init'))) return candidate
    const parent = dirname(directory)
    if (parent === directory)
      throw new TsrunError('unavailable', 'no-init', 'cannot find tsrun-init beside this program', {
        hint: 'run `npm run build`, or reinstall tsrun',
      })
    directory = parent
  }
}

/** What this program runs on, for people. */
export const runtimeName = isCompiled ? 'compiled executable' : `Node.js ${process.versions.node}`
