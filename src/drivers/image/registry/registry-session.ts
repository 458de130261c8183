// Talks to one endpoint: finds out whether it speaks TLS, answers its challenges, follows redirects and tries again. The
// Authorization header goes to the registry's own origin and nowhere else.

import { setMaxListeners } from 'node:events'
import { Authenticator } from './authenticator.ts'
import type { Credentials } from './credentials.ts'
import { findCredentials } from './docker-config.ts'
import { isInsecure, type RegistryEndpoint } from './endpoints.ts'
import type { HttpClient, HttpRequest, HttpResponse, RequestBody } from './http-client.ts'
import type { RegistriesConfig } from './registries-config.ts'
import { maxAttempts, pauseBefore, pauseFor } from './retry.ts'
import { TransportError } from './transport-error.ts'
import type { TrustStore } from './trust-store.ts'

/** One call of the registry's API. */
export interface RegistryCall {
  readonly method: HttpRequest['method']
  /** Below `/v2/`, or an address that the registry gave. */
  readonly at: string | URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: RequestBody
  /** What it needs a token for, e.g. `repository:library/busybox:pull`. */
  readonly scopes?: readonly string[]
  readonly signal?: AbortSignal
  /** Not to be repeated: it has effects. Default false. */
  readonly isOnce?: boolean
  readonly isLogin?: boolean
}

export interface SessionParts {
  readonly endpoint: RegistryEndpoint
  readonly config: RegistriesConfig
  readonly http: HttpClient
  readonly trusts: TrustStore
  readonly credentials?: () => Promise<Credentials | undefined>
}

const redirects = new Set([301, 302, 303, 307, 308])
const maxRedirects = 5

export class RegistrySession {
  readonly endpoint: RegistryEndpoint
  readonly #parts: SessionParts
  readonly authenticator: Authenticator
  #scheme = 0
  #hasAnswered = false

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.endpoint = parts.endpoint
    const { config, endpoint } = parts
    this.authenticator = new Authenticator({
      registry: endpoint.name,
      credentials: parts.credentials ?? (() => findCredentials(endpoint.name)),
      send: request => this.#send(request),
      mayBePlain: url => isInsecure(config, url.host),
    })
  }

  /**
   * Makes a call and gives the answer, whatever its status; one that may pass was tried again before.
   * @throws TransportError, RegistryError (no authorization), the signal's reason
   */
  async call(call: RegistryCall): Promise<HttpResponse> {
    const attempts = call.isOnce === true ? 1 : this.endpoint.isMirror ? 2 : maxAttempts
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#authorized(call)
        const pause = attempt < attempts ? pauseFor(response) : undefined
        if (pause === undefined) return response
        await response.discard()
        await pauseBefore(attempt, call.signal, pause)
      } catch (error) {
        if (!(error instanceof TransportError) || !error.mayPass || attempt >= attempts) throw error
        await pauseBefore(attempt, call.signal)
      }
    }
  }

  /** An address that the registry gave in `response`: relative, absolute, or with the wrong scheme from behind a proxy. */
  location(response: HttpResponse): URL | undefined {
    const location = response.header('location')
    if (location === undefined || !URL.canParse(location, response.url.href)) return undefined
    const url = withoutUser(new URL(location, response.url))
    if (url.host === response.url.host && response.url.protocol === 'https:') url.protocol = 'https:'
    return url
  }

  async #authorized(call: RegistryCall): Promise<HttpResponse> {
    const scopes = call.scopes ?? []
    const used = this.authenticator.authorization(scopes)
    const response = await this.#overScheme(call, used)
    if (response.status !== 401 || !this.#isOwn(response.url)) return response
    const { signal, isLogin = false } = call
    const options = signal === undefined ? { isLogin } : { isLogin, signal }
    try {
      if (!(await this.authenticator.renew(response, scopes, used, options))) return response
    } catch (error) {
      await response.discard()
      throw error
    }
    await response.discard()
    return this.#follow(call, this.authenticator.authorization(scopes))
  }

  /** A registry without TLS is found out by its not speaking it, and asked without from then on. */
  async #overScheme(call: RegistryCall, authorization: string | undefined): Promise<HttpResponse> {
    const scheme = this.#scheme
    try {
      return await this.#follow(call, authorization)
    } catch (error) {
      const isNoTls = error instanceof TransportError && error.url.protocol === 'https:' && speaksNoTls.has(error.kind)
      if (!isNoTls) throw error
      // Another call, made at the same time, may have found it out already.
      if (scheme === this.#scheme) {
        if (this.#hasAnswered || scheme + 1 >= this.endpoint.schemes.length) throw error
        this.#scheme += 1
      }
      return this.#follow(call, authorization)
    }
  }

  async #follow(call: RegistryCall, authorization: string | undefined): Promise<HttpResponse> {
    const { headers, body, signal } = call
    let { method } = call
    let url = typeof call.at === 'string' ? this.#url(call.at) : call.at
    for (let hops = 0; ; hops++) {
      const mayKnow = authorization !== undefined && this.#isOwn(url)
      const response = await this.#send({
        method,
        url,
        headers: mayKnow ? { ...headers, authorization } : { ...headers },
        ...(body === undefined || method === 'GET' ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      })
      this.#hasAnswered = true
      if (!redirects.has(response.status)) return response
      const next = this.location(response)
      if (next === undefined) return response
      await response.discard()
      this.#checkRedirect(url, next, hops)
      if (response.status === 303 && method !== 'HEAD') method = 'GET'
      url = next
    }
  }

  #checkRedirect(from: URL, to: URL, hops: number): void {
    const refuse = (reason: string): TransportError => new TransportError('protocol', from, `${from.host} ${reason}`)
    if (hops >= maxRedirects) throw refuse(`redirects more than ${maxRedirects} times`)
    const isDowngrade = from.protocol === 'https:' && to.protocol !== 'https:'
    const isInsecureToo = to.protocol === 'http:' && isInsecure(this.#parts.config, to.host)
    if ((to.protocol !== 'http:' && to.protocol !== 'https:') || (isDowngrade && !isInsecureToo))
      throw refuse(`redirects to ${to.protocol}//${to.host}, which has no TLS`)
  }

  #send(request: Omit<HttpRequest, 'trust'>): Promise<HttpResponse> {
    if (request.signal !== undefined) setMaxListeners(0, request.signal)
    return this.#parts.http.send({ ...request, trust: this.#parts.trusts.of(request.url) })
  }

  #url(path: string): URL {
    return new URL(`${this.#origin}/v2/${path}`)
  }

  get #origin(): string {
    return `${this.endpoint.schemes[this.#scheme] ?? 'https'}://${this.endpoint.host}`
  }

  #isOwn(url: URL): boolean {
    return url.origin === new URL(this.#origin).origin
  }
}

const speaksNoTls: ReadonlySet<TransportError['kind']> = new Set(['tls', 'reset', 'protocol'])

/** `https://user:password@host` would make the platform send an Authorization of its own. */
function withoutUser(url: URL): URL {
  url.username = ''
  url.password = ''
  return url
}
