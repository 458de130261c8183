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
  readonly setOutputFlags: NativeFunction
  readonly error: NativeFunction
}

// nftables/libnftables.h
const NFT_CTX_OUTPUT_HANDLE = 1 << 3

let loaded: Library | undefined

/**
 * Runs an nft script as one transaction in the calling thread's network namespace and returns what it printed.
 * Equivalent to: `nft -f -`.
 * @throws NftScriptError when nft refuses it, TsrunError unavailable when the library is not installed
 */
export function runNftScript(script: string): string {
  const session = new NftSession()
  try {
    return session.run(script)
  } finally {
    session.close()
  }
}

/** Several scripts over one netlink socket: tables with `flags owner` live as long as it does. */
export class NftSession {
  readonly #library = load()
  #context: unknown = undefined

  /** In the calling thread's network namespace. @throws TsrunError unavailable when the library is not installed */
  constructor() {
    this.#context = this.#library.contextNew(0)
    if (this.#context === null) throw new Error('nft_ctx_new failed')
    this.#library.bufferOutput(this.#context)
    this.#library.bufferError(this.#context)
  }

  /** @param options handles: print rules with their handles @throws NftScriptError when nft refuses it */
  run(script: string, options: { handles?: boolean } = {}): string {
    const library = this.#library
    library.setOutputFlags(this.#context, options.handles === true ? NFT_CTX_OUTPUT_HANDLE : 0)
    if (library.run(this.#context, script) !== 0) throw new NftScriptError(String(library.error(this.#context)).trim())
    return String(library.output(this.#context) ?? '')
  }

  /** Idempotent. */
  close(): void {
    if (this.#context !== undefined) this.#library.contextFree(this.#context)
    this.#context = undefined
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
      setOutputFlags: library.func('void nft_ctx_output_set_flags(void *, unsigned int)'),
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
