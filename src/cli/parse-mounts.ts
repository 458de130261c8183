// `-v`, `--mount` and `--tmpfs` -> MountSpec. Pure but for resolving relative host paths.

import { posix, resolve } from 'node:path'
import type { MountSpec } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { parseByteSize } from '../model/parse-resources.ts'
import { tryParseBoolean } from './parse-boolean.ts'
import { tryParseCsv } from './parse-csv.ts'

const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']
/** What docker takes for macOS; nothing follows from them here. */
const idleOptions = ['consistent', 'cached', 'delegated']
const ownOptions = ['ro', 'rw', 'nocopy', 'z', 'Z', 'U', 'idmap']
const recursions = ['enabled', 'disabled', 'writable', 'readonly'] as const

/** `HOST:CONTAINER[:OPTIONS]`, `VOLUME:CONTAINER[:OPTIONS]` or `CONTAINER`. @throws TsrunError invalid */
export function parseVolume(text: string): MountSpec {
  const parts = text.split(':')
  if (parts.length > 3) throw invalid('-v', text, 'too many colons')
  if (parts.length === 1)
    return { type: 'volume', source: '', target: absolute('-v', text, parts[0] ?? ''), readonly: false }
  const [source = '', target = '', options = ''] = parts
  if (source === '') throw invalid('-v', text, 'the part before the colon is empty')
  checkHome('-v', text, source)
  const isPath = source.startsWith('/') || source.startsWith('.')
  const words = options.split(',').filter(Boolean)
  if (words.includes('ro') && words.includes('rw')) throw invalid('-v', text, 'it is either "ro" or "rw"')
  const propagation = words.findLast(word => propagations.includes(word))
  const unknown = words.find(word => ![...ownOptions, ...propagations, ...idleOptions].includes(word))
  if (unknown !== undefined) throw invalid('-v', text, `there is no option "${unknown}"`)
  return {
    type: isPath ? 'bind' : 'volume',
    source: isPath ? hostPath('-v', text, source) : source,
    target: absolute('-v', text, target),
    readonly: words.includes('ro'),
    ...(propagation === undefined ? {} : { propagation }),
    ...(words.includes('nocopy') ? { noCopy: true } : {}),
    ...(words.includes('Z') ? { relabel: 'private' } : words.includes('z') ? { relabel: 'shared' } : {}),
    ...(words.includes('U') ? { chown: true } : {}),
    ...(words.includes('idmap') ? { idmap: true } : {}),
    ...(isPath ? { createSource: true } : {}),
  }
}

type MountKey =
  | 'type'
  | 'source'
  | 'target'
  | 'readonly'
  | 'consistency'
  | 'bind-propagation'
  | 'bind-recursive'
  | 'bind-nonrecursive'
  | 'volume-subpath'
  | 'relabel'
  | 'chown'
  | 'idmap'
  | 'volume-nocopy'
  | 'tmpfs-size'
  | 'tmpfs-mode'

/** What `--mount` may hold, by docker's names and their abbreviations. */
const mountKeys: ReadonlyMap<string, MountKey> = new Map([
  ['type', 'type'],
  ['source', 'source'],
  ['src', 'source'],
  ['target', 'target'],
  ['destination', 'target'],
  ['dst', 'target'],
  ['readonly', 'readonly'],
  ['ro', 'readonly'],
  ['consistency', 'consistency'],
  ['bind-propagation', 'bind-propagation'],
  ['bind-recursive', 'bind-recursive'],
  ['bind-nonrecursive', 'bind-nonrecursive'],
  ['volume-nocopy', 'volume-nocopy'],
  ['volume-subpath', 'volume-subpath'],
  ['subpath', 'volume-subpath'],
  ['relabel', 'relabel'],
  ['u', 'chown'],
  ['chown', 'chown'],
  ['idmap', 'idmap'],
  ['tmpfs-size', 'tmpfs-size'],
  ['tmpfs-mode', 'tmpfs-mode'],
])

/** `type=bind,source=/a,target=/b,readonly`; a field in quotes may hold commas. @throws TsrunError invalid */
export function parseMount(text: string): MountSpec {
  const fields = splitFields(text)
  const type = fields.get('type') ?? 'volume'
  if (type !== 'bind' && type !== 'volume' && type !== 'tmpfs')
    throw invalid('--mount', text, `there is no type "${type}"`)
  const foreign = [...fields.keys()].find(key => /^(bind|volume|tmpfs)-/.test(key) && !key.startsWith(`${type}-`))
  if (foreign !== undefined) throw invalid('--mount', text, `"${foreign}" means nothing to the type "${type}"`)
  const propagation = fields.get('bind-propagation')
  if (propagation !== undefined && !propagations.includes(propagation))
    throw invalid('--mount', text, `there is no propagation "${propagation}": ${propagations.join(', ')}`)
  return {
    type,
    source: mountSource(text, type, fields.get('source') ?? ''),
    target: absolute('--mount', text, fields.get('target') ?? ''),
    readonly: truth(text, fields, 'readonly'),
    ...(propagation === undefined ? {} : { propagation }),
    ...(type === 'tmpfs' ? { data: tmpfsData(text, fields) } : {}),
    ...(truth(text, fields, 'volume-nocopy') ? { noCopy: true } : {}),
    ...recursion(text, fields),
    ...(fields.has('volume-subpath') ? { subpath: fields.get('volume-subpath') ?? '' } : {}),
    ...relabelling(text, fields),
    ...(truth(text, fields, 'chown') ? { chown: true } : {}),
    ...(truth(text, fields, 'idmap') ? { idmap: true } : {}),
  }
}

/** Keys that stand for true by themselves. */
const truths: ReadonlySet<MountKey> = new Set(['readonly', 'volume-nocopy', 'bind-nonrecursive', 'chown', 'idmap'])

