// One HTTP exchange at a time over node:http and node:https: connections that are kept, bodies that stream both ways, and a clock
// for silence. It follows no redirect and knows no credentials: registry-session.ts does. (fetch is not used: in Node 20 it can
// be given no certificates, and it decompresses what it was not asked to.)

import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { aboutProxy, type HttpProxy, type ProxyChoice, proxiesOf, TunnelAgent } from './http-proxy.ts'
import { TransportError, transportError } from './transport-error.ts'

/** Bytes to send. They may be asked for more than once. */
export interface RequestBody {
  readonly length: number
  open(): AsyncIterable<Buffer> | Iterable<Buffer>
}

/** How to trust the other side. */
export interface TlsTrust {
  /** PEM certificates of authorities; the platform's own where there are none. */
  readonly ca?: readonly string[]
  /** Any certificate will do. */
  readonly isUnverified: boolean
  /** Who we are, where the other side wants to know: PEM. */
  readonly client?: { readonly cert: string; readonly key: string }
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: RequestBody
  readonly trust: TlsTrust
  readonly signal?: AbortSignal
}

export interface HttpResponse {
  readonly status: number
  /** Where it came from, redirects followed. */
  readonly url: URL
  /** A header's value; several of one name are joined by ", ". */
  header(name: string): string | undefined
  /** To be read once, or discarded. @throws TransportError when it is cut off or falls silent */
  body(): AsyncGenerator<Buffer>
  /** A short body whole. @throws TransportError also when it has more than `limit` bytes */
  bytes(limit: number): Promise<Buffer>
  /** Reads what is left, unless it is much, so that the connection can be used again. */
  discard(): Promise<void>
}

/** How long the other side may be silent. */
const silenceMs = 60_000
const discardBytes = 64 * 1024

export class HttpClient {
  readonly #plain = new HttpAgent({ keepAlive: true })
  readonly #secure = new Map<TlsTrust, HttpsAgent>()
  readonly #proxyFor: ProxyChoice

  /** @param proxies default: what the environment says @throws TsrunError invalid */
  constructor(proxies: ProxyChoice = proxiesOf(process.env)) {
    this.#proxyFor = proxies
  }

  /** Sends a request and gives the answer once its headers are there. @throws TransportError; the signal's reason */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const { url, method, body, signal, trust } = request
    signal?.throwIfAborted()
    const headers = {
      'user-agent': 'tsrun',
      'accept-encoding': 'identity',
      ...request.headers,
      ...(body === undefined && (method === 'GET' || method === 'HEAD')
        ? {}
        : { 'content-length': String(body?.length ?? 0) }),
    }
    const proxy = this.#proxyFor(url)
    const isTls = url.protocol === 'https:'
    const message = isTls
      ? httpsRequest(url, { method, headers, agent: this.#agent(trust, proxy), ...tlsOptions(trust) })
      : this.#plainRequest(url, { method, headers }, proxy)
    const silence = new Silence(error => message.destroy(error), url)
    const onAbort = (): unknown => message.destroy(new Error('aborted'))
    signal?.addEventListener('abort', onAbort, { once: true })
    const forget = (): void => {
      silence.stop()
      signal?.removeEventListener('abort', onAbort)
    }
    try {
      const answer = answerTo(message)
      silence.begin()
      if (body === undefined) message.end()
      else await Promise.race([sendBody(message, body, silence), answer])
      const response = new Response(await answer, { url, signal, silence, forget })
      silence.end()
      return response
    } catch (error) {
      forget()
      signal?.throwIfAborted()
      message.destroy()
      throw proxy === undefined || isTls ? transportError(error, url) : aboutProxy(error, proxy)
    }
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#plain.destroy()
    for (const agent of this.#secure.values()) agent.destroy()
  }

  /** A proxy is asked for the whole address. */
  #plainRequest(
    url: URL,
    options: { readonly method: string; readonly headers: Readonly<Record<string, string>> },
    proxy: HttpProxy | undefined,
  ): ClientRequest {
    const agent = this.#plain
    if (proxy === undefined) return httpRequest(url, { ...options, agent })
    const headers = { ...options.headers, ...proxy.headers, host: url.host }
    return httpRequest(proxy.url, { method: options.method, path: url.href, headers, agent })
  }

  #agent(trust: TlsTrust, proxy: HttpProxy | undefined): HttpsAgent {
    let agent = this.#secure.get(trust)
    agent ??= proxy === undefined ? new HttpsAgent({ keepAlive: true, ...tlsOptions(trust) }) : new TunnelAgent(proxy)
    this.#secure.set(trust, agent)
    return agent
  }
}

