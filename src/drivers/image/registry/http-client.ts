// One HTTP exchange at a time over node:http and node:https: connections that are kept, bodies that stream both ways, and a clock
// for silence. It follows no redirect and knows no credentials: registry-session.ts does. (fetch is not used: in Node 20 it can
// be given no certificates, and it decompresses what it was not asked to.)

import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
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
    const message =
      url.protocol === 'https:'
        ? httpsRequest(url, { method, headers, agent: this.#agent(trust), ...tlsOptions(trust) })
        : httpRequest(url, { method, headers, agent: this.#plain })
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
      throw transportError(error, url)
    }
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#plain.destroy()
    for (const agent of this.#secure.values()) agent.destroy()
  }

  #agent(trust: TlsTrust): HttpsAgent {
    const agent = this.#secure.get(trust) ?? new HttpsAgent({ keepAlive: true, ...tlsOptions(trust) })
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

function tlsOptions({ ca, isUnverified }: TlsTrust): { ca?: string[]; rejectUnauthorized: boolean } {
  return { rejectUnauthorized: !isUnverified, ...(ca === undefined ? {} : { ca: [...ca] }) }
}