function recursion(text: string, fields: MountFields): Pick<MountSpec, 'recursive'> {
  if (truth(text, fields, 'bind-nonrecursive')) return { recursive: 'disabled' }
  const value = fields.get('bind-recursive')
  if (value === undefined) return {}
  const recursive = recursions.find(known => known === value)
  if (recursive === undefined)
    throw invalid('--mount', text, `"${value}" for bind-recursive is none of ${recursions.join(', ')}`)
  return { recursive }
}

function relabelling(text: string, fields: MountFields): Pick<MountSpec, 'relabel'> {
  const value = fields.get('relabel')
  if (value === undefined) return {}
  if (value === 'shared' || value === 'private') return { relabel: value }
  throw invalid('--mount', text, `"${value}" for relabel is neither shared nor private`)
}

type MountFields = ReadonlyMap<MountKey, string>

function splitFields(text: string): MountFields {
  const words = text === '' ? [] : tryParseCsv(text)
  if (words === undefined)
    throw invalid('--mount', text, 'the quotes do not fit: they stand around a whole field, and "" in it is a quote')
  const fields = new Map<MountKey, string>()
  for (const word of words) {
    const at = word.indexOf('=')
    const name = (at < 0 ? word : word.slice(0, at)).toLowerCase()
    const key = mountKeys.get(name)
    if (key === undefined)
      throw invalid('--mount', text, `there is no key "${name}": ${[...mountKeys.keys()].join(', ')}`)
    if (at < 0 && !truths.has(key)) throw invalid('--mount', text, `"${name}" needs a value: ${name}=...`)
    fields.set(key, at < 0 ? 'true' : word.slice(at + 1))
  }
  return fields
}

function truth(text: string, fields: MountFields, key: MountKey): boolean {
  const value = tryParseBoolean(fields.get(key) ?? 'false')
  if (value !== undefined) return value
  throw invalid('--mount', text, `"${fields.get(key)}" for ${key} is neither true nor false`)
}

function mountSource(text: string, type: MountSpec['type'], source: string): string {
  if (type === 'tmpfs' && source !== '') throw invalid('--mount', text, 'a tmpfs has no source')
  if (type !== 'bind') return source
  if (source === '') throw invalid('--mount', text, 'a bind needs source=HOSTPATH')
  checkHome('--mount', text, source)
  return hostPath('--mount', text, source)
}

function tmpfsData(text: string, fields: MountFields): string {
  const size = fields.get('tmpfs-size')
  const mode = fields.get('tmpfs-mode')
  if (mode !== undefined && !isMode(mode))
    throw invalid('--mount', text, `"${mode}" for tmpfs-mode is no octal mode, e.g. 1777`)
  return [
    ...(size === undefined ? [] : [`size=${parseByteSize('--mount tmpfs-size', size)}`]),
    ...(mode === undefined ? [] : [`mode=${mode}`]),
  ].join(',')
}

/** `/run:size=64m,mode=1777`. @throws TsrunError invalid */
export function parseTmpfs(text: string): MountSpec {
  const at = text.indexOf(':')
  const target = absolute('--tmpfs', text, at < 0 ? text : text.slice(0, at))
  const options = at < 0 ? [] : text.slice(at + 1).split(',')
  const data = options.filter(option => option !== '' && option !== 'ro' && option !== 'rw')
  for (const option of data) {
    const [key, value = ''] = option.split(/=(.*)/s)
    // The kernel's own units here, and it takes a percentage of the memory.
    if (key === 'size' && !/^\d{1,18}[kmgtpe]?%?$/i.test(value))
      throw invalid('--tmpfs', text, `"${value}" is no size, e.g. 64m or 50%`)
    if (key === 'mode' && !isMode(value)) throw invalid('--tmpfs', text, `"${value}" is no octal mode, e.g. 1777`)
    if (/\p{Cc}/u.test(option)) throw invalid('--tmpfs', text, 'an option holds a control character')
  }
  return { type: 'tmpfs', source: '', target, readonly: options.includes('ro'), data: data.join(',') }
}

function isMode(text: string): boolean {
  return /^0?[0-7]{1,4}$/.test(text)
}

function checkHome(flag: string, text: string, source: string): void {
  if (!source.startsWith('~')) return
  throw new TsrunError('invalid', 'mount', `cannot mount "${text}": "~" is for the shell to expand, and it did not`, {
    hint: `a shell expands ~ only unquoted and at the start of a word: write ${flag === '-v' ? '-v "$HOME/...' : '"...source=$HOME/...'}"`,
  })
}

function hostPath(flag: string, text: string, source: string): string {
  if (source.includes('\0')) throw invalid(flag, text, 'the host path holds a NUL')
  return resolve(source)
}

function absolute(flag: string, text: string, target: string): string {
  if (!target.startsWith('/')) throw invalid(flag, text, `the container path "${target}" is not absolute`)
  if (target.split('/').includes('..')) throw invalid(flag, text, 'the container path holds ".."')
  if (target.includes('\0')) throw invalid(flag, text, 'the container path holds a NUL')
  const path = posix.normalize(target).replace(/(.)\/$/, '$1')
  if (path === '/') throw invalid(flag, text, 'the container path cannot be "/"')
  return path
}

function invalid(flag: string, text: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'mount', `cannot mount "${text}": ${reason}`, {
    hint:
      flag === '--mount'
        ? 'type=bind|volume|tmpfs,source=..,target=/path[,readonly]'
        : flag === '--tmpfs'
          ? '--tmpfs /path[:size=64m,mode=1777]'
          : '-v /host/path:/container/path[:ro], -v name:/path, or -v /path',
  })
}
