// A token service as docker's registries have them: answers GET with a password or without, and POST with a refresh token, by
// a JWT that docker-registry verifies. It notes what it was asked.

import { createSign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { succeed } from './command.ts'

export interface TokenRequest {
  readonly method: string
  readonly scopes: readonly string[]
  /** Of the basic authorization; undefined for none. */
  readonly user: string | undefined
  readonly grant: string | undefined
}

export interface AuthorityOptions {
  /** What may be read by everybody. Default: nothing. */
  readonly publicRepositories?: readonly string[]
  readonly user: { readonly name: string; readonly password: string }
  /** Given for `offline_token=true`, and taken in place of the password. */
  readonly refreshToken?: string
}

export class TokenAuthority {
  readonly issuer = 'the tests'
  readonly service = 'test registry'
  readonly realm: string
  readonly certificatePath: string
  /** What was asked, in order. */
  readonly requests: TokenRequest[] = []
  readonly #dir: string
  readonly #server: Server
  readonly #options: AuthorityOptions

  private constructor(dir: string, server: Server, realm: string, options: AuthorityOptions) {
    this.#dir = dir
    this.#server = server
    this.realm = realm
    this.certificatePath = join(dir, 'cert.pem')
    this.#options = options
  }

  static async start(options: AuthorityOptions): Promise<TokenAuthority> {
    const dir = mkdtempSync(join(tmpdir(), 'tsrun-authority-'))
    const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', join(dir, 'key.pem')]
    await succeed([
      'openssl',
      'req',
      '-x509',
      ...key,
      '-out',
      join(dir, 'cert.pem'),
      '-subj',
      '/CN=tests',
      '-days',
      '2',
    ])
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (typeof address !== 'object' || address === null) throw new Error('no port')
    const authority = new TokenAuthority(dir, server, `http://127.0.0.1:${address.port}/token`, options)
    server.on('request', (request, response) => {
      authority.#answer(request).then(
        ({ status, body }) => response.writeHead(status, { 'content-type': 'application/json' }).end(body),
        error => response.destroy(error),
      )
    })
    return authority
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: string }> {
    const { searchParams } = new URL(request.url ?? '', 'http://localhost')
    const form = new URLSearchParams(request.method === 'POST' ? await textOf(request) : '')
    const basic = /^Basic (.*)$/.exec(request.headers.authorization ?? '')?.[1]
    const [name, password] = splitOnce(Buffer.from(basic ?? '', 'base64').toString())
    const scopes = [...searchParams.getAll('scope'), ...(form.get('scope') ?? '').split(' ')].filter(s => s !== '')
    const user = basic === undefined ? undefined : name
    this.requests.push({ method: request.method ?? '', scopes, user, grant: form.get('grant_type') ?? undefined })
    const { user: known, refreshToken } = this.#options
    const isRefreshed = refreshToken !== undefined && form.get('refresh_token') === refreshToken
    const isKnown = isRefreshed || (name === known.name && password === known.password)
    if ((basic !== undefined || form.has('refresh_token')) && !isKnown) return { status: 401, body: '{}' }
    const access = scopes.map(scope => this.#grant(scope, isKnown)).filter(({ actions }) => actions.length > 0)
    const token = this.#sign(access)
    const wantsRefresh = searchParams.get('offline_token') === 'true' && isKnown && refreshToken !== undefined
    return { status: 200, body: JSON.stringify({ token, ...(wantsRefresh ? { refresh_token: refreshToken } : {}) }) }
  }

  #grant(scope: string, isKnown: boolean): { type: string; name: string; actions: string[] } {
    const [type = '', name = '', actions = ''] = scope.split(':')
    const isPublic = this.#options.publicRepositories?.includes(name) === true
    const granted = actions.split(',').filter(action => isKnown || (isPublic && action === 'pull'))
    return { type, name, actions: granted }
  }

  #sign(access: object[]): string {
    const now = Math.floor(Date.now() / 1000)
    const certificate = readFileSync(this.certificatePath, 'utf8').replace(/-----[^-]+-----|\s/g, '')
    const header = { typ: 'JWT', alg: 'RS256', x5c: [certificate] }
    const claims = {
      iss: this.issuer,
      aud: this.service,
      sub: '',
      exp: now + 300,
      nbf: now - 10,
      iat: now,
      jti: `${now}`,
      access,
    }
    const signed = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    const signature = createSign('RSA-SHA256')
      .update(signed)
      .sign(readFileSync(join(this.#dir, 'key.pem')))
    return `${signed}.${signature.toString('base64url')}`
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

function splitOnce(text: string): [string, string] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
}
