// `-v`, `--mount` and `--tmpfs` -> MountSpec. Pure but for resolving relative host paths.

import { resolve } from 'node:path'
import type { MountSpec } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'

const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']

/** `HOST:CONTAINER[:OPTIONS]`, `VOLUME:CONTAINER[:OPTIONS]` or `CONTAINER`. @throws TsrunError invalid */
export function parseVolume(text: string): MountSpec {
  const parts = text.split(':')
  if (parts.length > 3) throw invalid('-v', text, 'too many colons')
  if (parts.length === 1)
    return { type: 'volume', source: '', target: absolute('-v', text, parts[0] ?? ''), readonly: false }
  const [source = '', target = '', options = ''] = parts
  if (source === '') throw invalid('-v', text, 'the part before the colon is empty')
  const isPath = source.startsWith('/') || source.startsWith('.') || source.startsWith('~')
  let readonly = false
  let noCopy = false
  let propagation: string | undefined
  for (const option of options.split(',').filter(Boolean)) {
    if (option === 'ro') readonly = true
    else if (option === 'nocopy') noCopy = true
    else if (propagations.includes(option)) propagation = option
    else if (!['rw', 'z', 'Z', 'consistent', 'cached', 'delegated'].includes(option))
      throw invalid('-v', text, `there is no option "${option}"`)
  }
  return {
    type: isPath ? 'bind' : 'volume',
    source: isPath ? resolve(source) : source,
    target: absolute('-v', text, target),
    readonly,
    ...(propagation === undefined ? {} : { propagation }),
    ...(noCopy ? { noCopy } : {}),
    ...(isPath ? { createSource: true } : {}),
  }
}

/** `type=bind,source=/a,target=/b,readonly`. @throws TsrunError invalid */
export function parseMount(text: string): MountSpec {
  const fields = new Map<string, string>()
  for (const field of text.split(',')) {
    const at = field.indexOf('=')
    fields.set((at < 0 ? field : field.slice(0, at)).toLowerCase(), at < 0 ? 'true' : field.slice(at + 1))
  }
  const take = (...names: string[]) => names.map(name => fields.get(name)).find(value => value !== undefined)
  const type = take('type') ?? 'volume'
  if (type !== 'bind' && type !== 'volume' && type !== 'tmpfs')
    throw invalid('--mount', text, `there is no type "${type}"`)
  const target = absolute('--mount', text, take('target', 'destination', 'dst') ?? '')
  const source = take('source', 'src') ?? ''
  if (type === 'bind' && source === '') throw invalid('--mount', text, 'a bind needs source=HOSTPATH')
  const readonly = ['true', '1'].includes(take('readonly', 'ro') ?? '')
  const propagation = take('bind-propagation')
  if (propagation !== undefined && !propagations.includes(propagation))
    throw invalid('--mount', text, `there is no propagation "${propagation}": ${propagations.join(', ')}`)
  const size = take('tmpfs-size')
  const mode = take('tmpfs-mode')
  const data = [size && `size=${size}`, mode && `mode=${mode}`].filter(Boolean).join(',')
  return {
    type,
    source: type === 'bind' ? resolve(source) : type === 'tmpfs' ? '' : source,
    target,
    readonly,
    ...(propagation === undefined ? {} : { propagation }),
    ...(type === 'tmpfs' ? { data } : {}),
    ...(fields.has('volume-nocopy') ? { noCopy: true } : {}),
  }
}

/** `/run:size=64m,mode=1777`. @throws TsrunError invalid */
export function parseTmpfs(text: string): MountSpec {
  const at = text.indexOf(':')
  const target = at < 0 ? text : text.slice(0, at)
  const options =
    at < 0
      ? []
      : text
          .slice(at + 1)
          .split(',')
          .filter(Boolean)
  const readonly = options.includes('ro')
  const data = options.filter(option => option !== 'ro' && option !== 'rw').join(',')
  return { type: 'tmpfs', source: '', target: absolute('--tmpfs', text, target), readonly, data }
}

function absolute(flag: string, text: string, target: string): string {
  const path = target.replace(/\/+/g, '/').replace(/(.)\/$/, '$1')
  if (!path.startsWith('/')) throw invalid(flag, text, `the container path "${target}" is not absolute`)
  if (path === '/') throw invalid(flag, text, 'the container path cannot be "/"')
  if (path.split('/').includes('..')) throw invalid(flag, text, 'the container path holds ".."')
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