class Response implements HttpResponse {
  readonly status: number
  readonly url: URL
  readonly #message: IncomingMessage
  readonly #parts: ResponseParts

  constructor(message: IncomingMessage, parts: ResponseParts) {
    this.status = message.statusCode ?? 0
    this.url = parts.url
    this.#message = message
    this.#parts = parts
  }

  header(name: string): string | undefined {
    const value = this.#message.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  async *body(): AsyncGenerator<Buffer> {
    const { silence, signal, url, forget } = this.#parts
    const message = this.#message
    silence.target = error => message.destroy(error)
    let received = 0
    try {
      silence.begin()
      for await (const chunk of message) {
        // Whoever reads may take its time: that is not the other side's silence.
        silence.end()
        received += chunk.length
        yield chunk as Buffer
        silence.begin()
      }
      const announced = Number(this.header('content-length') ?? received)
      if (!message.complete || received < announced) throw new TransportError('reset', url, 'the connection was cut')
    } catch (error) {
      signal?.throwIfAborted()
      throw transportError(error, url)
    } finally {
      forget()
      if (!message.complete) message.destroy()
    }
  }

  async bytes(limit: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of this.body()) {
      size += chunk.length
      if (size > limit)
        throw new TransportError(
          'protocol',
          this.url,
          `it answered with more than ${limit} bytes where few were expected`,
        )
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  async discard(): Promise<void> {
    try {
      await this.bytes(discardBytes)
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
    }
  }
}

interface ResponseParts {
  readonly url: URL
  readonly signal: AbortSignal | undefined
  readonly silence: Silence
  readonly forget: () => void
}

/** Ends an exchange when nothing has come for too long. */
class Silence {
  target: (error: Error) => unknown
  readonly #url: URL
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(target: (error: Error) => unknown, url: URL) {
    this.target = target
    this.#url = url
  }

  begin(): void {
    this.end()
    if (this.#isOver) return
    const error = () => new TransportError('timeout', this.#url, `no answer for ${silenceMs / 1000} seconds`)
    this.#timer = setTimeout(() => this.target(error()), silenceMs)
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  /** For good: whoever still sends does not begin it again. */
  stop(): void {
    this.#isOver = true
    this.end()
  }
}

function answerTo(message: ClientRequest): Promise<IncomingMessage> {
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    message.on('response', resolve)
    message.on('error', reject)
    message.on('close', () => reject(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })))
  })
  // It is awaited later, after the body was sent.
  answer.catch(() => {})
  return answer
}

/** Resolves when all is handed over; the answer may come before that, and then the rest is not sent. */
async function sendBody(message: ClientRequest, body: RequestBody, silence: Silence): Promise<void> {
  for await (const chunk of body.open()) {
    if (message.destroyed) return
    if (message.write(chunk)) continue
    await new Promise<void>(resolve => {
      const done = (): void => {
        message.off('drain', done).off('close', done)
        resolve()
      }
      message.on('drain', done).on('close', done)
    })
    silence.begin()
  }
  message.end()
}

function tlsOptions({ ca, isUnverified, client }: TlsTrust): SecureContextOptions & { rejectUnauthorized: boolean } {
  return { rejectUnauthorized: !isUnverified, ...client, ...(ca === undefined ? {} : { ca: [...ca] }) }
}
