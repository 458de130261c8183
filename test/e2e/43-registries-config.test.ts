// registries.json: mirrors, search order, certificates.

import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { BreakingProxy } from '../helpers/breaking-proxy.ts'
import { Home, Registry } from '../helpers/registry.ts'
import { TlsFront } from '../helpers/tls-front.ts'

let registry: Registry
let proxy: BreakingProxy
/** Has the images and pushes them. */
let source: Home
/** Pulls. */
let home: Home

beforeAll(async () => {
  registry = await Registry.start()
  proxy = await BreakingProxy.start(registry.host)
  source = new Home()
  await source.ok('tag', 'busybox', `${registry.host}/team/app:1`)
  await source.ok('push', `${registry.host}/team/app:1`)
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

test('mirrors are asked first, and the registry where they fail', async () => {
  home.configure({ registries: { [registry.host]: { mirrors: ['127.0.0.1:1', `http://${proxy.host}`] } } })
  const image = `${registry.host}/team/app:1`
  await home.ok('pull', image)
  expect(proxy.blobs()).toHaveLength(2)
  await home.ok('rmi', image)
  proxy.reset()
  proxy.mischief = () => ({ answer: { status: 404 } })

  await home.ok('pull', image)

  expect(proxy.blobs()).toHaveLength(0)
})

test('short names are looked for in every registry of "search"', async () => {
  const second = await Registry.start()
  await source.ok('tag', 'busybox', `${second.host}/only-here:1`)
  await source.ok('push', `${second.host}/only-here:1`)
  home.configure({ search: [registry.host, second.host] })

  expect(await home.ok('pull', '-q', 'only-here:1')).toBe(`${second.host}/only-here:1`)
  expect(await home.run('only-here:1', 'echo', 'hello')).toBe('hello')
  await second.stop()
})

test('a certificate must be trusted, by "certs" or not at all', async () => {
  const front = await TlsFront.start({ dir: home.dir, target: registry.host })
  const { host } = front
  const image = `${host}/team/app:1`

  home.configure({ registries: { [host]: { insecure: false } } })
  expect(await home.fails('pull', image)).toMatch(
    /the certificate of 127\.0\.0\.1:\d+ is not trusted \(\w+\)\n {2}hint: name its authority as "certs"/,
  )
  home.configure({ registries: { [host]: { insecure: false, certs: front.ca } } })
  await home.ok('pull', image)
  await home.ok('rmi', image)
  home.configure({ registries: { [host]: { insecure: true } } })
  await home.ok('pull', image)
  await front.stop()
})

test('certs.d has the authority of a registry, and who we are to it', async () => {
  const front = await TlsFront.start({ dir: home.dir, target: registry.host, wantsClient: true })
  const { host } = front
  const image = `${host}/team/app:1`
  const folder = join(home.dir, 'certs.d', host)
  mkdirSync(folder, { recursive: true })

  home.configure({ registries: { [host]: { insecure: false } } })
  copyFileSync(front.ca, join(folder, 'ca.crt'))
  expect(await home.fails('pull', image)).toMatch(/cannot pull ".*": .*127\.0\.0\.1/)
  copyFileSync(front.clientCert, join(folder, 'client.cert'))
  expect(await home.fails('pull', image)).toMatch(/cannot read the certificates ".*certs\.d/)
  copyFileSync(front.clientKey, join(folder, 'client.key'))
  await home.ok('pull', image)
  expect(await home.run(image, 'echo', 'hello')).toBe('hello')
  await front.stop()
})

test('a mistake in it is named', async () => {
  home.configure({ registries: { 'a.test': { insecur: true } } })

  expect(await home.fails('pull', 'a.test/b')).toMatch(
    /cannot read ".*registries\.json": "a\.test" has no key "insecur": it takes mirrors, insecure, certs, chunkBytes\n {2}hint: /,
  )
})
