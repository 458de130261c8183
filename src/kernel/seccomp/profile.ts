// Seccomp profiles: docker's file format with its conditions, and the unconditional form of the OCI runtime-spec that
// they resolve to for one container. Pure.

import { TsrunError } from '../../model/errors.ts'

export type SeccompAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_LOG'

export type SeccompOperator =
  | 'SCMP_CMP_NE'
  | 'SCMP_CMP_LT'
  | 'SCMP_CMP_LE'
  | 'SCMP_CMP_EQ'
  | 'SCMP_CMP_GE'
  | 'SCMP_CMP_GT'
  | 'SCMP_CMP_MASKED_EQ'

export interface SeccompArgument {
  /** 0 to 5. */
  readonly index: number
  /** With SCMP_CMP_MASKED_EQ: the mask. */
  readonly value: number
  /** With SCMP_CMP_MASKED_EQ: what the masked argument must equal. Default 0. */
  readonly valueTwo?: number
  readonly op: SeccompOperator
}

export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: SeccompAction
  /** For ERRNO and TRACE; default 1 (EPERM). */
  readonly errnoRet?: number
  readonly args?: readonly SeccompArgument[]
}

/** `linux.seccomp` of the OCI runtime-spec. */
export interface OciSeccomp {
  readonly defaultAction: SeccompAction
  readonly defaultErrnoRet?: number
  /** The machine's own architecture first. */
  readonly architectures: readonly string[]
  readonly flags?: readonly string[]
  readonly syscalls: readonly SeccompRule[]
}

/** A compiled filter, as seccomp(2) takes it. */
export interface SeccompFilter {
  /** A `struct sock_filter` array. */
  readonly program: Uint8Array
  /** SECCOMP_FILTER_FLAG_* bits of linux/seccomp.h. */
  readonly flags: number
}

/** When a rule of a docker profile counts. Capabilities and architectures in Go's and the kernel's names. */
export interface SeccompCondition {
  readonly caps?: readonly string[]
  readonly arches?: readonly string[]
  /** `4.8`. */
  readonly minKernel?: string
}

export interface SeccompProfileRule extends SeccompRule {
  readonly includes?: SeccompCondition
  readonly excludes?: SeccompCondition
}

/** A docker profile, as `--security-opt seccomp=FILE` takes it. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction
  readonly defaultErrnoRet?: number
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[]
  readonly architectures?: readonly string[]
  readonly flags?: readonly string[]
  readonly syscalls: readonly SeccompProfileRule[]
}

export interface SeccompTarget {
  /** Names as in `CAP_SYS_ADMIN`: the container's bounding set. */
  readonly capabilities: readonly string[]
  /** Node's `process.arch`. Default: this machine's. */
  readonly arch?: string
  /** `uname -r`. Conditions on the kernel are taken as met when absent: tsrun's oldest kernel is 5.10. */
  readonly kernel?: string
}

/** process.arch -> the names of Go and of libseccomp. */
const architectures: Readonly<Record<string, readonly [go: string, scmp: string]>> = {
  x64: ['amd64', 'SCMP_ARCH_X86_64'],
  ia32: ['x86', 'SCMP_ARCH_X86'],
  arm64: ['arm64', 'SCMP_ARCH_AARCH64'],
  arm: ['arm', 'SCMP_ARCH_ARM'],
  s390x: ['s390x', 'SCMP_ARCH_S390X'],
  ppc64: ['ppc64le', 'SCMP_ARCH_PPC64LE'],
  riscv64: ['riscv64', 'SCMP_ARCH_RISCV64'],
  loong64: ['loong64', 'SCMP_ARCH_LOONGARCH64'],
}

/** Drops the rules whose conditions this container does not meet. @throws TsrunError unsupported for an unknown processor */
export function resolveProfile(profile: SeccompProfile, target: SeccompTarget): OciSeccomp {
  const arch = target.arch ?? process.arch
  const [goName, scmpName] = architectures[arch] ?? []
  if (goName === undefined || scmpName === undefined) {
    throw new TsrunError(
      'unsupported',
      'seccomp-architecture',
      `cannot build a seccomp filter for the processor "${arch}"`,
      {
        hint: 'run with --security-opt seccomp=unconfined',
      },
    )
  }
  const holds = (condition: SeccompCondition) => ({
    caps: (condition.caps ?? []).map(name => target.capabilities.includes(name)),
    arches: (condition.arches ?? []).map(name => name === goName),
    kernel: condition.minKernel === undefined || isKernelAtLeast(target.kernel, condition.minKernel),
  })
  const applies = ({ includes, excludes }: SeccompProfileRule) => {
    if (includes !== undefined) {
      const { caps, arches, kernel } = holds(includes)
      if (caps.includes(false) || (arches.length > 0 && !arches.includes(true)) || !kernel) return false
    }
    if (excludes === undefined) return true
    const { caps, arches, kernel } = holds(excludes)
    return !(caps.includes(true) || arches.includes(true) || (excludes.minKernel !== undefined && kernel))
  }
  const subArchitectures = profile.archMap?.find(entry => entry.architecture === scmpName)?.subArchitectures ?? []
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: profile.architectures?.length ? profile.architectures : [scmpName, ...subArchitectures],
    ...(profile.flags === undefined ? {} : { flags: profile.flags }),
    syscalls: profile.syscalls.filter(applies).map(({ includes: _, excludes: __, ...rule }) => rule),
  }
}

function isKernelAtLeast(release: string | undefined, minimum: string): boolean {
  if (release === undefined) return true
  const [major = 0, minor = 0] = release.split('.').map(part => Number.parseInt(part, 10))
  const [minMajor = 0, minMinor = 0] = minimum.split('.').map(part => Number.parseInt(part, 10))
  return major > minMajor || (major === minMajor && minor >= minMinor)
}
