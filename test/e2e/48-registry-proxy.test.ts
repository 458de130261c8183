// Registries behind an HTTP proxy. The names of the tests are known to the proxy alone: what arrives went through it.

import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ForwardProxy } from '../helpers/forward-proxy.ts'
import { Home, Registry } from '../helpers/registry.ts'
import { TlsFront } from '../helpers/tls-front.ts'

let registry: Registry
let source: Home
let home: Home
let front: TlsFront
let proxy: ForwardProxy

const secure = 'secure.registry.test:5443'
const plain = 'plain.registry.test:5000'

beforeAll(async () => {
  registry = await Registry.start()
  source = new Home()
  await source.ok('tag', 'busybox', `${registry.host}/team/app:1`)
  await source.ok('push', '-q', `${registry.host}/team/app:1`)
  front = await TlsFront.start({ dir: source.dir, target: registry.host, name: 'secure.registry.test' })
})
afterAll(async () => {
  await front?.stop()
  source?.remove()
  await registry?.stop()
})
beforeEach(async () => {
  home = new Home()
  home.configure({ registries: { [secure]: { certs: front.ca }, [plain]: { insecure: true } } })
  proxy = await ForwardProxy.start(
    new Map([
      [secure, front.host],
      [plain, registry.host],
    ]),
  )
})
afterEach(async () => {
  await proxy.stop()
  home.remove()
})

const pull = (name: string, environment: Record<string, string>) =>
  home.tsrun(['pull', '-q', name], { env: { ...home.env, ...environment }, timeoutMs: 40_000 })

test('TLS goes through a tunnel, and the certificate is the registry’s own', async () => {
  const name = `${secure}/team/app:1`

  expect(await pull(name, { HTTPS_PROXY: `http://${proxy.host}` })).toMatchObject({ code: 0, stdout: `${name}\n` })

  expect(proxy.requests.length).toBeGreaterThan(0)
  expect(new Set(proxy.requests)).toEqual(new Set([`CONNECT ${secure}`]))
  expect(await home.run(name, 'echo', 'hello')).toBe('hello')
})

test('plain HTTP is asked of the proxy, for pull and for push', async () => {
  const name = `${plain}/team/app:1`
  const environment = { http_proxy: proxy.host, https_proxy: proxy.host }

  expect(await pull(name, environment)).toMatchObject({ code: 0 })
  const other = `${plain}/team/other:1`
  await home.ok('tag', 'busybox', other)
  const pushed = await home.tsrun(['push', '-q', other], { env: { ...home.env, ...environment } })

  expect(pushed).toMatchObject({ code: 0 })
  expect(proxy.requests).toContain(`GET http://${plain}/v2/team/app/manifests/1`)
  expect(proxy.requests).toContain(`PUT http://${plain}/v2/team/other/manifests/1`)
  expect((await registry.manifest('team/other', '1')).document.schemaVersion).toBe(2)
})

test('a name and a password are given to the proxy and stand in no error', async () => {
  proxy.credentials = 'me:p@ss word'
  const address = (password: string): string => `http://me:${encodeURIComponent(password)}@${proxy.host}`
  const name = `${secure}/team/app:1`

  const refused = await pull(name, { HTTPS_PROXY: address('wr0ng') })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(
    /opens no way to secure\.registry\.test:5443: it wants a name and a password \(HTTP 407\)/,
  )
  expect(refused.stderr).not.toContain('wr0ng')
  expect(await pull(name, { HTTPS_PROXY: address('p@ss word') })).toMatchObject({ code: 0 })
})

test('NO_PROXY and this machine itself go without', async () => {
  const everything = { HTTP_PROXY: proxy.host, HTTPS_PROXY: proxy.host }

  expect(await pull(`${registry.host}/team/app:1`, everything)).toMatchObject({ code: 0 })
  const direct = await pull(`${secure}/team/app:1`, { ...everything, NO_PROXY: 'other.test, .registry.test' })

  expect(direct.stderr).toContain('secure.registry.test')
  expect(direct.code).toBe(1)
  expect(proxy.requests).toEqual([])
})

test('a proxy that is not there, or knows no way, is named', async () => {
  const name = `${secure}/team/app:1`

  expect((await pull(name, { HTTPS_PROXY: '127.0.0.1:1' })).stderr).toMatch(
    /the proxy 127\.0\.0\.1:1 does not help: nothing listens at 127\.0\.0\.1:1 .*\n {2}hint: HTTP_PROXY/,
  )
  expect((await pull('far.registry.test/app', { HTTPS_PROXY: proxy.host })).stderr).toMatch(
    /the proxy 127\.0\.0\.1:\d+ opens no way to far\.registry\.test:443: HTTP 502/,
  )
  expect((await pull(name, { HTTPS_PROXY: 'socks5://u:secret@127.0.0.1:1080' })).stderr).toMatch(
    /^tsrun: HTTPS_PROXY does not name an HTTP proxy\n {2}hint: .*SOCKS/,
  )
})

test('ADD of an address goes the same way: through proxies, past redirects and passing failures, trusting the same authorities', async () => {
  const content = 'from far away'
  const sum = createHash('sha256').update(content).digest('hex')
  let asked = 0
  const server = createServer((request, response) => {
    asked += 1
    if (request.url === '/loop') response.writeHead(302, { location: '/loop' }).end()
    else if (request.url === '/gone') response.writeHead(404).end('gone')
    else if (asked === 1) response.writeHead(503).end()
    else if (request.url === '/first/file.txt') response.writeHead(302, { location: '/second' }).end()
    else response.end(content)
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const target = `127.0.0.1:${port}`
  const files = await TlsFront.start({ dir: join(home.dir), target, name: 'files.test' })
  const through = await ForwardProxy.start(
    new Map([
      ['files.test:8443', files.host],
      ['files.test', target],
    ]),
  )
  const context = join(home.dir, 'context')
  mkdirSync(context)
  const env = { ...home.env, HTTPS_PROXY: `http://${through.host}`, HTTP_PROXY: `http://${through.host}` }
  const build = (address: string, digest = sum) => {
    writeFileSync(join(context, 'Dockerfile'), `FROM busybox\nADD --checksum=sha256:${digest} ${address} /got\n`)
    return home.tsrun(['build', '-q', '--no-cache', '-t', 'app', context], { env, timeoutMs: 40_000 })
  }
  const address = 'https://files.test:8443/first/file.txt'

  const untrusted = await build(address)
  home.configure({ registries: { 'files.test:8443': { certs: files.ca } } })
  const trusted = await build(address)

  expect(untrusted).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`cannot download ${address}: the certificate`),
  })
  expect(trusted).toMatchObject({ code: 0, stderr: '' })
  expect(await home.run('app', 'cat', '/got')).toBe(content)
  expect(new Set(through.requests)).toEqual(new Set(['CONNECT files.test:8443']))
  expect((await build('http://files.test/file')).code).toBe(0)
  expect(through.requests).toContain('GET http://files.test/file')
  expect((await build('http://files.test/loop')).stderr).toContain('redirects more than 10 times')
  expect((await build('http://files.test/gone')).stderr).toContain('HTTP 404')
  expect((await build('http://files.test/file', '0'.repeat(64))).stderr).toContain('not what --checksum says')
  await through.stop()
  await files.stop()
  server.close()
})
