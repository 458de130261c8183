// nft scripts through libnftables, in this process. For what is written once (the base rules); elements and everything
// else on the way of a `run` go through nfnetlink, because loading this library takes 4 ms.

import { koffi, type NativeFunction } from '../../ffi/koffi.ts'
import { TsrunError } from '../../model/errors.ts'

interface Library {
  readonly contextNew: NativeFunction
  readonly contextFree: NativeFunction
  readonly bufferOutput: NativeFunction
  readonly bufferError: NativeFunction
  readonly run: NativeFunction
  readonly output: NativeFunction
  readonly error: NativeFunction
}

let loaded: Library | undefined

/**
 * Runs an nft script as one transaction in the calling thread's network namespace and returns what it printed.
 * Equivalent to: `nft -f -`.
 * @throws NftScriptError when nft refuses it, TsrunError unavailable when the library is not installed
 */
export function runNftScript(script: string): string {
  const library = load()
  const context = library.contextNew(0)
  if (context === null) throw new Error('nft_ctx_new failed')
  try {
    library.bufferOutput(context)
    library.bufferError(context)
    if (library.run(context, script) !== 0) throw new NftScriptError(String(library.error(context)).trim())
    return String(library.output(context) ?? '')
  } finally {
    library.contextFree(context)
  }
}

/** What nft says about a script it refused, first line first. */
export class NftScriptError extends Error {
  constructor(text: string) {
    super(text.replace(/^.*?Error: /s, '').replace(/\n.*$/s, ''))
    this.name = 'NftScriptError'
  }
}

function load(): Library {
  if (loaded !== undefined) return loaded
  try {
    const library = koffi.load('libnftables.so.1')
    loaded = {
      contextNew: library.func('void *nft_ctx_new(uint32_t)'),
      contextFree: library.func('void nft_ctx_free(void *)'),
      bufferOutput: library.func('int nft_ctx_buffer_output(void *)'),
      bufferError: library.func('int nft_ctx_buffer_error(void *)'),
      run: library.func('int nft_run_cmd_from_buffer(void *, const char *)'),
      output: library.func('const char *nft_ctx_get_output_buffer(void *)'),
      error: library.func('const char *nft_ctx_get_error_buffer(void *)'),
    }
    return loaded
  } catch (cause) {
    throw new TsrunError('unavailable', 'no-libnftables', 'cannot set up the firewall: libnftables.so.1 is missing', {
      hint: 'install it: `apt install libnftables1` (Debian, Ubuntu), `dnf install nftables` (Fedora)',
      cause,
    })
  }
}
