// `--security-opt`: docker's words and podman's, as values. Whatever is not understood is refused: an option that is spelled wrong
// and ignored would be protection that nobody has. Pure.

import { TsrunError } from './errors.ts'

/** An SELinux context's parts that take the place of the default's. */
export interface LabelParts {
  readonly user?: string
  readonly role?: string
  readonly type?: string
  readonly level?: string
  /** The type of files, where `type` is that of processes. */
  readonly filetype?: string
}

export interface SecurityOptions {
  readonly noNewPrivileges: boolean
  /** `unconfined`, `builtin`, or the path of a profile; undefined: the default. */
  readonly seccomp: string | undefined
  /** `unconfined`, or the name of a profile that is loaded; undefined: the default where the host has AppArmor. */
  readonly apparmor: string | undefined
  /** `disable`, or what to change in the label; undefined: the default where the host has SELinux. */
  readonly label: 'disable' | LabelParts | undefined
  /** Absolute paths to hide besides the default ones. */
  readonly mask: readonly string[]
  /** Default masked and read-only paths to leave as they are: absolute, `*` at the end stands for anything, or `all`. */
  readonly unmask: 'all' | readonly string[]
}

const labelParts = ['user', 'role', 'type', 'level', 'filetype'] as const

/** @throws TsrunError invalid */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  let noNewPrivileges = false
  let seccomp: string | undefined
  let apparmor: string | undefined
  let label: SecurityOptions['label']
  const mask: string[] = []
  const unmask: string[] = []
  for (const option of options) {
    // `seccomp:unconfined` is docker's old form.
    const at = option.search(/[=:]/)
    const name = at < 0 ? option : option.slice(0, at)
    const value = at < 0 ? undefined : option.slice(at + 1)
    if (name === 'no-new-privileges' && (value === undefined || value === 'true' || value === 'false'))
      noNewPrivileges = value !== 'false'
    else if (value === undefined || value === '') throw invalid(option)
    else if (name === 'seccomp') seccomp = value
    else if (name === 'apparmor') apparmor = value
    else if (name === 'label') label = mergeLabel(option, label, value)
    else if (name === 'mask') mask.push(...paths(option, value))
    else if (name === 'unmask') unmask.push(...(/^all$/i.test(value) ? ['all'] : paths(option, value)))
    else if (name === 'systempaths' && value === 'unconfined') unmask.push('all')
    else throw invalid(option)
  }
  return { noNewPrivileges, seccomp, apparmor, label, mask, unmask: unmask.includes('all') ? 'all' : unmask }
}

/** What of the default paths stays hidden or read-only. */
export function remainingPaths(defaults: readonly string[], unmask: SecurityOptions['unmask']): string[] {
  if (unmask === 'all') return []
  const isNamed = (path: string) =>
    unmask.some(named => (named.endsWith('*') ? path.startsWith(named.slice(0, -1)) : path === named))
  return defaults.filter(path => !isNamed(path))
}

function mergeLabel(option: string, label: SecurityOptions['label'], value: string): SecurityOptions['label'] {
  if (value === 'disable') return 'disable'
  const at = value.indexOf(':')
  const part = labelParts.find(name => name === value.slice(0, at))
  const text = value.slice(at + 1)
  if (part === undefined || !/^[\w:.,-]+$/.test(text)) throw invalid(option)
  return { ...(label === 'disable' ? {} : label), [part]: text }
}

function paths(option: string, value: string): string[] {
  const list = value.split(':')
  if (list.every(path => path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..'))) return list
  throw invalid(option)
}

function invalid(option: string): TsrunError {
  return new TsrunError('invalid', 'security-opt', `invalid value "${option}" for --security-opt`, {
    hint:
      'no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=disable|type:T|level:L, ' +
      'systempaths=unconfined, mask=PATH[:PATH], unmask=PATH[:PATH]|ALL',
  })
}
