// registries.json: mirrors, search order, certificates.

import { readFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { BreakingProxy } from '../helpers/breaking-proxy.ts'
import { succeed } from '../helpers/command.ts'
import { Home, Registry } from '../helpers/registry.ts'

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
  const [key, cert] = [join(home.dir, 'key.pem'), join(home.dir, 'cert.pem')]
  const subject = ['-subj', '/CN=tests', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  await succeed(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject])
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    const headers = { accept: request.headers.accept ?? '' }
    fetch(`http://${registry.host}${request.url}`, { headers }).then(async answer => {
      const digest = answer.headers.get('docker-content-digest')
      response.writeHead(answer.status, {
        'content-type': answer.headers.get('content-type') ?? '',
        ...(digest === null ? {} : { 'docker-content-digest': digest }),
      })
      response.end(Buffer.from(await answer.arrayBuffer()))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const image = `${host}/team/app:1`

  home.configure({ registries: { [host]: { insecure: false } } })
  expect(await home.fails('pull', image)).toMatch(
    /the certificate of 127\.0\.0\.1:\d+ is not trusted \(\w+\)\n {2}hint: name its authority as "certs"/,
  )
  home.configure({ registries: { [host]: { insecure: false, certs: cert } } })
  await home.ok('pull', image)
  await home.ok('rmi', image)
  home.configure({ registries: { [host]: { insecure: true } } })
  await home.ok('pull', image)
  server.closeAllConnections()
  server.close()
})

test('a mistake in it is named', async () => {
  home.configure({ registries: { 'a.test': { insecur: true } } })

  expect(await home.fails('pull', 'a.test/b')).toMatch(
    /cannot read ".*registries\.json": "a\.test" has no key "insecur": it takes mirrors, insecure, certs, chunkBytes\n {2}hint: /,
  )
})
