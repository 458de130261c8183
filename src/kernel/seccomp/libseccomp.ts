// libseccomp.so.2, as far as the compiler needs it. Loaded on first use: most runs find their program in the cache.

import { closeSync, fstatSync, readSync } from 'node:fs'
import { SyscallError } from '../../ffi/errno.ts'
import { koffi, type NativeFunction } from '../../ffi/koffi.ts'
import { memfdCreate } from '../../ffi/libc.ts'
import { TsrunError } from '../../model/errors.ts'

/** SCMP_FLTATR_CTL_OPTIMIZE (2.5.0): 2 makes the program a binary tree over the call numbers. */
const SCMP_FLTATR_CTL_OPTIMIZE = 8

interface Functions {
  readonly init: NativeFunction
  readonly release: NativeFunction
  readonly setAttribute: NativeFunction
  readonly addArchitecture: NativeFunction
  readonly resolveArchitecture: NativeFunction
  readonly nativeArchitecture: NativeFunction
  readonly resolveSyscall: NativeFunction
  readonly addRule: NativeFunction
  readonly exportBpf: NativeFunction
}

let functions: Functions | undefined

function library(): Functions {
  functions ??= bind()
  return functions
}

/** @throws TsrunError unavailable naming the package */
function bind(): Functions {
  try {
    const lib = koffi.load('libseccomp.so.2')
    return {
      init: lib.func('void *seccomp_init(unsigned int)'),
      release: lib.func('void seccomp_release(void *)'),
      setAttribute: lib.func('int seccomp_attr_set(void *, int, unsigned int)'),
      addArchitecture: lib.func('int seccomp_arch_add(void *, unsigned int)'),
      resolveArchitecture: lib.func('unsigned int seccomp_arch_resolve_name(const char *)'),
      nativeArchitecture: lib.func('unsigned int seccomp_arch_native()'),
      resolveSyscall: lib.func('int seccomp_syscall_resolve_name_arch(unsigned int, const char *)'),
      addRule: lib.func('int seccomp_rule_add_array(void *, unsigned int, int, unsigned int, const void *)'),
      exportBpf: lib.func('int seccomp_export_bpf(void *, int)'),
    }
  } catch (error) {
    throw new TsrunError(
      'unavailable',
      'no-libseccomp',
      'cannot build a seccomp filter: libseccomp.so.2 cannot be loaded',
      {
        hint: 'install it (Debian: apt-get install libseccomp2), or run with --security-opt seccomp=unconfined',
        cause: error,
      },
    )
  }
}

/** `SCMP_ARCH_X86_64` -> its AUDIT_ARCH token, or undefined where this libseccomp does not know it. */
export function architectureToken(name: string): number | undefined {
  const token = Number(library().resolveArchitecture(name.replace(/^SCMP_ARCH_/, '').toLowerCase()))
  return token === 0 ? undefined : token
}

/** The token of the machine's own architecture. */
export function nativeArchitecture(): number {
  return Number(library().nativeArchitecture())
}

/** The number of a call on an architecture; negative for one it has not; undefined where libseccomp does not know the name. */
export function syscallNumber(architecture: number, name: string): number | undefined {
  const number = Number(library().resolveSyscall(architecture, name))
  return number === -1 ? undefined : number
}

/** A filter under construction. The caller releases it. */
export class Filter {
  readonly #context: unknown

  /** Covers the machine's own architecture to begin with. */
  constructor(defaultAction: number) {
    const context: unknown = library().init(defaultAction)
    if (context === null) throw new Error(`seccomp_init(${defaultAction.toString(16)}) failed`)
    // An older library without this attribute makes a longer chain of comparisons; the verdicts are the same.
    library().setAttribute(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)
    this.#context = context
  }

  addArchitecture(token: number): void {
    const result = Number(library().addArchitecture(this.#context, token))
    // EEXIST: the machine's own.
    if (result !== 0 && result !== -17) throw new SyscallError('seccomp_arch_add', -result)
  }

  /** `comparisons` is an array of struct scmp_arg_cmp, all of which must hold. */
  addRule(action: number, syscall: number, comparisons: Uint8Array): void {
    const count = comparisons.length / 24
    const result = Number(library().addRule(this.#context, action, syscall, count, count === 0 ? null : comparisons))
    // EEXIST: the same rule twice.
    if (result !== 0 && result !== -17) throw new SyscallError('seccomp_rule_add_array', -result, `call ${syscall}`)
  }

  /** The program: an array of struct sock_filter. */
  toBytes(): Uint8Array {
    const fd = memfdCreate('tsrun-seccomp')
    try {
      const result = Number(library().exportBpf(this.#context, fd))
      if (result !== 0) throw new SyscallError('seccomp_export_bpf', -result)
      const bytes = new Uint8Array(fstatSync(fd).size)
      readSync(fd, bytes, 0, bytes.length, 0)
      return bytes
    } finally {
      closeSync(fd)
    }
  }

  release(): void {
    library().release(this.#context)
  }
}
