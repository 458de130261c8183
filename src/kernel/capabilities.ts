// Capability names, their bits, and the sets a container gets.

import { readFileSync } from 'node:fs'
import { TsrunError } from '../model/errors.ts'

/** linux/capability.h: a name's place is its bit. */
export const capabilityTable: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
]

/** What docker gives every container. */
export const defaultCapabilities: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

export interface CapabilityWish {
  /** Names with or without CAP_, in any case, or ALL. */
  readonly add?: readonly string[]
  readonly drop?: readonly string[]
  readonly privileged?: boolean
}

/**
 * The bounding set of a container, bit n being capability n, never more than tsrun has to give (`available`, default: its
 * own bounding set). ALL comes first and single names refine it, as in docker.
 *
 * A process of root gets this as its effective and permitted set too, any other an empty one; nothing is ever
 * inheritable or ambient (CVE-2022-24769).
 * @throws TsrunError invalid for a name that is none; denied when a capability added by name is not to be had
 */
export function resolveCapabilities(wish: CapabilityWish, available = ownBoundingSet()): bigint {
  const { add = [], drop = [] } = wish
  if (wish.privileged) return available
  const added = parseNames('--cap-add', add)
  const dropped = parseNames('--cap-drop', drop)
  const lacking = added.names & ~available
  if (lacking !== 0n) {
    throw new TsrunError(
      'denied',
      'capability-not-available',
      `cannot give ${capabilityNames(lacking).join(', ')}: tsrun itself does not have it`,
      {
        hint: `capabilities available here: ${capabilityNames(available).join(', ')}`,
      },
    )
  }
  if (added.all) return available & ~dropped.names
  const base = dropped.all ? 0n : capabilityMask(defaultCapabilities) & ~dropped.names
  return (base | added.names) & available
}

function parseNames(option: string, names: readonly string[]): { all: boolean; names: bigint } {
  const isAll = (name: string) => /^(cap_)?all$/i.test(name)
  return {
    all: names.some(isAll),
    names: names
      .filter(name => !isAll(name))
      .reduce((mask, name) => mask | (1n << BigInt(capabilityBit(option, name))), 0n),
  }
}

function capabilityBit(option: string, name: string): number {
  const upper = name.toUpperCase()
  const bit = capabilityTable.indexOf(upper.startsWith('CAP_') ? upper : `CAP_${upper}`)
  if (bit >= 0) return bit
  const valid = capabilityTable.map(known => known.slice(4)).join(', ')
  throw new TsrunError(
    'invalid',
    'no-such-capability',
    `invalid value "${name}" for ${option}: there is no such capability`,
    {
      hint: `valid names are ALL, ${valid}`,
    },
  )
}

/** `['CAP_CHOWN']` -> 1n; names without CAP_ count too. @throws TsrunError invalid */
export function capabilityMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(capabilityBit('capabilities', name))), 0n)
}

/** 1n -> `['CAP_CHOWN']`; bits that this table has no name for are left out. */
export function capabilityNames(mask: bigint): string[] {
  return capabilityTable.filter((_, bit) => (mask >> BigInt(bit)) & 1n)
}

let bounding: bigint | undefined

/** What this process could pass on: CapBnd, which the kernel keeps within cap_last_cap. Read once. */
function ownBoundingSet(): bigint {
  bounding ??= capabilityField('CapBnd', readFileSync('/proc/self/status', 'utf8'))
  return bounding
}

/** A capability line, e.g. `CapEff`, of a /proc/<pid>/status text; 0n where it is missing. */
export function capabilityField(field: 'CapBnd' | 'CapEff' | 'CapPrm', status: string): bigint {
  const digits = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1]
  return digits === undefined ? 0n : BigInt(`0x${digits}`)
}
