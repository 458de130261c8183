// The device list of cgroup v2: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE. The builder is pure; loading and
// attaching go through bpf(2).

import { closeSync } from 'node:fs'
import { endianness } from 'node:os'
import { copyFromNative, copyToNative, freeNative, syscall } from '../ffi/libc.ts'
import type { DeviceRule } from '../model/resources.ts'

// linux/bpf.h: opcodes
const BPF_LDX_MEM_W = 0x61
const BPF_ALU_MOV_X = 0xbc
const BPF_ALU_AND_K = 0x54
const BPF_ALU_RSH_K = 0x74
const BPF_JNE_K = 0x55
const BPF_JEQ_K = 0x15
const BPF_JNE_X = 0x5d
const BPF_MOV_K = 0xb7
const BPF_EXIT = 0x95

// linux/bpf.h: commands, types, flags
const BPF_PROG_LOAD = 5
const BPF_PROG_ATTACH = 8
const BPF_PROG_DETACH = 9
const BPF_PROG_GET_FD_BY_ID = 13
const BPF_PROG_QUERY = 16
const BPF_PROG_TYPE_CGROUP_DEVICE = 15
const BPF_CGROUP_DEVICE = 6
const BPF_F_ALLOW_MULTI = 2
const BPF_F_REPLACE = 4

// BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_*
const accessBits: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 }
const deviceTypes = { b: 1, c: 2 } as const

const littleEndian = endianness() === 'LE'

/** One eBPF instruction. */
interface Instruction {
  readonly code: number
  readonly dst?: number
  readonly src?: number
  readonly offset?: number
  readonly immediate?: number
}

/**
 * Builds the program: the last rule that matches decides, so the rules are tried backwards; without a match access is
 * refused. An access of several kinds at once must be allowed by one rule.
 */
export function buildDeviceProgram(rules: readonly DeviceRule[]): Uint8Array {
  const program: Instruction[] = [
    // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type); u32 major; u32 minor; } is in r1.
    { code: BPF_LDX_MEM_W, dst: 2, src: 1, offset: 0 },
    { code: BPF_ALU_AND_K, dst: 2, immediate: 0xffff },
    { code: BPF_LDX_MEM_W, dst: 3, src: 1, offset: 0 },
    { code: BPF_ALU_RSH_K, dst: 3, immediate: 16 },
    { code: BPF_LDX_MEM_W, dst: 4, src: 1, offset: 4 },
    { code: BPF_LDX_MEM_W, dst: 5, src: 1, offset: 8 },
  ]
  for (const rule of [...rules].reverse()) {
    program.push(...ruleBlock(rule))
    // Behind a rule for every device nothing could be reached, and the verifier refuses unreachable instructions.
    if (matchesAll(rule)) return encode(program)
  }
  return encode([...program, ...verdict(false)])
}

function matchesAll({ type, access }: DeviceRule): boolean {
  return type === 'a' && accessMask(access) === 7
}

/** r2 type, r3 access, r4 major, r5 minor: each condition that fails jumps behind the block. */
function ruleBlock(rule: DeviceRule): Instruction[] {
  const conditions: Instruction[] = []
  const skipUnless = (dst: number, value: number) => conditions.push({ code: BPF_JNE_K, dst, immediate: value })
  if (rule.type !== 'a') skipUnless(2, deviceTypes[rule.type])
  const mask = accessMask(rule.access)
  if (mask !== 7) {
    conditions.push({ code: BPF_ALU_MOV_X, dst: 1, src: 3 }, { code: BPF_ALU_AND_K, dst: 1, immediate: mask })
    // An allowing rule must cover all that is asked for, a refusing one any part of it.
    conditions.push(rule.allow ? { code: BPF_JNE_X, dst: 1, src: 3 } : { code: BPF_JEQ_K, dst: 1, immediate: 0 })
  }
  if (rule.major !== '*') skipUnless(4, rule.major)
  if (rule.minor !== '*') skipUnless(5, rule.minor)
  const end = conditions.length + 2
  const isJump = ({ code }: Instruction) => [BPF_JNE_K, BPF_JNE_X, BPF_JEQ_K].includes(code)
  const block = conditions.map((step, i) => (isJump(step) ? { ...step, offset: end - i - 1 } : step))
  return [...block, ...verdict(rule.allow)]
}

function verdict(allow: boolean): Instruction[] {
  return [{ code: BPF_MOV_K, dst: 0, immediate: allow ? 1 : 0 }, { code: BPF_EXIT }]
}

function accessMask(access: string): number {
  return [...access].reduce((mask, letter) => mask | (accessBits[letter] ?? 0), 0)
}

