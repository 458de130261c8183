// `RUN --mount=type=cache,target=/root/.cache`: the flag's words as data. Pure.

import type { Instruction } from './dockerfile/instruction.ts'
import { syntaxError } from './dockerfile/syntax-error.ts'

export interface CacheMount {
  readonly type: 'cache'
  readonly target: string
  readonly id: string
  readonly sharing: 'shared' | 'locked' | 'private'
  readonly readonly: boolean
  /** Of its directory, when it is made. */
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

export interface BindMount {
  readonly type: 'bind'
  readonly target: string
  /** In the context, or in what `from` names. */
  readonly source: string
  readonly from?: string
  /** What is written is thrown away. */
  readonly isWritable: boolean
}

export interface SecretMount {
  readonly type: 'secret'
  readonly id: string
  /** Absent where it is given as a variable alone. */
  readonly target?: string
  readonly env?: string
  readonly isRequired: boolean
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

export interface TmpfsMount {
  readonly type: 'tmpfs'
  readonly target: string
  /** With a unit as `size=` of tmpfs takes it. */
  readonly size?: string
}

export type RunMount = CacheMount | BindMount | SecretMount | TmpfsMount

const known: Readonly<Record<string, readonly string[]>> = {
  bind: ['target', 'source', 'from', 'readonly', 'readwrite'],
  cache: ['id', 'target', 'readonly', 'readwrite', 'sharing', 'mode', 'uid', 'gid'],
  secret: ['id', 'target', 'required', 'mode', 'uid', 'gid', 'env'],
  tmpfs: ['target', 'size'],
}

const aliases: Readonly<Record<string, string>> = {
  dst: 'target',
  destination: 'target',
  src: 'source',
  ro: 'readonly',
  rw: 'readwrite',
}

/**
 * @param value behind `--mount=`, variables replaced
 * @param directory the stage's WORKDIR, where a relative target begins
 * @throws TsrunError invalid
 */
export function parseRunMount(value: string, place: Instruction, directory: string): RunMount {
  const reject = (reason: string) => syntaxError(place, `RUN --mount=${value}: ${reason}`)
  const fields = new Map<string, string>()
  for (const part of value.split(',')) {
    const [word = '', ...rest] = part.split('=')
    const key = word.trim().toLowerCase()
    fields.set(aliases[key] ?? key, rest.length === 0 ? 'true' : rest.join('='))
  }
  const type = fields.get('type') ?? 'bind'
  fields.delete('type')
  const allowed = Object.hasOwn(known, type) ? known[type] : undefined
  if (allowed === undefined)
    throw reject(type === 'ssh' ? 'tsrun does not forward ssh agents' : `expected type=bind, cache, secret or tmpfs`)
  for (const key of fields.keys()) {
    if (type === 'cache' && (key === 'from' || key === 'source'))
      throw reject('tsrun fills no cache from elsewhere; copy what should be in it in the step itself')
    if (!allowed.includes(key)) throw reject(`a ${type} mount has no "${key}": expected ${allowed.join(', ')}`)
  }
  const number = (key: string, fallback: number, radix: 8 | 10): number => {
    const text = fields.get(key)
    if (text === undefined) return fallback
    if (!(radix === 8 ? /^[0-7]{1,4}$/ : /^\d{1,10}$/).test(text)) throw reject(`${key}: expected a number`)
    return Number.parseInt(text, radix)
  }
  const isTrue = (key: string, fallback: boolean): boolean => {
    const text = fields.get(key)
    if (text === undefined) return fallback
    if (!/^(true|false|t|f|1|0)$/i.test(text)) throw reject(`${key}: expected true or false`)
    return /^[t1]/i.test(text)
  }
  const given = fields.get('target')
  const target =
    given === undefined ? undefined : given.startsWith('/') ? given : `${directory === '/' ? '' : directory}/${given}`
  const owner = (mode: number) => ({
    uid: number('uid', 0, 10),
    gid: number('gid', 0, 10),
    mode: number('mode', mode, 8),
  })
  if (type === 'secret') {
    const id = fields.get('id') ?? target?.slice(target.lastIndexOf('/') + 1)
    if (id === undefined || id === '') throw reject('expected id=NAME')
    const env = fields.get('env')
    const isFile = env === undefined || target !== undefined
    return {
      type,
      id,
      isRequired: isTrue('required', false),
      ...owner(0o400),
      ...(env === undefined ? {} : { env }),
      ...(isFile ? { target: target ?? `/run/secrets/${id}` } : {}),
    }
  }
  if (target === undefined || target === '/') throw reject('expected target=PATH, and not /')
  if (type === 'tmpfs') {
    const size = fields.get('size')
    if (size !== undefined && !/^\d+[bkmg]?$/i.test(size)) throw reject('size: expected bytes, e.g. 64m')
    return { type, target, ...(size === undefined ? {} : { size: size.replace(/b$/i, '') }) }
  }
  if (type === 'cache') {
    const sharing = fields.get('sharing') ?? 'shared'
    if (sharing !== 'shared' && sharing !== 'locked' && sharing !== 'private')
      throw reject('sharing: expected shared, locked or private')
    return {
      type,
      target,
      id: fields.get('id') ?? target,
      sharing,
      readonly: isTrue('readonly', false),
      ...owner(0o755),
    }
  }
  const from = fields.get('from')
  const isWritable = isTrue('readwrite', false) || !isTrue('readonly', true)
  return {
    type: 'bind',
    target,
    source: fields.get('source') ?? '/',
    isWritable,
    ...(from === undefined ? {} : { from }),
  }
}
