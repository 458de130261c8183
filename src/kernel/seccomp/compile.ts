// OciSeccomp -> the classic BPF program that seccomp(2) takes.

import { endianness } from 'node:os'
import { TsrunError } from '../../model/errors.ts'
import { enosysPrefix } from './enosys-prefix.ts'
import { architectureToken, Filter, nativeArchitecture, syscallNumber } from './libseccomp.ts'
import type { OciSeccomp, SeccompAction, SeccompArgument, SeccompOperator } from './profile.ts'

/** linux/seccomp.h SECCOMP_RET_*. */
const verdicts: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
}

/** seccomp.h enum scmp_compare. */
const comparisons: Readonly<Record<SeccompOperator, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
}

const EPERM = 1
const ENOSYS = 38

/**
 * Compiles with libseccomp. Calls that this libseccomp does not know are left out (a rule for them could never match),
 * and calls newer than every one in the profile answer ENOSYS, so that programs fall back to what they know.
 * @throws TsrunError unavailable without libseccomp, invalid for a profile it refuses
 */
export function compileSeccomp(profile: OciSeccomp): Uint8Array {
  const defaultVerdict = verdictOf(profile.defaultAction, profile.defaultErrnoRet)
  // Sub-architectures that this libseccomp lacks are left out: their calls kill the caller, as those of any foreign one.
  const architectures = profile.architectures.map(architectureToken).filter(token => token !== undefined)
  const native = nativeArchitecture()
  const filter = new Filter(defaultVerdict)
  try {
    for (const token of architectures) filter.addArchitecture(token)
    for (const rule of profile.syscalls) {
      const verdict = verdictOf(rule.action, rule.errnoRet)
      // What happens anyway needs no rule, and libseccomp refuses one.
      if (verdict === defaultVerdict) continue
      const alternatives = alternativesOf(rule.args ?? [])
      for (const name of rule.names) {
        // libseccomp takes the machine's own number, negative for a call that only its sub-architectures have.
        const number = syscallNumber(native, name)
        if (number === undefined) continue
        for (const comparison of alternatives) filter.addRule(verdict, number, comparison)
      }
    }
    const program = filter.toBytes()
    const prefix = answersErrno(profile) ? enosysPrefix(lastSyscalls(profile, architectures)) : new Uint8Array(0)
    return new Uint8Array(Buffer.concat([prefix, program]))
  } catch (error) {
    if (error instanceof TsrunError) throw error
    throw new TsrunError(
      'invalid',
      'bad-seccomp-profile',
      `cannot build the seccomp filter: ${(error as Error).message}`,
      { cause: error },
    )
  } finally {
    filter.release()
  }
}

function verdictOf(action: SeccompAction, errnoRet = EPERM): number {
  const verdict = verdicts[action]
  return action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE' ? (verdict | (errnoRet & 0xffff)) >>> 0 : verdict
}

/** One struct scmp_arg_cmp array for each rule to add: comparisons of one argument twice are alternatives, as in runc. */
function alternativesOf(args: readonly SeccompArgument[]): Uint8Array[] {
  const isRepeated = new Set(args.map(arg => arg.index)).size < args.length
  return isRepeated ? args.map(arg => encodeComparisons([arg])) : [encodeComparisons(args)]
}

function encodeComparisons(args: readonly SeccompArgument[]): Uint8Array {
  const bytes = new Uint8Array(args.length * 24)
  const view = new DataView(bytes.buffer)
  const little = endianness() === 'LE'
  for (const [i, arg] of args.entries()) {
    view.setUint32(i * 24, arg.index, little)
    view.setUint32(i * 24 + 4, comparisons[arg.op], little)
    view.setBigUint64(i * 24 + 8, BigInt(arg.value), little)
    view.setBigUint64(i * 24 + 16, BigInt(arg.valueTwo ?? 0), little)
  }
  return bytes
}

/** Whether a call without a rule is answered with an error: only then would a too new one be better told ENOSYS. */
function answersErrno({ defaultAction, defaultErrnoRet }: OciSeccomp): boolean {
  const allows: readonly SeccompAction[] = ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE']
  return !allows.includes(defaultAction) && !(defaultAction === 'SCMP_ACT_ERRNO' && defaultErrnoRet === ENOSYS)
}

/** The highest call number that the profile names, for each architecture. */
function lastSyscalls({ syscalls }: OciSeccomp, architectures: readonly number[]): Map<number, number> {
  const names = new Set(syscalls.flatMap(rule => rule.names))
  const last = new Map<number, number>()
  for (const token of architectures) {
    let highest = -1
    for (const name of names) highest = Math.max(highest, syscallNumber(token, name) ?? -1)
    if (highest >= 0) last.set(token, highest)
  }
  return last
}
