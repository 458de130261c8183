// The way through an HTTP proxy, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment say, in the sense that Go programs and so
// docker give them. HTTPS goes through a tunnel (CONNECT, RFC 9110 9.3.6); plain HTTP is asked of the proxy itself.

import { type ClientRequest, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { compareAddresses, contains, tryParseAddress, tryParsePrefix } from '../../../lib/ip.ts'
import { TsrunError } from '../../../model/errors.ts'
import { isLoopback } from './registries-config.ts'
import { TransportError, transportError } from './transport-error.ts'

export interface HttpProxy {
  /** Without name and password. */
  readonly url: URL
  /** Header of every request to the proxy. */
  readonly headers: Readonly<Record<string, string>>
}

/** Which proxy leads to a host; undefined for none. */
export type ProxyChoice = (url: URL) => HttpProxy | undefined

const connectTimeoutMs = 60_000
const hint = 'HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment say which way requests take'

/** @throws TsrunError invalid, when a variable names no proxy */
export function proxiesOf(environment: NodeJS.ProcessEnv): ProxyChoice {
  const value = (name: string): string => environment[name] || environment[name.toLowerCase()] || ''
  const [http, https] = (['HTTP_PROXY', 'HTTPS_PROXY'] as const).map(name => parseProxy(name, value(name)))
  const isDirect = noProxy(value('NO_PROXY'))
  return url => {
    const proxy = url.protocol === 'https:' ? https : http
    return proxy === undefined || isLoopback(url.host) || isDirect(url) ? undefined : proxy
  }
}

function parseProxy(variable: string, text: string): HttpProxy | undefined {
  if (text === '') return undefined
  const full = /^[a-z0-9+.-]+:\/\//i.test(text) ? text : `http://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '')
    // Not what it says: there may be a password in it.
    throw new TsrunError('invalid', 'proxy', `${variable} does not name an HTTP proxy`, {
      hint: 'write it as http://host:port; SOCKS is not supported',
    })
  const [name, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)]
  url.username = ''
  url.password = ''
  if (name === '') return { url, headers: {} }
  const credentials = Buffer.from(`${name}:${password}`).toString('base64')
  return { url, headers: { 'proxy-authorization': `Basic ${credentials}` } }
}

/** Names (with all below them), `.names` (only what is below), addresses, prefixes, each also with a port; `*` is everything. */
function noProxy(text: string): (url: URL) => boolean {
  const rules = text.split(/[\s,]+/).filter(rule => rule !== '')
  return url => {
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
    return rules.some(rule => matches(rule.toLowerCase(), url.hostname.toLowerCase(), port))
  }
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === '*') return true
  const withPort = /^(\[[0-9a-f:.]+\]|[^:]*):(\d+)$/.exec(rule)
  if (withPort !== null && withPort[2] !== port) return false
  const bare = (withPort?.[1] ?? rule).replace(/^\[|\]$/g, '').replace(/^\*(?=\.)/, '')
  const address = tryParseAddress(host.replace(/^\[|\]$/g, ''))
  if (address === undefined)
    return bare.startsWith('.') ? host.endsWith(bare) : host === bare || host.endsWith(`.${bare}`)
  const wanted = tryParseAddress(bare)
  if (wanted !== undefined) return wanted.family === address.family && compareAddresses(wanted, address) === 0
  const prefix = tryParsePrefix(bare)
  return prefix !== undefined && contains(prefix, address)
}

/** An error of the connection to a proxy names the proxy. */
export function aboutProxy(thrown: unknown, { url }: HttpProxy): unknown {
  const error = transportError(thrown, url)
  if (!(error instanceof TransportError)) return error
  return new TransportError(error.kind, url, `the proxy ${url.host} does not help: ${error.message}`, {
    hint,
    cause: thrown,
  })
}

type Handover = (error: Error | null, stream: Duplex) => void

/** Connections over TLS through the tunnels of a proxy. */
export class TunnelAgent extends HttpsAgent {
  readonly #proxy: HttpProxy
  readonly #opening = new Set<ClientRequest>()

  constructor(proxy: HttpProxy) {
    super({ keepAlive: true })
    this.#proxy = proxy
  }

  /** What node:http asks an agent for; the connection is handed over later. */
  override createConnection(options: RequestOptions, callback?: Handover): undefined {
    const { url, headers } = this.#proxy
    const { host = '', port } = options
    const path = `${host?.includes(':') ? `[${host}]` : host}:${port}`
    const done = callback as ((error: unknown, socket?: Duplex) => void) | undefined
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const tunnel = request(url, {
      method: 'CONNECT',
      path,
      headers: { ...headers, host: path },
      timeout: connectTimeoutMs,
    })
    this.#opening.add(tunnel)
    tunnel.on('close', () => this.#opening.delete(tunnel))
    tunnel.on('timeout', () => tunnel.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })))
    tunnel.on('error', error => done?.(aboutProxy(error, this.#proxy)))
    tunnel.on('connect', (answer, socket) => {
      if (answer.statusCode === 200) return done?.(null, tlsConnect({ ...options, socket } as ConnectionOptions))
      socket.destroy()
      done?.(this.#refusal(answer.statusCode, path))
    })
    tunnel.end()
    return undefined
  }

  override destroy(): void {
    for (const tunnel of this.#opening) tunnel.destroy()
    super.destroy()
  }

  #refusal(status: number | undefined, to: string): TransportError {
    const { url } = this.#proxy
    const reason = status === 407 ? 'it wants a name and a password (HTTP 407)' : `HTTP ${status}`
    return new TransportError('protocol', url, `the proxy ${url.host} opens no way to ${to}: ${reason}`, { hint })
  }
}
