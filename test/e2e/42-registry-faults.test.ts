// What goes wrong between here and a registry: broken and slow connections, redirects, lies, limits, interruptions.

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BreakingProxy } from '../helpers/breaking-proxy.ts'
import { eventually } from '../helpers/command.ts'
import { Home, listOrEmpty, makeLargeImage, Registry, user } from '../helpers/registry.ts'

const megabyte = 1_000_000
let registry: Registry
let proxy: BreakingProxy
/** Has the images and pushes them. */
let source: Home
/** Pulls. */
let home: Home
/** Busybox and 4 MB of random bytes, through the proxy. */
let name: string

beforeAll(async () => {
  registry = await Registry.start()
  proxy = await BreakingProxy.start(registry.host)
  source = new Home()
  await makeLargeImage(source, `${registry.host}/team/large:1`, 4 * megabyte)
  await source.ok('push', `${registry.host}/team/large:1`)
  name = `${proxy.host}/team/large:1`
})
afterAll(async () => {
  source?.remove()
  await proxy?.stop()
  await registry?.stop()
})
beforeEach(() => {
  proxy.reset()
  home = new Home()
})
afterEach(() => home.remove())

const isLayer = ({ path, sent }: { path: string; sent: number }): boolean =>
  sent > megabyte || path.includes(layerDigest())
let layer: string | undefined
/** Digest of the one layer. */
function layerDigest(): string {
  layer ??= JSON.parse(
    readFileSync(
      join(source.root, 'images/records', listOrEmpty(join(source.root, 'images/records'))[0] ?? ''),
      'utf8',
    ),
  ).layers[0].digest as string
  return layer
}
const layerSize = (): number => statSync(join(source.root, 'images/blobs/sha256', layerDigest().slice(7))).size

/** The image is whole, runs, and nothing is left of the way to it. */
async function expectGood(): Promise<void> {
  await home.checkStore()
  expect(await home.run(name, '/bin/busybox', 'stat', '-c', '%s', '/large')).toBe(String(4 * megabyte))
  expect(home.partial()).toEqual([])
  expect(listOrEmpty(join(home.root, 'staging'))).toEqual([])
}

describe('a broken download', () => {
  test('is continued by Range, and no byte is fetched twice', async () => {
    proxy.mischief = (exchange, before) => (isLayer(exchange) && before < 3 ? { cutAfter: megabyte } : undefined)

    await home.ok('pull', name)

    const exchanges = proxy.blobs().filter(isLayer)
    expect(exchanges.map(({ headers, sent }) => [headers.range, sent])).toEqual([
      [undefined, megabyte],
      [`bytes=${megabyte}-`, megabyte],
      [`bytes=${2 * megabyte}-`, megabyte],
      [`bytes=${3 * megabyte}-`, layerSize() - 3 * megabyte],
    ])
    await expectGood()
  })

  test('begins again where the registry knows no ranges', async () => {
    proxy.mischief = (exchange, before) =>
      isLayer(exchange) ? (before === 0 ? { cutAfter: megabyte } : { withoutRange: true }) : undefined

    await home.ok('pull', name)

    await expectGood()
  })

  test.each(['SIGINT', 'SIGKILL'] as const)('by %s is continued by the next pull', async signal => {
    proxy.mischief = exchange => (isLayer(exchange) ? { rate: 2 * megabyte } : undefined)
    const pull = home.start(['pull', name])
    await eventually('a megabyte is there', () => (proxy.blobs().find(isLayer)?.sent ?? 0) > megabyte, 10_000)

    pull.kill(signal)

    const result = await pull.result
    expect(signal === 'SIGINT' ? result.code : result.signal).toBe(signal === 'SIGINT' ? 130 : 'SIGKILL')
    expect(await home.ok('images', '-q')).toBe('')
    await home.checkStore()
    const [partial = ''] = home.partial()
    const there = statSync(join(home.root, 'images/partial', partial)).size
    expect(there).toBeGreaterThan(megabyte / 2)
    proxy.reset()
    await home.ok('pull', name)
    const [next, ...more] = proxy.blobs().filter(isLayer)
    expect(more).toEqual([])
    expect([next?.headers.range, next?.sent]).toEqual([`bytes=${there}-`, layerSize() - there])
    if (signal === 'SIGKILL') await home.ok('image', 'prune', '-f')
    await expectGood()
  })

  test('that nobody continues is taken away by prune', async () => {
    proxy.mischief = exchange => (isLayer(exchange) ? { rate: 2 * megabyte } : undefined)
    const pull = home.start(['pull', name])
    await eventually('some of it is there', () => (proxy.blobs().find(isLayer)?.sent ?? 0) > megabyte / 2, 10_000)
    await home.ok('image', 'prune', '-f')
    expect(home.partial()).toHaveLength(1)
    pull.kill('SIGKILL')
    await pull.result

    await home.ok('image', 'prune', '-f')

    expect(home.partial()).toEqual([])
  })

  test('whose beginning was damaged on the disk is fetched anew', async () => {
    proxy.mischief = exchange => (isLayer(exchange) ? { rate: 2 * megabyte } : undefined)
    const pull = home.start(['pull', name])
    await eventually('a megabyte is there', () => (proxy.blobs().find(isLayer)?.sent ?? 0) > megabyte, 10_000)
    pull.kill('SIGKILL')
    await pull.result
    const partial = join(home.root, 'images/partial', home.partial()[0] ?? '')
    writeFileSync(partial, Buffer.alloc(statSync(partial).size))
    proxy.reset()

    await home.ok('pull', name)

    expect(proxy.blobs().filter(isLayer)).toHaveLength(2)
    await home.ok('image', 'prune', '-f')
    await expectGood()
  })
})

