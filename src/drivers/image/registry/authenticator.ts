// Answers a registry's challenges: basic, or a bearer token from the service that the challenge names
// (distribution.github.io/distribution/spec/auth/token). Tokens are kept for as long as the process lives, by what they are for.

import { parseChallenges } from './challenge.ts'
import type { Credentials } from './credentials.ts'
import type { HttpRequest, HttpResponse } from './http-client.ts'
import { RegistryError } from './registry-error.ts'
import { isPassing } from './retry.ts'
import { TransportError } from './transport-error.ts'

export interface AuthenticatorParts {
  /** The registry as the user writes it, for messages. */
  readonly registry: string
  /** Asked once, and only when a challenge comes. */
  readonly credentials: () => Promise<Credentials | undefined>
  readonly send: (request: Omit<HttpRequest, 'trust'>) => Promise<HttpResponse>
  /** Whether a password may go to this address without TLS. */
  readonly mayBePlain: (url: URL) => boolean
}

/** What a token service answers. */
interface TokenDocument {
  readonly token?: unknown
  readonly access_token?: unknown
  readonly refresh_token?: unknown
}

const clientId = 'tsrun'
const tokenBytes = 256 * 1024

export class Authenticator {
  readonly #parts: AuthenticatorParts
  readonly #byScope = new Map<string, string>()
  readonly #pending = new Map<string, Promise<string | undefined>>()
  #credentials: Promise<Credentials | undefined> | undefined
  #withCredentials = false
  /** The refresh token that the service gave for a password; login asks for it. */
  refreshToken: string | undefined

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts
  }

  /** Whether credentials were sent so far. */
  get withCredentials(): boolean {
    return this.#withCredentials
  }

  /** The Authorization header for these scopes, as far as one is known. */
  authorization(scopes: readonly string[]): string | undefined {
    return this.#byScope.get(keyOf(scopes))
  }

  /**
   * After HTTP 401: gets another authorization than the one that was refused.
   * @returns false where there is no other
   * @throws RegistryError denied (wrong credentials), unavailable; TransportError
   */
  async renew(
    response: HttpResponse,
    scopes: readonly string[],
    refused: string | undefined,
    options: { readonly signal?: AbortSignal; readonly isLogin?: boolean } = {},
  ): Promise<boolean> {
    const key = keyOf(scopes)
    // Another request may have got one meanwhile.
    if (this.authorization(scopes) !== refused) return true
    const pending = this.#pending.get(key) ?? this.#answer(response, scopes, options)
    this.#pending.set(key, pending)
    try {
      const header = await pending
      if (header === undefined || header === refused) return false
      this.#byScope.set(key, header)
      return true
    } finally {
      this.#pending.delete(key)
    }
  }

  async #answer(
    response: HttpResponse,
    scopes: readonly string[],
    options: { readonly signal?: AbortSignal; readonly isLogin?: boolean },
  ): Promise<string | undefined> {
    const challenges = parseChallenges(response.header('www-authenticate') ?? '')
    this.#credentials ??= this.#parts.credentials()
    const credentials = await this.#credentials
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm !== undefined)
    if (bearer !== undefined) {
      const { realm = '', service, scope } = bearer.parameters
      const request = {
        realm: this.#realm(realm, response.url),
        service,
        scopes: wantedScopes(scopes, scope),
        credentials,
        ...options,
      }
      return `Bearer ${await this.#fetchToken(request)}`
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic') || credentials?.kind !== 'password') return undefined
    this.#withCredentials = true
    return basic(credentials)
  }

  /** A token service without TLS is for registries without TLS. */
  #realm(text: string, asked: URL): URL {
    const realm = URL.canParse(text) ? new URL(text) : undefined
    const isWeb = realm?.protocol === 'https:' || realm?.protocol === 'http:'
    const isFine = realm?.protocol === 'https:' || asked.protocol === 'http:'
    if (realm !== undefined && isWeb && (isFine || this.#parts.mayBePlain(realm))) return realm
    throw new RegistryError(
      'system',
      'bad-challenge',
      `${this.#parts.registry} names a token service that cannot be trusted with a password (no TLS)`,
    )
  }

  async #fetchToken(request: TokenRequest): Promise<string> {
    const { credentials } = request
    if (credentials !== undefined) this.#withCredentials = true
    const exchange = (): Promise<HttpResponse> =>
      this.#parts.send(credentials?.kind === 'identity' ? refresh(request, credentials.token) : ask(request))
    let response = await exchange()
    if (isPassing(response.status)) {
      await response.discard()
      response = await exchange()
    }
    if (response.status === 200) return this.#readToken(response)
    await response.discard()
    const { registry } = this.#parts
    if (response.status === 401 || response.status === 403 || response.status === 400)
      throw new RegistryError(
        'denied',
        'unauthorized',
        credentials === undefined
          ? `${registry} wants a login (HTTP ${response.status} from its token service)`
          : `${registry} refuses the user name or password (HTTP ${response.status} from its token service)`,
        { hint: `\`tsrun login${registry === 'docker.io' ? '' : ` ${registry}`}\` with the right ones` },
      )
    throw new RegistryError(
      'unavailable',
      'token-service',
      `the token service of ${registry} at ${request.realm.host} answers HTTP ${response.status}`,
      { hint: 'try again later' },
    )
  }

  async #readToken(response: HttpResponse): Promise<string> {
    const document = parse(await response.bytes(tokenBytes))
    const token = document.token || document.access_token
    if (typeof document.refresh_token === 'string' && document.refresh_token !== '')
      this.refreshToken = document.refresh_token
    if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token
    throw new TransportError('protocol', response.url, `the token service at ${response.url.host} gives no token`)
  }
}

interface TokenRequest {
  readonly realm: URL
  readonly service: string | undefined
  readonly scopes: readonly string[]
  readonly credentials: Credentials | undefined
  readonly signal?: AbortSignal
  readonly isLogin?: boolean
}

/** Asks anonymously or with a password. */
function ask({ realm, service, scopes, credentials, signal, isLogin }: TokenRequest): Omit<HttpRequest, 'trust'> {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (isLogin === true) {
    url.searchParams.set('offline_token', 'true')
    url.searchParams.set('client_id', clientId)
  }
  const aborting = signal === undefined ? {} : { signal }
  if (credentials?.kind !== 'password') return { method: 'GET', url, ...aborting }
  url.searchParams.set('account', credentials.username)
  return { method: 'GET', url, headers: { authorization: basic(credentials) }, ...aborting }
}

/** Asks with a refresh token (OAuth 2). */
function refresh({ realm, service, scopes, signal }: TokenRequest, token: string): Omit<HttpRequest, 'trust'> {
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: clientId, refresh_token: token })
  if (service !== undefined) form.set('service', service)
  if (scopes.length > 0) form.set('scope', scopes.join(' '))
  const bytes = Buffer.from(form.toString())
  return {
    method: 'POST',
    url: realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: { length: bytes.length, open: () => [bytes] },
    ...(signal === undefined ? {} : { signal }),
  }
}

function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** Ours, and what the registry wants beyond the repositories that we know of. */
function wantedScopes(own: readonly string[], challenged = ''): string[] {
  const resource = (scope: string): string => scope.replace(/:[^:]*$/, '')
  const known = new Set(own.map(resource))
  return [...own, ...challenged.split(' ').filter(scope => scope !== '' && !known.has(resource(scope)))]
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(' ')
}

function parse(bytes: Buffer): TokenDocument {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? value : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}
