import { describe, expect, test } from 'vitest'
import { parseChallenges } from '../../src/drivers/image/registry/challenge.ts'
import { credentialsOf, entryFor, helperFor, hostOf } from '../../src/drivers/image/registry/docker-config.ts'
import { endpointsOf } from '../../src/drivers/image/registry/endpoints.ts'
import { proxiesOf } from '../../src/drivers/image/registry/http-proxy.ts'
import { parseMirror, parseRegistries } from '../../src/drivers/image/registry/registries-config.ts'
import { printable } from '../../src/drivers/image/registry/registry-error.ts'
import { retryAfterMs } from '../../src/drivers/image/registry/retry.ts'
import { transportError } from '../../src/drivers/image/registry/transport-error.ts'
import { documentType } from '../../src/engine/image/choose-manifest.ts'
import { candidates } from '../../src/engine/image/registry-access.ts'
import { limiter } from '../../src/lib/limit.ts'

describe('parseChallenges()', () => {
  test.each([
    ['Basic realm="a b"', [{ scheme: 'basic', parameters: { realm: 'a b' } }]],
    [
      'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          parameters: { realm: 'https://auth.test/token', service: 'registry.test', scope: 'repository:a/b:pull,push' },
        },
      ],
    ],
    [
      'Basic realm="x", Bearer realm="y" , service=z',
      [
        { scheme: 'basic', parameters: { realm: 'x' } },
        { scheme: 'bearer', parameters: { realm: 'y', service: 'z' } },
      ],
    ],
    [
      'Negotiate, Basic Realm = "a\\"b"',
      [
        { scheme: 'negotiate', parameters: {} },
        { scheme: 'basic', parameters: { realm: 'a"b' } },
      ],
    ],
    ['bearer', [{ scheme: 'bearer', parameters: {} }]],
    ['', []],
    [', ,', []],
    ['"quoted" Basic realm="a"', []],
  ])('reads %s', (header, expected) => {
    expect(parseChallenges(header).map(c => ({ ...c, parameters: { ...c.parameters } }))).toEqual(expected)
  })

  test('comes to an end whatever it is given', () => {
    for (const header of ['=', '====', 'a=b', 'Basic realm="', 'Basic realm="a', '@@@, Basic', 'Bearer realm="\\'])
      expect(() => parseChallenges(header)).not.toThrow()
  })
})

