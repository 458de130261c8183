// SELinux: the label that a container's processes run with, the one that its files show, and relabelling what is bound into it.
// Everything is read below `root`, which tests point at a tree of their own. See selinux(8), lxc_contexts of container-selinux.

import { existsSync } from 'node:fs'
import { readTextIfThere } from '../../lib/if-there.ts'
import { TsrunError } from '../../model/errors.ts'
import type { LabelParts } from '../../model/security-options.ts'

/** Labels of one container. */
export interface ContainerLabels {
  /** For its processes. */
  readonly process: string
  /** For its root, its tmpfs, and what `:Z` gives to it alone. */
  readonly files: string
  /** What `:z` shares among containers: the same without categories. */
  readonly sharedFiles: string
}

/** MCS categories: c0 to c1023. Two of them tell containers apart. */
const categories = 1024

export class SeLinux {
  readonly #root: string

  /** @param root the host's `/`; another directory in tests */
  constructor(root = '') {
    this.#root = root
  }

  /** Whether a policy is loaded; also true where it only warns (permissive). */
  get isEnabled(): boolean {
    return existsSync(`${this.#root}/sys/fs/selinux/enforce`)
  }

  /** Whether the policy knows containers: the package container-selinux is installed. */
  get hasContainerPolicy(): boolean {
    return this.#contexts() !== undefined
  }

  /**
   * @param wanted `disable`, parts of the label to change, or undefined for the default
   * @param id 64 hex digits; the categories follow from it
   * @returns undefined for no labels @throws TsrunError unsupported
   */
  labelsFor(wanted: 'disable' | LabelParts | undefined, id: string): ContainerLabels | undefined {
    if (wanted === 'disable') return undefined
    const contexts = this.isEnabled ? this.#contexts() : undefined
    if (contexts === undefined) {
      if (wanted === undefined) return undefined
      const reason = this.isEnabled ? 'its policy knows no containers' : 'it does not run SELinux'
      throw new TsrunError(
        'unsupported',
        'no-selinux',
        `cannot apply --security-opt label=... on this host: ${reason}`,
        {
          hint: 'install container-selinux, or leave the label away; `tsrun doctor` says what is there',
        },
      )
    }
    const level = wanted?.level ?? `s0:${twoCategories(id)}`
    const file = contextOf(contexts.file, { ...wanted, role: undefined, type: wanted?.filetype })
    return {
      process: `${contextOf(contexts.process, wanted ?? {})}:${level}`,
      files: `${file}:${level}`,
      sharedFiles: `${file}:s0`,
    }
  }

  /** `process` and `file` of the policy's lxc_contexts: lines such as `process = "system_u:system_r:container_t:s0"`. */
  #contexts(): { readonly process: string; readonly file: string } | undefined {
    const type = /^SELINUXTYPE=(\w+)/m.exec(this.#read('/etc/selinux/config') ?? '')?.[1] ?? 'targeted'
    const text = this.#read(`/etc/selinux/${type}/contexts/lxc_contexts`) ?? ''
    const value = (key: string) => new RegExp(`^${key}\\s*=\\s*"([^"]+)"`, 'm').exec(text)?.[1]
    const [process, file] = [value('process'), value('file')]
    return process === undefined || file === undefined ? undefined : { process, file }
  }

  #read(path: string): string | undefined {
    return readTextIfThere(`${this.#root}${path}`, 'ENOTDIR', 'EACCES')
  }
}

/** `user:role:type` of a context with parts replaced; the level is left out. */
function contextOf(
  context: string,
  parts: { user?: string | undefined; role?: string | undefined; type?: string | undefined },
): string {
  const [user = '', role = '', type = ''] = context.split(':')
  return [parts.user ?? user, parts.role ?? role, parts.type ?? type].join(':')
}

/** Two different categories, the smaller first, as the kernel writes them. */
function twoCategories(id: string): string {
  const number = Number.parseInt(id.slice(0, 8), 16)
  const first = number % categories
  const second = (first + 1 + (Math.floor(number / categories) % (categories - 1))) % categories
  return [first, second]
    .sort((a, b) => a - b)
    .map(category => `c${category}`)
    .join(',')
}
