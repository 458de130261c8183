// Stands before a registry, passes everything on, notes what went by, and breaks what a test wants broken.

import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import { sleep } from './command.ts'

/** What went by. */
export interface Exchange {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  status: number
  /** Bytes of the answer's body that were handed to the client. */
  sent: number
  /** Bytes of the request's body that came. */
  received: number
}

/** What happens to a request; nothing of it: it is passed on. */
export interface Mischief {
  /** Answers this instead of the registry. */
  readonly answer?: { status: number; headers?: Record<string, string>; body?: string }
  /** Cuts the connection after so many bytes of the answer. */
  readonly cutAfter?: number
  /** Cuts the connection after so many bytes of the request. */
  readonly cutUploadAfter?: number
  /** Bytes a second of the answer. */
  readonly rate?: number
  /** Changes the first byte of the answer. */
  readonly corrupt?: boolean
  /** The registry is not told of a Range, as some storage does not know it. */
  readonly withoutRange?: boolean
}

export class BreakingProxy {
  readonly exchanges: Exchange[] = []
  /** Asked for each request; `before` is how many of the same method and path went by. */
  mischief: (exchange: Exchange, before: number) => Mischief | undefined = () => undefined
  readonly host: string
  readonly #server: Server
  readonly #target: string

  private constructor(server: Server, host: string, target: string) {
    this.#server = server
    this.host = host
    this.#target = target
  }

  static async start(target: string): Promise<BreakingProxy> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (typeof address !== 'object' || address === null) throw new Error('no port')
    const proxy = new BreakingProxy(server, `127.0.0.1:${address.port}`, target)
    server.on('request', (incoming, outgoing) => proxy.#pass(incoming, outgoing))
    return proxy
  }

  /** Forgets what went by, and what was to be broken. */
  reset(): void {
    this.exchanges.length = 0
    this.mischief = () => undefined
  }

  /** GETs of blobs. */
  blobs(): Exchange[] {
    return this.exchanges.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/sha256'))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method = '', url = '', headers } = incoming
    const path = url.replace(/\?.*$/, '')
    const exchange: Exchange = { method, path, headers, status: 0, sent: 0, received: 0 }
    const before = this.exchanges.filter(other => other.method === method && other.path === path).length
    this.exchanges.push(exchange)
    const mischief = this.mischief(exchange, before) ?? {}
    if (mischief.answer !== undefined) {
      incoming.resume()
      exchange.status = mischief.answer.status
      outgoing.writeHead(exchange.status, mischief.answer.headers).end(mischief.answer.body)
      return
    }
    const { range: _, ...rest } = headers
    // The Host stays the client's, so that the addresses in answers lead back here.
    const target = request(`http://${this.#target}${url}`, { method, headers: mischief.withoutRange ? rest : headers })
    target.on('error', () => outgoing.destroy())
    target.on('response', answer => {
      exchange.status = answer.statusCode ?? 0
      outgoing.writeHead(exchange.status, answer.headers)
      outgoing.flushHeaders()
      hand(answer, outgoing, exchange, mischief).catch(() => outgoing.destroy())
    })
    incoming.on('data', (chunk: Buffer) => {
      exchange.received += chunk.length
      if (exchange.received > (mischief.cutUploadAfter ?? Number.POSITIVE_INFINITY)) incoming.destroy()
      else target.write(chunk)
    })
    incoming.on('end', () => target.end())
    incoming.on('error', () => target.destroy())
    incoming.on('close', () => {
      if (!incoming.complete) target.destroy()
    })
    outgoing.on('close', () => target.destroy())
  }
}

async function hand(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  exchange: Exchange,
  { cutAfter = Number.POSITIVE_INFINITY, rate, corrupt }: Mischief,
): Promise<void> {
  let isFirst = true
  for await (const whole of answer) {
    const bytes = Buffer.from(whole)
    if (isFirst && corrupt) bytes[0] = (bytes[0] ?? 0) ^ 1
    isFirst = false
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + Math.min(16_384, Math.max(0, cutAfter - exchange.sent)))
      if (piece.length > 0) {
        await new Promise<void>((resolve, reject) =>
          outgoing.write(piece, error => (error ? reject(error) : resolve())),
        )
        exchange.sent += piece.length
        at += piece.length
        if (rate !== undefined) await sleep((piece.length / rate) * 1000)
      }
      if (exchange.sent >= cutAfter) {
        // What was written must arrive before the cut.
        await sleep(50)
        outgoing.destroy()
        return
      }
    }
  }
  outgoing.end()
}