describe('credentials', () => {
  const base64 = (text: string): string => Buffer.from(text).toString('base64')

  test.each([
    ['https://index.docker.io/v1/', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
    ['https://registry.test:5000/v2/', 'registry.test:5000'],
    ['registry.test', 'registry.test'],
  ])('hostOf(%s) is %s', (server, host) => {
    expect(hostOf(server)).toBe(host)
  })

  test('a password may hold colons, and a user may have none', () => {
    expect(credentialsOf({ auth: base64('me:a:b') })).toEqual({ kind: 'password', username: 'me', password: 'a:b' })
    expect(credentialsOf({ identitytoken: 'x', auth: base64('me:') })).toEqual({ kind: 'identity', token: 'x' })
    expect(credentialsOf({})).toBeUndefined()
    expect(credentialsOf({ auth: 'no base64 ***' })).toBeUndefined()
  })

  test('the longest repository prefix wins, and another registry gets nothing', () => {
    const auths = { 'a.test': { auth: '1' }, 'a.test/team': { auth: '2' }, 'a.test/team/app': { auth: '3' } }

    expect(entryFor({ auths }, 'a.test', 'team/app')).toEqual({ auth: '3' })
    expect(entryFor({ auths }, 'a.test', 'team/other')).toEqual({ auth: '2' })
    expect(entryFor({ auths }, 'a.test', 'teams')).toEqual({ auth: '1' })
    expect(entryFor({ auths }, 'b.test', 'team/app')).toBeUndefined()
    expect(entryFor({ auths: { 'https://index.docker.io/v1/': { auth: '4' } } }, 'docker.io', 'library/x')).toEqual({
      auth: '4',
    })
  })

  test("a registry's own helper goes before the one for all", () => {
    const config = { credsStore: 'all', credHelpers: { 'a.test': 'own' } }

    expect(helperFor(config, 'a.test')).toBe('own')
    expect(helperFor(config, 'b.test')).toBe('all')
    expect(helperFor({}, 'b.test')).toBeUndefined()
  })
})

describe('registries.json', () => {
  test('mirrors come first, and this machine needs no TLS', () => {
    const config = parseRegistries({
      registries: {
        'docker.io': { mirrors: ['mirror.test/hub', 'http://10.0.0.5:5000'] },
        'lab.test': { insecure: true },
      },
    })
    const asked = (registry: string) =>
      endpointsOf(config, registry).map(({ host, prefix, schemes }) => [host, prefix, schemes.join()])

    expect(asked('docker.io')).toEqual([
      ['mirror.test', 'hub', 'https'],
      ['10.0.0.5:5000', '', 'http'],
      ['registry-1.docker.io', '', 'https'],
    ])
    expect(asked('lab.test')).toEqual([['lab.test', '', 'https,http']])
    expect(asked('localhost:5000')).toEqual([['localhost:5000', '', 'https,http']])
    expect(asked('localhost.test:5000')).toEqual([['localhost.test:5000', '', 'https']])
    expect(asked('127.0.0.1.test')).toEqual([['127.0.0.1.test', '', 'https']])
  })

  test.each([
    [{ serach: [] }, 'it has no key "serach": it takes search, registries'],
    [{ search: 'docker.io' }, '"search" is not a list of texts'],
    [{ registries: { a: { insecure: 'yes' } } }, '"insecure" of "a" is neither true nor false'],
    [{ registries: { a: { certs: 'ca.pem' } } }, '"certs" of "a" is not an absolute path'],
    [{ registries: { a: { mirrors: ['x y'] } } }, '"x y" is not a mirror'],
    [{ registries: { a: { mirrors: ['https://user@host'] } } }, 'is not a mirror'],
    [[], 'it is not an object'],
  ])('refuses %j', (value, message) => {
    expect(() => parseRegistries(value)).toThrow(message)
  })

  test('a mirror may be written with /v2, as others want it', () => {
    expect(parseMirror('https://m.test/v2/hub/')).toEqual({ scheme: 'https', host: 'm.test', prefix: 'hub' })
    expect(parseMirror('m.test:5000/v2')).toEqual({ host: 'm.test:5000', prefix: '' })
  })

  test('a short name stands for one name in each registry of "search", another for itself', () => {
    const config = parseRegistries({ search: ['a.test', 'docker.io'] })
    const names = (text: string) =>
      candidates(text, config).map(({ registry, repository }) => `${registry}/${repository}`)

    expect(names('app:1')).toEqual(['a.test/app', 'docker.io/library/app'])
    expect(names('team/app')).toEqual(['a.test/team/app', 'docker.io/team/app'])
    expect(names('b.test/app')).toEqual(['b.test/app'])
    expect(names('localhost/app')).toEqual(['localhost/app'])
  })
})

describe('what a registry says', () => {
  test('Retry-After is seconds or a date', () => {
    const now = Date.parse('2024-01-01T00:00:00Z')

    expect(retryAfterMs('7', now)).toBe(7000)
    expect(retryAfterMs('Mon, 01 Jan 2024 00:00:05 GMT', now)).toBe(5000)
    expect(retryAfterMs('Mon, 01 Jan 2023 00:00:05 GMT', now)).toBe(0)
    expect(retryAfterMs('soon', now)).toBeUndefined()
    expect(retryAfterMs(undefined, now)).toBeUndefined()
  })

  test('its words are shown without control characters', () => {
    expect(printable('a\u001b[2Jb\r\nc\u009b')).toBe('a [2Jb c ')
  })

  test.each([
    ['ENOTFOUND', 'dns', 'there is no host "r.test"'],
    ['ECONNREFUSED', 'refused', 'nothing listens at r.test:443'],
    ['ECONNRESET', 'reset', 'r.test closed the connection'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls', 'the certificate of r.test is not trusted'],
    ['CERT_HAS_EXPIRED', 'tls', 'the certificate of r.test is not trusted'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls', 'the certificate of r.test is not trusted'],
    ['EPROTO', 'tls', 'r.test does not speak TLS'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'tls', 'r.test does not speak TLS'],
    ['HPE_INVALID_CONSTANT', 'protocol', 'r.test does not speak HTTP'],
  ])('%s is "%s"', (code, kind, message) => {
    const error = transportError(Object.assign(new Error('x'), { code }), new URL('https://r.test/v2/'))

    expect(error).toMatchObject({ kind, message: expect.stringContaining(message) })
  })

  test('an error that is none of the network stays what it is', () => {
    const error = new TypeError('a bug')

    expect(transportError(error, new URL('https://r.test/'))).toBe(error)
  })
})

describe('documentType()', () => {
  const of = (value: object, announced = '') => documentType(Buffer.from(JSON.stringify(value)), announced)
  const index = 'application/vnd.oci.image.index.v1+json'
  const list = 'application/vnd.docker.distribution.manifest.list.v2+json'

  test("is the document's own word, else the registry's, else what it looks like", () => {
    expect(of({ mediaType: list, manifests: [] }, index)).toBe(list)
    expect(of({ manifests: [] }, list)).toBe(list)
    expect(of({ manifests: [] }, 'text/plain')).toBe(index)
    expect(of({ layers: [], config: {} })).toBe('application/vnd.oci.image.manifest.v1+json')
  })

  test('refuses a document that is both (CVE-2021-41190)', () => {
    expect(() => of({ manifests: [], layers: [] })).toThrow('its manifest is an index as well')
    expect(() => of({ layers: [], config: {} }, index)).toThrow('its manifest is not of the type that it has')
  })
})

test('limiter() runs so many at once, in their order, and goes on after a failure', async () => {
  const inTurn = limiter(2)
  const log: string[] = []
  let running = 0
  const tasks = [1, 2, 3, 4].map(number =>
    inTurn(async () => {
      running += 1
      log.push(`${number} of ${running}`)
      await new Promise(resolve => setTimeout(resolve, 5 * number))
      running -= 1
      if (number === 1) throw new Error('one')
    }),
  )

  const results = await Promise.allSettled(tasks)

  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
  expect(log).toEqual(['1 of 1', '2 of 2', '3 of 2', '4 of 2'])
})

describe('proxiesOf() chooses as Go programs do', () => {
  const ways = (environment: NodeJS.ProcessEnv, url: string) => proxiesOf(environment)(new URL(url))?.url.host
  const both = { HTTP_PROXY: 'http://plain:1', https_proxy: 'tls:2' }

  test.each([
    ['http://a.test/', '', 'plain:1'],
    ['https://a.test/', '', 'tls:2'],
    ['https://localhost:5000/', '', undefined],
    ['https://127.1.2.3/', '', undefined],
    ['https://[::1]:5000/', '', undefined],
    ['https://a.test/', '*', undefined],
    ['https://a.test/', 'a.test', undefined],
    ['https://b.a.test/', 'a.test', undefined],
    ['https://ba.test/', 'a.test', 'tls:2'],
    ['https://a.test/', '.a.test', 'tls:2'],
    ['https://b.a.test/', 'x, .A.test', undefined],
    ['https://b.a.test/', '*.a.test', undefined],
    ['https://a.test:8443/', 'a.test:443', 'tls:2'],
    ['https://a.test/', 'a.test:443', undefined],
    ['https://10.1.2.3/', '10.1.0.0/16', undefined],
    ['https://10.2.2.3/', '10.1.0.0/16', 'tls:2'],
    ['https://[2001:db8::1]/', '2001:db8::/32', undefined],
    ['https://[2001:db8::1]:5000/', '[2001:db8::1]:5000', undefined],
    ['https://10.1.2.3/', '10.1.2.3', undefined],
  ])('%s with NO_PROXY=%s', (url, noProxy, expected) => {
    expect(ways({ ...both, NO_PROXY: noProxy }, url)).toBe(expected)
  })

  test('a password goes into a header, decoded, and out of the address', () => {
    const proxy = proxiesOf({ HTTPS_PROXY: 'http://a:b%40c@proxy.test:3128' })(new URL('https://x.test'))
    expect(proxy?.url.href).toBe('http://proxy.test:3128/')
    expect(proxy?.headers).toEqual({ 'proxy-authorization': `Basic ${Buffer.from('a:b@c').toString('base64')}` })
  })
})
