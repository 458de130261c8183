// The compiled executable, when it imports a file of 4 KiB or more, keeps a translation of it under $XDG_CACHE_HOME or $HOME and
// runs that the next time. For a program that runs as root that is a second copy of code which nobody has checked.

import { isCompiled } from './koffi.ts'
import { call } from './libc.ts'

/** From now on imports of this process neither write nor read such files. Nothing to do under Node. */
export function keepNoTranslations(): void {
  // Not process.env: the runtime asks the C library.
  if (isCompiled)
    call('setenv', 'int setenv(const char *, const char *, int)', ['BUN_RUNTIME_TRANSPILER_CACHE_PATH', '0', 1])
}
