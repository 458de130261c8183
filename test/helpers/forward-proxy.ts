// An HTTP proxy as companies have it: CONNECT for TLS, whole addresses for plain HTTP. It alone knows where the names lead.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'

export class ForwardProxy {
  /** `127.0.0.1:port`. */
  readonly host: string
  /** `CONNECT name:port`, or `GET http://name:port/path`. */
  readonly requests: string[] = []
  /** `name:password` that it wants; undefined for nobody's. */
  credentials: string | undefined
  readonly #server: Server
  readonly #routes: ReadonlyMap<string, string>
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, routes: ReadonlyMap<string, string>) {
    const address = server.address()
    this.host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    this.#server = server
    this.#routes = routes
  }

  /** @param routes `name:port` to `address:port` */
  static async start(routes: ReadonlyMap<string, string>): Promise<ForwardProxy> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const proxy = new ForwardProxy(server, routes)
    server.on('request', (incoming, outgoing) => proxy.#pass(incoming, outgoing))
    server.on('connect', (incoming, socket) => proxy.#tunnel(incoming, socket as Socket))
    return proxy
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #tunnel(incoming: IncomingMessage, socket: Socket): void {
    const status = this.#admit(incoming, incoming.url ?? '')
    const target = this.#routes.get(incoming.url ?? '')
    if (status !== 200 || target === undefined) {
      socket.end(`HTTP/1.1 ${status === 200 ? 502 : status} No\r\nContent-Length: 0\r\n\r\n`)
      return
    }
    const [host, port] = target.split(':')
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(upstream).pipe(socket)
    })
    for (const each of [socket, upstream]) {
      this.#sockets.add(each)
      each.on('error', () => {})
      each.on('close', () => {
        socket.destroy()
        upstream.destroy()
      })
    }
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const status = this.#admit(incoming, incoming.url ?? '')
    const url = new URL(incoming.url ?? '')
    const target = this.#routes.get(url.host)
    if (status !== 200 || target === undefined) {
      outgoing.writeHead(status === 200 ? 502 : status).end()
      return
    }
    const { 'proxy-authorization': _, ...headers } = incoming.headers
    const onward = request(
      `http://${target}${url.pathname}${url.search}`,
      { method: incoming.method, headers },
      answer => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    onward.on('error', () => outgoing.destroy())
    incoming.pipe(onward)
  }

  #admit(incoming: IncomingMessage, to: string): number {
    this.requests.push(`${incoming.method} ${to}`)
    if (this.credentials === undefined) return 200
    const expected = `Basic ${Buffer.from(this.credentials).toString('base64')}`
    return incoming.headers['proxy-authorization'] === expected ? 200 : 407
  }
}
