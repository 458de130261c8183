// /etc/tsrun/registries.json: mirrors, registries without (good) TLS, own authorities, and where short names are looked for.
// Its form is in docs/images.md. An unknown key is an error: a misspelt "insecure" should not pass for its absence.

import { readFileSync } from 'node:fs'
import { hasCode } from '../../../ffi/errno.ts'
import { TsrunError } from '../../../model/errors.ts'

export interface RegistrySettings {
  /** `host[:port][/prefix]`, or with `http://` or `https://` before it; asked in this order before the registry itself. */
  readonly mirrors: readonly string[]
  /** TLS with any certificate will do, and so will none. Where it is not said: only for this machine itself. */
  readonly isInsecure?: boolean
  /** A PEM file, or a folder of them: further authorities. */
  readonly certs?: string
  /** Blobs larger than this are pushed in chunks of it, in bytes; 0 for never. */
  readonly chunkBytes?: number
}

export interface RegistriesConfig {
  /** Registries where a name without a registry is looked for, in this order. */
  readonly search: readonly string[]
  /** By host and port, as in references. */
  readonly registries: ReadonlyMap<string, RegistrySettings>
}

export const defaultRegistry = 'docker.io'
const defaultPath = '/etc/tsrun/registries.json'

/** Where the configuration is: $TSRUN_REGISTRIES, else /etc/tsrun/registries.json. */
export function registriesPath(): string {
  return process.env.TSRUN_REGISTRIES || defaultPath
}

/** Reads the configuration; the defaults where there is no file. @throws TsrunError invalid */
export function readRegistries(path = registriesPath()): RegistriesConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return { search: [defaultRegistry], registries: new Map() }
    throw error
  }
  try {
    return parseRegistries(JSON.parse(text))
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new TsrunError('invalid', 'registries-config', `cannot read "${path}": ${error.message}`, {
      hint: 'docs/images.md, "Registries", says how it is written',
      cause: error,
    })
  }
}

/** @throws Error saying which key is wrong */
export function parseRegistries(value: unknown): RegistriesConfig {
  const top = objectOf(value, 'it', ['search', 'registries'])
  const search = textsOf(top.search, '"search"') ?? [defaultRegistry]
  const registries = new Map<string, RegistrySettings>()
  for (const [host, settings] of Object.entries(objectOf(top.registries ?? {}, '"registries"')))
    registries.set(host === 'index.docker.io' ? defaultRegistry : host, parseSettings(settings, `"${host}"`))
  return { search, registries }
}

/** Whether a host is this machine: docker, too, takes what it finds there. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(host)
}

function parseSettings(value: unknown, what: string): RegistrySettings {
  const { mirrors, insecure, certs, chunkBytes } = objectOf(value, what, ['mirrors', 'insecure', 'certs', 'chunkBytes'])
  const mirrorList = textsOf(mirrors, `"mirrors" of ${what}`) ?? []
  for (const mirror of mirrorList) parseMirror(mirror)
  if (insecure !== undefined && typeof insecure !== 'boolean')
    throw new Error(`"insecure" of ${what} is neither true nor false`)
  if (certs !== undefined && (typeof certs !== 'string' || !certs.startsWith('/')))
    throw new Error(`"certs" of ${what} is not an absolute path`)
  if (chunkBytes !== undefined && (!Number.isSafeInteger(chunkBytes) || Number(chunkBytes) < 0))
    throw new Error(`"chunkBytes" of ${what} is not a number of bytes`)
  return {
    mirrors: mirrorList,
    ...(insecure === undefined ? {} : { isInsecure: insecure }),
    ...(typeof certs === 'string' ? { certs } : {}),
    ...(typeof chunkBytes === 'number' ? { chunkBytes } : {}),
  }
}

/** Host and path of a mirror. @throws Error */
export function parseMirror(text: string): { scheme?: 'http' | 'https'; host: string; prefix: string } {
  const match = /^(?:(https?):\/\/)?((?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?)((?:\/[^\s?#]*)?)$/.exec(text)
  const host = match?.[2]
  if (host === undefined) throw new Error(`"${text}" is not a mirror: host[:port][/prefix]`)
  const scheme = match?.[1] as 'http' | 'https' | undefined
  const prefix = (match?.[3] ?? '').replace(/^\/+|\/+$/g, '').replace(/^v2(\/|$)/, '')
  return { host, prefix, ...(scheme === undefined ? {} : { scheme }) }
}

function objectOf(value: unknown, what: string, keys?: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${what} is not an object`)
  const unknown = Object.keys(value).find(key => keys !== undefined && !keys.includes(key))
  if (unknown !== undefined) throw new Error(`${what} has no key "${unknown}": it takes ${keys?.join(', ')}`)
  return value as Record<string, unknown>
}

function textsOf(value: unknown, what: string): string[] | undefined {
  if (value === undefined) return undefined
  if (Array.isArray(value) && value.every(item => typeof item === 'string' && item !== '')) return value
  throw new Error(`${what} is not a list of texts`)
}