describe('a registry that fails', () => {
  test('is asked again after 500, 503 and 429 with Retry-After', async () => {
    const answers = [{ status: 500 }, { status: 503 }, { status: 429, headers: { 'retry-after': '1' } }]
    proxy.mischief = ({ path }, before) => {
      const answer = path.includes('/manifests/') ? answers[before] : undefined
      return answer === undefined ? undefined : { answer }
    }
    const began = Date.now()

    await home.ok('pull', name)

    expect(Date.now() - began).toBeGreaterThan(1500)
    await expectGood()
  })

  test('for good is named, with what it says', async () => {
    proxy.mischief = () => ({
      answer: { status: 503, body: '{"errors":[{"code":"X","message":"we are\\u001b[2J closed"}]}' },
    })

    expect(await home.fails('pull', name)).toBe(
      `tsrun: cannot pull "${name}": ${proxy.host} answers HTTP 503: we are [2J closed\n  hint: the registry has a problem; try again later\n`,
    )
  })

  test('because of its rate limit is explained', async () => {
    const body = JSON.stringify({
      errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' }],
    })
    proxy.mischief = () => ({ answer: { status: 429, headers: { 'ratelimit-limit': '100;w=21600' }, body } })

    expect(await home.fails('pull', name)).toBe(
      `tsrun: cannot pull "${name}": ${proxy.host} has had too many requests from here (HTTP 429: You have reached your pull rate limit.); it allows 100 pulls in 6 hours\n` +
        `  hint: wait, or log in for a higher limit: \`tsrun login ${proxy.host}\`; a mirror in registries.json helps for good\n`,
    )
    expect(proxy.exchanges).toHaveLength(1)
  })

  test('to give what a digest says is not believed', async () => {
    proxy.mischief = exchange => (isLayer(exchange) ? { corrupt: true } : undefined)

    expect(await home.fails('pull', name)).toMatch(
      /cannot pull ".*": the registry gives sha256:\w{64} where sha256:\w{64} was expected\n {2}hint: /,
    )
    expect(await home.ok('images', '-q')).toBe('')
    await home.checkStore()
    expect(home.partial()).toEqual([])
  })

  test.each([
    [
      'there is no such tag',
      () => `${registry.host}/team/large:nope`,
      /there is no tag "nope" of "team\/large" on 127/,
    ],
    [
      'there is no such repository',
      () => `${registry.host}/team/nope`,
      /there is no tag "latest" of "team\/nope" on 127/,
    ],
    ['nothing listens', () => '127.0.0.1:1/a', /nothing listens at 127\.0\.0\.1:1 \(ECONNREFUSED\)/],
    [
      'there is no such host',
      () => 'registry.invalid/a',
      /there is no host "registry\.invalid"|could not be looked up/,
    ],
  ])('when %s, says so', async (_what, reference, message) => {
    const error = await home.fails('pull', reference())

    expect(error).toMatch(/^tsrun: cannot pull "/)
    expect(error).toMatch(message)
  })
})

test('a redirect to another host is followed, and the credentials stay behind', async () => {
  const guarded = await Registry.start({ auth: 'basic' })
  const front = await BreakingProxy.start(guarded.host)
  const image = `${front.host}/team/app:1`
  await home.tsrun(['login', '-u', user.name, '--password-stdin', front.host], { input: user.password })
  await home.ok('tag', 'busybox', image)
  await home.ok('push', image)
  await home.ok('rmi', image)
  await home.ok('rmi', 'busybox')
  // The blobs are fetched from the other proxy, which has them in its own registry.
  await source.ok('tag', 'busybox', `${registry.host}/team/app:1`)
  await source.ok('push', `${registry.host}/team/app:1`)
  front.mischief = ({ method, path }) =>
    method === 'GET' && path.includes('/blobs/')
      ? { answer: { status: 307, headers: { location: `http://x:y@${proxy.host}${path}` } } }
      : undefined
  const elsewhere = new Home()
  await elsewhere.tsrun(['login', '-u', user.name, '--password-stdin', front.host], { input: user.password })

  await elsewhere.ok('pull', image)

  expect(await elsewhere.run(image, 'echo', 'hello')).toBe('hello')
  expect(front.blobs().every(({ headers }) => headers.authorization !== undefined)).toBe(true)
  expect(proxy.blobs()).toHaveLength(2)
  expect(proxy.blobs().map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  elsewhere.remove()
  await front.stop()
  await guarded.stop()
})

describe('a broken upload', () => {
  test('in one request is begun again', async () => {
    const image = `${proxy.host}/upload/one:1`
    await source.ok('tag', `${registry.host}/team/large:1`, image)
    let puts = 0
    proxy.mischief = ({ method, path }) =>
      method === 'PUT' && path.includes('/uploads/') && ++puts <= 2 ? { cutUploadAfter: 100 } : undefined
    source.configure({})

    await source.ok('push', image)

    expect(puts).toBeGreaterThanOrEqual(4)
    await home.ok('pull', image.replace(proxy.host, registry.host))
    await source.ok('rmi', image)
  })

  test('in chunks goes on where it was', async () => {
    source.configure({ registries: { [proxy.host]: { chunkBytes: megabyte } } })
    const image = `${proxy.host}/upload/chunks:1`
    await source.ok('tag', `${registry.host}/team/large:1`, image)
    let patches = 0
    proxy.mischief = ({ method }) => (method === 'PATCH' && ++patches === 3 ? { cutUploadAfter: 0 } : undefined)

    await source.ok('push', image)

    const sent = proxy.exchanges
      .filter(({ method }) => method === 'PATCH')
      .map(({ headers }) => headers['content-range'])
    expect(sent.slice(0, 3)).toEqual(['0-999999', '1000000-1999999', '2000000-2999999'])
    expect(sent.filter(range => range?.startsWith('0-'))).toHaveLength(1)
    expect(proxy.exchanges.filter(({ method, path }) => method === 'GET' && path.includes('/uploads/'))).toHaveLength(1)
    await home.ok('pull', image.replace(proxy.host, registry.host))
    await source.ok('rmi', image)
  })

  test('that the registry has lost track of is begun again', async () => {
    source.configure({ registries: { [proxy.host]: { chunkBytes: megabyte } } })
    const image = `${proxy.host}/upload/lost:1`
    await source.ok('tag', `${registry.host}/team/large:1`, image)
    let patches = 0
    // docker-registry keeps the half chunk, and then does not know its own upload any more.
    proxy.mischief = ({ method }) =>
      method === 'PATCH' && ++patches === 3 ? { cutUploadAfter: megabyte / 2 } : undefined

    await source.ok('push', image)

    await home.ok('pull', image.replace(proxy.host, registry.host))
  })
})

test('foreign layers are refused by name', async () => {
  const { document } = await registry.manifest('team/large', '1')
  const mediaType = 'application/vnd.docker.distribution.manifest.v2+json'
  const foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  const config = { ...document.config, mediaType: 'application/vnd.docker.container.image.v1+json' }
  const layers = document.layers.map((each: object) => ({
    ...each,
    mediaType: foreign,
    urls: ['https://example.com/x'],
  }))
  const manifest = { schemaVersion: 2, mediaType, config, layers }
  proxy.mischief = ({ path }) =>
    path.includes('/manifests/')
      ? { answer: { status: 200, headers: { 'content-type': mediaType }, body: JSON.stringify(manifest) } }
      : undefined

  expect(await home.fails('pull', name)).toMatch(
    /cannot pull ".*": layer sha256:\w+ is foreign: its registry does not have it\n {2}hint: /,
  )
})
