// AppArmor: whether the host has it, which profiles are loaded, and loading ours. Everything is read below `root`, which tests
// point at a tree of their own. See apparmor(7), and security/apparmor in the kernel for the files.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readTextIfThere } from '../../lib/if-there.ts'
import { TsrunError } from '../../model/errors.ts'

/** The profile of every container that does not ask for another one. */
export const defaultProfile = 'tsrun-default'

/** Where distributions have the program. */
const parsers = ['/usr/sbin/apparmor_parser', '/sbin/apparmor_parser']

export class AppArmor {
  readonly #root: string

  /** @param root the host's `/`; another directory in tests */
  constructor(root = '') {
    this.#root = root
  }

  /** Whether the kernel enforces profiles. */
  get isEnabled(): boolean {
    return this.#read('/sys/module/apparmor/parameters/enabled')?.trim() === 'Y'
  }

  /** Names of the loaded profiles; undefined where the list cannot be read (securityfs is not mounted). */
  loadedProfiles(): ReadonlySet<string> | undefined {
    const text = this.#read('/sys/kernel/security/apparmor/profiles')
    if (text === undefined) return undefined
    // `name (enforce)`; a name may hold spaces and brackets.
    return new Set(text.split('\n').flatMap(line => /^(.+) \(\w+\)$/.exec(line)?.[1] ?? []))
  }

  /** The program that loads profiles, where it is installed. */
  get parser(): string | undefined {
    return parsers.map(path => `${this.#root}${path}`).find(path => existsSync(path))
  }

  /**
   * What to confine a container by.
   * @param wanted `unconfined`, a name, or undefined for the default
   * @returns the profile, or undefined for none @throws TsrunError unsupported, not-found, system
   */
  profileFor(wanted: string | undefined): string | undefined {
    if (wanted === 'unconfined') return undefined
    if (!this.isEnabled) {
      if (wanted === undefined) return undefined
      throw new TsrunError(
        'unsupported',
        'no-apparmor',
        `cannot apply AppArmor profile "${wanted}": this host does not enforce AppArmor`,
        {
          hint: 'leave --security-opt apparmor=... away, or boot with apparmor=1 security=apparmor; `tsrun doctor` says what is there',
        },
      )
    }
    const name = wanted ?? defaultProfile
    const loaded = this.loadedProfiles()
    if (loaded?.has(name)) return name
    if (name === defaultProfile) return this.#loadDefault(wanted !== undefined)
    if (loaded === undefined) return name
    throw new TsrunError(
      'not-found',
      'no-apparmor-profile',
      `cannot apply AppArmor profile "${name}": it is not loaded`,
      {
        hint: `load it first: apparmor_parser -r FILE; loaded ones: /sys/kernel/security/apparmor/profiles`,
      },
    )
  }

  /** Without the program there is no default profile, as with docker; `tsrun doctor` says so. */
  #loadDefault(isAsked: boolean): string | undefined {
    const { parser } = this
    if (parser === undefined && !isAsked) return undefined
    const result =
      parser === undefined ? undefined : spawnSync(parser, ['-Kr'], { input: profileText(), encoding: 'utf8' })
    if (result?.status === 0) return defaultProfile
    const reason =
      parser === undefined ? 'apparmor_parser is not installed' : `${result?.stderr || result?.error}`.trim()
    throw new TsrunError('system', 'apparmor-load', `cannot load the AppArmor profile "${defaultProfile}": ${reason}`, {
      hint: 'install the package apparmor, or run with --security-opt apparmor=unconfined',
    })
  }

  #read(path: string): string | undefined {
    return readTextIfThere(`${this.#root}${path}`, 'ENOTDIR', 'EACCES')
  }
}

/**
 * The default profile, for apparmor_parser (apparmor.d(5)). Files inside and the network are the container's own affair; what is
 * refused are mounts, writes to the kernel's knobs below /proc and /sys, and power over processes outside.
 */
export function profileText(name = defaultProfile): string {
  return `#include <tunables/global>

profile ${name} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  capability,
  file,
  network,
  umount,

  # Processes of the same container; those of the host may signal it.
  signal (receive) peer=unconfined,
  signal (send, receive) peer=${name},
  ptrace (trace, read, tracedby, readby) peer=${name},

  deny mount,

  # /proc: nothing beside what belongs to the processes.
  deny @{PROC}/* w,
  deny @{PROC}/[^0-9s]*/** w,
  deny @{PROC}/s[^y]*/** w,
  deny @{PROC}/sy[^s]*/** w,
  deny @{PROC}/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # /proc/sys: the parameters of network, ipc and uts namespaces stay writable.
  deny @{PROC}/sys/[^fkn]** w,
  deny @{PROC}/sys/fs/[^m]** w,
  deny @{PROC}/sys/fs/m[^q]** w,
  deny @{PROC}/sys/kernel/[^dhms]** w,
  deny @{PROC}/sys/kernel/d[^o]** w,
  deny @{PROC}/sys/kernel/h[^o]** w,
  deny @{PROC}/sys/kernel/hot** w,
  deny @{PROC}/sys/kernel/m[^s]** w,
  deny @{PROC}/sys/kernel/s[^eh]** w,
  deny @{PROC}/sys/kernel/seccomp/** w,

  # /sys: nothing but cgroups.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/fs/cg[^r]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
`
}
