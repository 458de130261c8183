// Who we are to a registry, as docker and podman keep it: ~/.docker/config.json with credential helpers, and podman's auth.json.
// A secret never stands on a command line, in a log or in an error.

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '../../../ffi/errno.ts'
import { TsrunError } from '../../../model/errors.ts'
import { helperGet } from './credential-helper.ts'
import type { Credentials } from './credentials.ts'
import { defaultRegistry } from './registries-config.ts'

/** The parts of a config.json that we read; all others are kept when it is written. */
export interface DockerConfig {
  readonly auths?: Readonly<Record<string, AuthEntry>>
  readonly credsStore?: string
  readonly credHelpers?: Readonly<Record<string, string>>
}

export interface AuthEntry {
  /** base64 of `user:password`. */
  readonly auth?: string
  readonly username?: string
  readonly password?: string
  readonly identitytoken?: string
}

/** What docker calls docker.io in its files. */
const dockerHubServer = 'https://index.docker.io/v1/'

/** $DOCKER_CONFIG/config.json, else ~/.docker/config.json. */
export function dockerConfigPath(): string {
  return join(process.env.DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json')
}

/** The name under which a registry's credentials are kept. */
export function serverName(registry: string): string {
  return registry === defaultRegistry ? dockerHubServer : registry
}

/**
 * The credentials for a repository; undefined where there are none. Asks a credential helper where one is set.
 * @throws TsrunError invalid (a file is damaged), system (a helper fails)
 */
export async function findCredentials(registry: string, repository?: string): Promise<Credentials | undefined> {
  const docker = readDockerConfig(dockerConfigPath())
  const helper = helperFor(docker, registry)
  if (helper !== undefined) {
    const found = await helperGet(helper, serverName(registry))
    if (found !== undefined) return found
  }
  const entries = [docker, ...podmanPaths().map(readDockerConfig)].map(config => entryFor(config, registry, repository))
  for (const entry of entries) {
    const credentials = entry === undefined ? undefined : credentialsOf(entry)
    if (credentials !== undefined) return credentials
  }
  return undefined
}

/** The helper for a registry: its own, else the one for all. */
export function helperFor(config: DockerConfig, registry: string): string | undefined {
  const own = Object.entries(config.credHelpers ?? {}).find(([server]) => hostOf(server) === registry)
  return own?.[1] || config.credsStore || undefined
}

/** An empty one where there is no file. @throws TsrunError invalid; its content is never quoted */
export function readDockerConfig(path: string): DockerConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return {}
    throw error
  }
  const value = parseJson(text)
  const reason = problemIn(value)
  if (reason === undefined) return value as DockerConfig
  throw new TsrunError('invalid', 'docker-config', `cannot read the credentials in "${path}": ${reason}`, {
    hint: 'repair the file, or move it away and log in again',
  })
}

/** What is wrong with a file that people edit, in the parts that we read; undefined: nothing. */
function problemIn(value: unknown): string | undefined {
  if (!isObject(value)) return 'it is not a JSON object'
  const { auths = {}, credsStore = '', credHelpers = {} } = value
  const isText = (text: unknown) => text === undefined || typeof text === 'string'
  if (!isObject(auths)) return '"auths" is not an object'
  for (const entry of Object.values(auths)) {
    if (!isObject(entry)) return 'an entry of "auths" is not an object'
    const { auth, username, password, identitytoken } = entry
    if (![auth, username, password, identitytoken].every(isText))
      return 'an entry of "auths" has a value that is not text'
  }
  if (!isText(credsStore)) return '"credsStore" is not text'
  if (!isObject(credHelpers) || !Object.values(credHelpers).every(isText))
    return '"credHelpers" is not an object of texts'
  return undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The entry for a registry, the one of the longest repository prefix first (podman's); docker writes hosts and URLs. */
export function entryFor(config: DockerConfig, registry: string, repository?: string): AuthEntry | undefined {
  const names = [registry]
  const parts = repository?.split('/') ?? []
  for (let length = 1; length <= parts.length; length++)
    names.unshift(`${registry}/${parts.slice(0, length).join('/')}`)
  const entries = Object.entries(config.auths ?? {})
  for (const name of names) {
    const found = entries.find(([server]) => (name === registry ? hostOf(server) : server) === name)
    if (found !== undefined) return found[1]
  }
  return undefined
}

/** What an entry says; undefined where it is empty, as those are that docker leaves beside a helper. */
export function credentialsOf(entry: AuthEntry): Credentials | undefined {
  if (entry.identitytoken) return { kind: 'identity', token: entry.identitytoken }
  const decoded = entry.auth ? Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '') : ''
  const colon = decoded.indexOf(':')
  const username = entry.username || (colon < 0 ? '' : decoded.slice(0, colon))
  const password = entry.password || (colon < 0 ? '' : decoded.slice(colon + 1))
  return username === '' && password === '' ? undefined : { kind: 'password', username, password }
}

/** `https://index.docker.io/v1/` is docker.io; else scheme and path are cut off. */
export function hostOf(server: string): string {
  const host = server.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? defaultRegistry : host
}

function podmanPaths(): string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR } = process.env
  if (REGISTRY_AUTH_FILE) return [REGISTRY_AUTH_FILE]
  const run = XDG_RUNTIME_DIR || `/run/containers/${process.getuid?.() ?? 0}`
  return [XDG_RUNTIME_DIR ? join(run, 'containers', 'auth.json') : join(run, 'auth.json')]
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
