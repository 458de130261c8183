// TLS before a registry that has none: an authority, a certificate of the server and one of a client, made by openssl.

import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { join } from 'node:path'
import { succeed } from './command.ts'

export interface TlsFrontOptions {
  /** For keys and certificates; the caller's. */
  readonly dir: string
  /** `host:port` of the registry. */
  readonly target: string
  /** A name of the server besides 127.0.0.1. */
  readonly name?: string
  /** Whether only who has the client's certificate gets an answer. */
  readonly wantsClient?: boolean
}

export class TlsFront {
  /** `127.0.0.1:port`. */
  readonly host: string
  /** PEM files: the authority, and who the client is. */
  readonly ca: string
  readonly clientCert: string
  readonly clientKey: string
  readonly #server: Server

  private constructor(server: Server, dir: string) {
    const address = server.address()
    this.host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    this.#server = server
    this.ca = join(dir, 'ca.pem')
    this.clientCert = join(dir, 'client.pem')
    this.clientKey = join(dir, 'client.key')
  }

  get port(): string {
    return this.host.split(':')[1] ?? ''
  }

  static async start({ dir, target, name = 'localhost', wantsClient = false }: TlsFrontOptions): Promise<TlsFront> {
    await certify(dir, 'ca', 'basicConstraints=critical,CA:TRUE')
    await certify(dir, 'server', `subjectAltName=IP:127.0.0.1,DNS:${name}`, 'ca')
    await certify(dir, 'client', 'extendedKeyUsage=clientAuth', 'ca')
    const read = (file: string): Buffer => readFileSync(join(dir, file))
    const tls = { key: read('server.key'), cert: read('server.pem'), ca: read('ca.pem') }
    const server = createServer(
      { ...tls, requestCert: wantsClient, rejectUnauthorized: wantsClient },
      (incoming, out) => {
        const headers = { accept: incoming.headers.accept ?? '' }
        fetch(`http://${target}${incoming.url}`, { headers }).then(async answer => {
          const digest = answer.headers.get('docker-content-digest')
          out.writeHead(answer.status, {
            'content-type': answer.headers.get('content-type') ?? '',
            ...(digest === null ? {} : { 'docker-content-digest': digest }),
          })
          out.end(Buffer.from(await answer.arrayBuffer()))
        })
      },
    )
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return new TlsFront(server, dir)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }
}

/** `<name>.key` and `<name>.pem`, signed by `by` or by itself. */
async function certify(dir: string, name: string, extension: string, by?: string): Promise<void> {
  const signer = by === undefined ? [] : ['-CA', `${by}.pem`, '-CAkey', `${by}.key`]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
  const rest = ['-out', `${name}.pem`, '-subj', `/CN=${name} of tests`, '-addext', extension, '-days', '2']
  await succeed(['openssl', 'req', '-x509', ...key, ...signer, ...rest], { cwd: dir })
}