/** struct bpf_insn { __u8 code; __u8 dst_reg:4, src_reg:4; __s16 off; __s32 imm; } */
function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, { code, dst = 0, src = 0, offset = 0, immediate = 0 }] of program.entries()) {
    view.setUint8(i * 8, code)
    view.setUint8(i * 8 + 1, littleEndian ? (src << 4) | dst : (dst << 4) | src)
    view.setInt16(i * 8 + 2, offset, littleEndian)
    view.setInt32(i * 8 + 4, immediate | 0, littleEndian)
  }
  return bytes
}

/** Loads a device program; the caller owns the descriptor. @throws SyscallError EINVAL without CONFIG_CGROUP_BPF */
export function loadDeviceProgram(program: Uint8Array): number {
  const instructions = copyToNative(program)
  const license = copyToNative(Buffer.from('Apache-2.0\0'))
  try {
    const attr = new Attributes(48)
    attr
      .u32(0, BPF_PROG_TYPE_CGROUP_DEVICE)
      .u32(4, program.length / 8)
      .u64(8, instructions)
      .u64(16, license)
    return bpf('BPF_PROG_LOAD', BPF_PROG_LOAD, attr)
  } finally {
    freeNative(instructions)
    freeNative(license)
  }
}

/**
 * Attaches `programFd` to the cgroup directory `cgroupFd` in place of the device program that is there. Cgroups below may
 * attach their own, and all must allow an access: a container's own engine can only narrow.
 */
export function attachDeviceProgramFd(cgroupFd: number, programFd: number): void {
  const attach = (flags: number, replaced: number) =>
    bpf(
      'BPF_PROG_ATTACH',
      BPF_PROG_ATTACH,
      new Attributes(20).u32(0, cgroupFd).u32(4, programFd).u32(8, BPF_CGROUP_DEVICE).u32(12, flags).u32(16, replaced),
    )
  const [old, ...further] = attachedPrograms(cgroupFd)
  if (old === undefined) {
    attach(BPF_F_ALLOW_MULTI, 0)
    return
  }
  const oldFd = bpf('BPF_PROG_GET_FD_BY_ID', BPF_PROG_GET_FD_BY_ID, new Attributes(12).u32(0, old))
  try {
    attach(BPF_F_ALLOW_MULTI | BPF_F_REPLACE, oldFd)
  } finally {
    closeSync(oldFd)
  }
  for (const id of further) detachProgram(cgroupFd, id)
}

function detachProgram(cgroupFd: number, id: number): void {
  const fd = bpf('BPF_PROG_GET_FD_BY_ID', BPF_PROG_GET_FD_BY_ID, new Attributes(12).u32(0, id))
  try {
    bpf('BPF_PROG_DETACH', BPF_PROG_DETACH, new Attributes(16).u32(0, cgroupFd).u32(4, fd).u32(8, BPF_CGROUP_DEVICE))
  } finally {
    closeSync(fd)
  }
}

/** The ids of the device programs attached to this very cgroup, not to those above. */
function attachedPrograms(cgroupFd: number): number[] {
  const room = 64
  const ids = copyToNative(new Uint8Array(room * 4))
  try {
    // query: { u32 target_fd, attach_type, query_flags, attach_flags; u64 prog_ids; u32 prog_cnt; }
    const attr = new Attributes(32).u32(0, cgroupFd).u32(4, BPF_CGROUP_DEVICE).u64(16, ids).u32(24, room)
    bpf('BPF_PROG_QUERY', BPF_PROG_QUERY, attr)
    const count = attr.view.getUint32(24, littleEndian)
    const view = new DataView(copyFromNative(ids, count * 4).buffer)
    return Array.from({ length: count }, (_, i) => view.getUint32(i * 4, littleEndian))
  } finally {
    freeNative(ids)
  }
}

/** union bpf_attr, as much of it as a command needs. */
class Attributes {
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }

  u32(offset: number, value: number): this {
    this.view.setUint32(offset, value, littleEndian)
    return this
  }

  u64(offset: number, value: bigint): this {
    this.view.setBigUint64(offset, value, littleEndian)
    return this
  }
}

function bpf(name: string, command: number, attr: Attributes): number {
  return syscall(name, bpfNumber(), 'int, void *, unsigned int', [command, attr.bytes, attr.bytes.length])
}

/** bpf(2) is older than the common numbering of system calls. */
function bpfNumber(): number {
  return { x64: 321, arm64: 280, riscv64: 280, loong64: 280, s390x: 351, ppc64: 361 }[process.arch as string] ?? 280
}
