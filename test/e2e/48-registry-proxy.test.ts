// Registries behind an HTTP proxy. The names of the tests are known to the proxy alone: what arrives went through it.

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
