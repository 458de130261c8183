// The values of build's flags: what they mean, and what is wrong with them.

import { resolve } from 'node:path'
import type { BuildOptions, BuildSecret } from '../engine/build/build-types.ts'
import { TsrunError } from '../model/errors.ts'
import { tryParseCsv } from './parse-csv.ts'

/** `NAME=value`, and NAME alone with its value from elsewhere; without one it is left out. */
export function pairs(
  flag: string,
  values: readonly string[],
  fallback: (name: string) => string | undefined,
): Record<string, string> {
  return Object.fromEntries(
    values.flatMap(text => {
      const [name = ''] = text.split('=', 1)
      if (name === '')
        throw new TsrunError('invalid', 'pair', `invalid value "${text}" for ${flag}: expected NAME=VALUE`)
      const value = text.includes('=') ? text.slice(name.length + 1) : fallback(name)
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}

/** `id=NAME,src=FILE` and its like. @throws TsrunError invalid */
export function parseSecret(text: string): BuildSecret {
  const fields = fieldsIn(text)
  const id = fields.get('id')
  const invalid = (reason: string) =>
    new TsrunError('invalid', 'secret', `invalid value for --secret: ${reason}`, {
      hint: 'id=NAME,src=FILE or id=NAME,env=VARIABLE',
    })
  if (!id) throw invalid('it has no id')
  const variable = fields.get('env') ?? (fields.get('type') === 'env' ? id : undefined)
  const file = fields.get('src') ?? fields.get('source')
  if (variable !== undefined) {
    const value = process.env[variable]
    if (value === undefined) throw invalid(`the environment has no ${variable}`)
    return { id, source: { value } }
  }
  if (file !== undefined) return { id, source: { file } }
  const value = process.env[id]
  if (value === undefined) throw invalid(`"${id}" is neither a file nor in the environment`)
  return { id, source: { value } }
}

/** What `key=value,key=value` says; nothing where it cannot be read. */
function fieldsIn(text: string): Map<string, string> {
  return new Map(
    (tryParseCsv(text) ?? []).map(part => {
      const [key = ''] = part.split('=', 1)
      return [key, part.slice(key.length + 1)]
    }),
  )
}

/** @throws TsrunError invalid */
export function epoch(text: string | undefined): Pick<BuildOptions, 'sourceDateEpoch'> {
  if (text === undefined) return {}
  if (/^\d{1,11}$/.test(text)) return { sourceDateEpoch: Number(text) }
  throw new TsrunError('invalid', 'epoch', `invalid value "${text}" for --source-date-epoch`, {
    hint: 'seconds since 1970, e.g. $(git log -1 --pretty=%ct)',
  })
}

/** `NAME=DIRECTORY` or `NAME=docker-image://REFERENCE`. @throws TsrunError invalid, unsupported */
export function parseNamedContexts(values: readonly string[]): NonNullable<BuildOptions['namedContexts']> {
  return Object.fromEntries(
    values.map(text => {
      const at = text.indexOf('=')
      const place = text.slice(at + 1)
      if (at < 1 || place === '')
        throw new TsrunError('invalid', 'build-context', `invalid value "${text}" for --build-context`, {
          hint: 'NAME=DIRECTORY or NAME=docker-image://IMAGE',
        })
      const [, scheme = '', rest = ''] = /^([a-z-]+):\/\/(.*)$/.exec(place) ?? []
      if (scheme === 'docker-image') return [text.slice(0, at), { image: rest }] as const
      if (scheme !== '')
        throw new TsrunError(
          'unsupported',
          'build-context',
          `cannot use "${place}" for --build-context: tsrun takes directories and images`,
          {
            hint: 'NAME=DIRECTORY or NAME=docker-image://IMAGE; clone, download or `tsrun load` it first',
          },
        )
      return [text.slice(0, at), { directory: resolve(place) }] as const
    }),
  )
}

/** `[manifest:]KEY=VALUE`. @throws TsrunError invalid, unsupported */
export function parseAnnotations(values: readonly string[]): Record<string, string> {
  const own = values.map(text => {
    const [, level = 'manifest', rest = text] = /^([a-z-]+(?:,[a-z-]+)*(?:\[[^\]]*\])?):(.*)$/s.exec(text) ?? []
    if (level === 'manifest') return rest
    throw new TsrunError('unsupported', 'annotation', `cannot annotate the ${level}: tsrun builds a manifest alone`, {
      hint: '--annotation KEY=VALUE',
    })
  })
  return pairs('--annotation', own, () => '')
}

/** Where the files of the image go. `store`: nowhere but into the store. */
export type BuildOutput =
  | { readonly kind: 'store' | 'registry' }
  | { readonly kind: 'folder' | 'tar' | 'docker' | 'oci'; readonly path: string }

/** `type=local,dest=DIR`, DIR alone, `-`. @throws TsrunError invalid */
export function parseOutput(text: string): BuildOutput {
  const reject = (reason: string) =>
    new TsrunError('invalid', 'output', `invalid value "${text}" for --output: ${reason}`, {
      hint: 'DIR, -, or type=local|tar|docker|oci,dest=PATH, type=image, type=registry',
    })
  if (!text.includes('=')) return text === '-' ? { kind: 'tar', path: '-' } : { kind: 'folder', path: text }
  const fields = fieldsIn(text)
  const type = fields.get('type')
  const path = fields.get('dest') ?? fields.get('destination')
  const known = ['type', 'dest', 'destination', 'push']
  const unknown = [...fields.keys()].find(key => !known.includes(key))
  if (unknown !== undefined) throw reject(`tsrun has no "${unknown}" there`)
  if (type === 'registry' || (type === 'image' && fields.get('push') === 'true')) return { kind: 'registry' }
  if (type === 'image' || (type === 'docker' && path === undefined)) return { kind: 'store' }
  if (type === 'local' && path !== undefined) return { kind: 'folder', path }
  if (type === 'tar' || type === 'docker' || type === 'oci') return { kind: type, path: path ?? '-' }
  throw reject(type === 'local' ? 'expected dest=DIR' : 'expected another type')
}
