// `login` and `logout`: asks the registry whether it takes the credentials, then keeps them where docker does: with a credential
// helper where one is set, else in config.json, which is written whole and for its owner alone.

import { chmodSync, mkdirSync, realpathSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { helperErase, helperStore } from '../../drivers/image/registry/credential-helper.ts'
import type { Credentials } from '../../drivers/image/registry/credentials.ts'
import {
  type AuthEntry,
  credentialsOf,
  type DockerConfig,
  dockerConfigPath,
  entryFor,
  helperFor,
  hostOf,
  readDockerConfig,
  serverName,
} from '../../drivers/image/registry/docker-config.ts'
import { defaultRegistry } from '../../drivers/image/registry/registries-config.ts'
import { asRegistryError, refusal } from '../../drivers/image/registry/registry-error.ts'
import { withLock } from '../../kernel/flock.ts'
import { writeJsonFile } from '../../lib/json-file.ts'
import { sweepTemporaries } from '../../lib/state-file.ts'
import { TsrunError } from '../../model/errors.ts'
import { RegistryAccess } from './registry-access.ts'

/** Whom to log in, and where. */
export interface LoginRequest {
  /** Host and port; default: docker.io. A URL, as docker shows it, will do. */
  readonly registry?: string
  readonly username: string
  readonly password: string
  readonly signal?: AbortSignal
}

/** Where the credentials went. */
export interface LoginResult {
  readonly registry: string
  /** The file that has them in plain (base64 hides nothing); undefined where a helper keeps them. */
  readonly file?: string
}

/**
 * Tries the credentials at the registry and keeps them where docker does.
 * @throws TsrunError denied (wrong ones), unavailable, not-found (no registry there)
 */
export async function login(request: LoginRequest): Promise<LoginResult> {
  const registry = registryOf(request.registry)
  const { username, password, signal } = request
  if (username === '' || username.includes(':'))
    throw new TsrunError('invalid', 'user-name', `cannot log in to ${registry}: "${username}" is not a user name`)
  const given: Credentials = { kind: 'password', username, password }
  const token = await verify(registry, given, signal)
  return keep(registry, username, token === undefined ? given : { kind: 'identity', token })
}

/** The user name that is kept for a registry, to be offered at the next login. */
export function knownUser(registry?: string): string | undefined {
  const config = readDockerConfig(dockerConfigPath())
  const entry = entryFor(config, registryOf(registry))
  const known = entry === undefined ? undefined : credentialsOf(entry)
  return known?.kind === 'password' ? known.username : undefined
}

/** Forgets the credentials for a registry. @returns false where there were none */
export async function logout(registry?: string): Promise<{ readonly registry: string; readonly wasKnown: boolean }> {
  const name = registryOf(registry)
  const config = readDockerConfig(dockerConfigPath())
  const helper = helperFor(config, name)
  if (helper !== undefined) await helperErase(helper, serverName(name))
  const wasKnown = entryFor(config, name) !== undefined
  if (wasKnown) await change(auths => without(auths, name))
  return { registry: name, wasKnown: wasKnown || helper !== undefined }
}

/** @throws TsrunError invalid */
export function registryOf(text: string | undefined): string {
  const host = text === undefined || text === '' ? defaultRegistry : hostOf(text)
  if (/^[A-Za-z0-9.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(host)) return host
  throw new TsrunError('invalid', 'registry', `"${text}" is not a registry`, { hint: 'write HOST or HOST:PORT' })
}

/** @returns the refresh token that the registry would rather see from now on, if it gave one */
async function verify(
  registry: string,
  credentials: Credentials,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const access = new RegistryAccess()
  try {
    const session = access.session(registry, credentials)
    const aborting = signal === undefined ? {} : { signal }
    const response = await session.call({ method: 'GET', at: '', isLogin: true, ...aborting })
    if (response.status === 404)
      throw new TsrunError('not-found', 'no-registry', `there is no registry at ${registry} (HTTP 404)`)
    if (response.status !== 200) throw await refusal(response, { registry, withCredentials: true })
    await response.discard()
    return session.authenticator.refreshToken
  } catch (thrown) {
    const error = asRegistryError(thrown)
    if (!(error instanceof TsrunError)) throw error
    const { kind, code, message, hint } = error
    throw new TsrunError(kind, code, `cannot log in to ${registry}: ${message}`, {
      cause: error,
      ...(hint === undefined || kind === 'denied' ? {} : { hint }),
    })
  } finally {
    access.close()
  }
}

async function keep(registry: string, username: string, credentials: Credentials): Promise<LoginResult> {
  const config = readDockerConfig(dockerConfigPath())
  const helper = helperFor(config, registry)
  if (helper !== undefined) {
    await helperStore(helper, serverName(registry), credentials)
    return { registry }
  }
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const entry: AuthEntry =
    credentials.kind === 'identity'
      ? { auth: base64(`${username}:`), identitytoken: credentials.token }
      : { auth: base64(`${username}:${credentials.password}`) }
  const file = await change(auths => ({ ...without(auths, registry), [serverName(registry)]: entry }))
  return { registry, file }
}

function without(auths: Auths, registry: string): Record<string, AuthEntry> {
  return Object.fromEntries(Object.entries(auths).filter(([server]) => hostOf(server) !== registry || hasPath(server)))
}

/** podman's entries for a part of a registry are none of ours. */
function hasPath(server: string): boolean {
  return !/^https?:/.test(server) && /^[^/]+\/./.test(server)
}

type Auths = Readonly<Record<string, AuthEntry>>

/** Changes the entries of the file while no other tsrun does. @returns its path */
async function change(alter: (auths: Auths) => Auths): Promise<string> {
  const path = realPath(dockerConfigPath())
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const write = () => {
    const config = readDockerConfig(path)
    const changed: DockerConfig = { ...config, auths: alter(config.auths ?? {}) }
    sweepTemporaries(folder, basename(path))
    writeJsonFile(path, changed, { mode: 0o600 })
    // Whatever the umask of whoever made it.
    chmodSync(path, 0o600)
  }
  await withLock(folder, write, { what: `"${path}"`, folder: true })
  return path
}

/** A file that is a link, as dotfiles often are, stays one. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
