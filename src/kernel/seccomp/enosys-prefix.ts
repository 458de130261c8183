// A few instructions in front of a seccomp program: a call newer than everything its profile knows is answered ENOSYS.
// With EPERM a libc would give up instead of trying the older call (https://github.com/opencontainers/runc/issues/2151).
// Pure.

import { endianness } from 'node:os'

// linux/bpf_common.h and linux/filter.h
const BPF_LD_W_ABS = 0x20
const BPF_JEQ = 0x15
const BPF_JGT = 0x25
const BPF_JGE = 0x35
const BPF_RET = 0x06

// struct seccomp_data: { int nr; __u32 arch; ... }
const NR_OFFSET = 0
const ARCH_OFFSET = 4

const AUDIT_ARCH_X86_64 = 0xc000003e
/** libseccomp's own token: to the kernel x32 is x86_64 with this bit in the call number. */
const SCMP_ARCH_X32 = 0x4000003e
const X32_BIT = 0x40000000
const SECCOMP_RET_ENOSYS = 0x00050000 | 38

interface Instruction {
  readonly code: number
  readonly k: number
  readonly jt?: number
  readonly jf?: number
}

/**
 * Builds the prefix from `last`: architecture token -> its highest call that still goes to the program behind.
 * Each architecture is a block that is skipped whole when the call is not its own.
 */
export function enosysPrefix(last: ReadonlyMap<number, number>): Uint8Array {
  const program: Instruction[] = []
  for (const [token, highest] of last) {
    if (token === SCMP_ARCH_X32) continue
    const block = token === AUDIT_ARCH_X86_64 ? x86Block(highest, last.get(SCMP_ARCH_X32)) : plainBlock(highest)
    program.push({ code: BPF_LD_W_ABS, k: ARCH_OFFSET }, { code: BPF_JEQ, k: token, jt: 0, jf: block.length }, ...block)
  }
  return encode(program)
}

/** nr > highest -> ENOSYS. */
function plainBlock(highest: number): Instruction[] {
  return [
    { code: BPF_LD_W_ABS, k: NR_OFFSET },
    { code: BPF_JGT, k: highest, jt: 0, jf: 1 },
    { code: BPF_RET, k: SECCOMP_RET_ENOSYS },
  ]
}

/** The same for two ranges of numbers; without x32 in the profile its calls go on to the program, which kills them. */
function x86Block(highest: number, highestX32: number | undefined): Instruction[] {
  const x32Limit = highestX32 === undefined ? 0xffffffff : highestX32 >= X32_BIT ? highestX32 : highestX32 + X32_BIT
  return [
    { code: BPF_LD_W_ABS, k: NR_OFFSET },
    { code: BPF_JGE, k: X32_BIT, jt: 1, jf: 0 },
    { code: BPF_JGT, k: highest, jt: 1, jf: 2 },
    { code: BPF_JGT, k: x32Limit, jt: 0, jf: 1 },
    { code: BPF_RET, k: SECCOMP_RET_ENOSYS },
  ]
}

/** struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; } */
function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8)
  const view = new DataView(bytes.buffer)
  const little = endianness() === 'LE'
  for (const [i, { code, k, jt = 0, jf = 0 }] of program.entries()) {
    view.setUint16(i * 8, code, little)
    view.setUint8(i * 8 + 2, jt)
    view.setUint8(i * 8 + 3, jf)
    view.setUint32(i * 8 + 4, k, little)
  }
  return bytes
}
