// Images to and from a real registry, with skopeo as the witness.

import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BreakingProxy } from '../helpers/breaking-proxy.ts'
import { execute, succeed } from '../helpers/command.ts'
import { held } from '../helpers/held.ts'
import { Home, makeLargeImage, Registry } from '../helpers/registry.ts'
import { faceCommand } from '../helpers/world.ts'

let registry: Registry
let proxy: BreakingProxy
let home: Home

beforeAll(async () => {
  registry = await Registry.start()
  proxy = await BreakingProxy.start(registry.host)
})
afterAll(async () => {
  await proxy?.stop()
  await registry?.stop()
})
beforeEach(() => {
  proxy.reset()
  home = new Home()
})
afterEach(() => home.remove())

let counter = 0
/** A repository that nobody has used. */
const fresh = (): string => `${registry.host}/team/app${counter++}`
const skopeo = (...args: string[]): Promise<string> => succeed(['skopeo', ...args], { timeoutMs: 40_000 })

const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`

/** Puts busybox into the registry under a fresh name. */
async function pushed(): Promise<string> {
  const name = `${fresh()}:1`
  await home.ok('tag', 'busybox', name)
  await home.ok('push', name)
  return name
}

describe('push', () => {
  test('gives an image that skopeo reads, and copies with all digests right', async () => {
    const name = await pushed()
    const folder = mkdtempSync(join(home.dir, 'copy-'))

    const inspected = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${name}`))
    await skopeo('copy', '--src-tls-verify=false', `docker://${name}`, `oci:${folder}:1`)
    await succeed(['umoci', 'unpack', '--image', `${folder}:1`, join(folder, 'bundle')])

    expect(inspected).toMatchObject({ Architecture: 'amd64', Os: 'linux', RepoTags: ['1'] })
    expect(readdirSync(join(folder, 'bundle/rootfs'))).toContain('bin')
  })

  test('prints the digest that the registry has', async () => {
    const name = `${fresh()}:1`
    await home.ok('tag', 'busybox', name)

    const output = await home.ok('push', name)

    const digest = (await skopeo('inspect', '--tls-verify=false', '-f', '{{.Digest}}', `docker://${name}`)).trim()
    expect(output).toMatch(/^The push refers to repository \[127\.0\.0\.1:\d+\/team\/app\d+\]\n/)
    expect(output).toMatch(/^[0-9a-f]{12}: Preparing\n[0-9a-f]{12}: (Pushed|Mounted from .*)$/m)
    expect(output).toContain(`1: digest: ${digest} size: `)
  })

  test('sends nothing that the registry has, and takes from another repository what that one has', async () => {
    const name = await pushed()
    const other = `${fresh()}:1`
    await home.ok('tag', name, other)

    expect(await home.ok('push', name)).toMatch(/: Layer already exists/)
    expect(await home.ok('push', other)).toMatch(/: Mounted from team\/app\d+/)
  })

  test('compresses layers that are stored plain, once, and always to the same', async () => {
    const name = `${fresh()}:1`
    await makeLargeImage(home, name, 300_000)
    const id = await home.ok('images', '-q', '--no-trunc', name)

    const first = await home.ok('push', name)
    const second = await home.ok('push', name)

    const { document } = await registry.manifest(name.replace(/^[^/]*\/|:1$/g, ''), '1')
    expect(first).toMatch(/: Compressing\n/)
    expect(second).not.toMatch(/Compressing/)
    expect(second.split('\n').at(-1)).toBe(first.split('\n').at(-1))
    expect(document.layers.map((layer: { mediaType: string }) => layer.mediaType)).toEqual([
      'application/vnd.oci.image.layer.v1.tar+gzip',
    ])
    expect(await home.ok('images', '-q', '--no-trunc', name)).toBe(id)
    expect(await home.run(name, '/bin/busybox', 'echo', 'it runs')).toBe('it runs')
  })

  test('says what to do when there is no image of that name', async () => {
    expect(await home.fails('push', `${registry.host}/team/none:1`)).toMatch(
      /^tsrun: no such image: ".*"\n {2}hint: .*tsrun tag/,
    )
  })
})

describe('pull', () => {
  test('brings an image that runs, and says what docker says', async () => {
    const name = await pushed()
    const other = new Home()

    const output = await other.ok('pull', name)

    expect(output).toMatch(
      /^1: Pulling from team\/app\d+\n([0-9a-f]{12}): Pulling fs layer\n\1: Download complete\n\1: Pull complete\nDigest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for (.*)\n\2$/,
    )
    expect(await other.run(name, 'echo', 'hello')).toBe('hello')
    await other.checkStore()
    other.remove()
  })

  test('of an unchanged image is one HEAD', async () => {
    const name = (await pushed()).replace(registry.host, proxy.host)
    await home.ok('pull', name)
    proxy.reset()

    const output = await home.ok('pull', name)

    expect(output).toMatch(/Status: Image is up to date for/)
    expect(proxy.exchanges.map(({ method, path }) => `${method} ${path.replace(/app\d+/, 'app')}`)).toEqual([
      'HEAD /v2/team/app/manifests/1',
    ])
  })

  test('fetches no layer that is there', async () => {
    const name = (await pushed()).replace(registry.host, proxy.host)
    const changed = name.replace(/:1$/, ':2')
    await home.ok('run', '--net', 'none', '--name', 'c', name.replace(proxy.host, registry.host), 'touch', '/new')
    await home.ok('commit', 'c', changed)
    await home.ok('push', changed)
    await home.ok('rm', 'c')
    const other = new Home()
    await other.ok('pull', name)
    proxy.reset()

    const output = await other.ok('pull', changed)

    expect(output).toMatch(/^[0-9a-f]{12}: Already exists$/m)
    // The config, and the one new layer.
    expect(proxy.blobs()).toHaveLength(2)
    expect(await other.run(changed, 'ls', '/new')).toBe('/new')
    other.remove()
  })

  test('-q prints the name alone, by digest too', async () => {
    const name = await pushed()
    const digest = (await skopeo('inspect', '--tls-verify=false', '-f', '{{.Digest}}', `docker://${name}`)).trim()
    const byDigest = `${name.replace(/:1$/, '')}@${digest}`
    const other = new Home()

    expect(await other.ok('pull', '-q', name)).toBe(name)
    expect(await other.ok('pull', '-q', byDigest)).toBe(byDigest)
    expect(await other.run(byDigest, 'echo', 'hello')).toBe('hello')
    other.remove()
  })

  test('-a brings every tag', async () => {
    const name = await pushed()
    for (const tag of ['two', 'three']) {
      await home.ok('tag', name, name.replace(/1$/, tag))
      await home.ok('push', name.replace(/1$/, tag))
    }
    const other = new Home()

    await other.ok('pull', '-a', name.replace(/:1$/, ''))

    expect((await other.ok('images', '--format', '{{.Tag}}')).split('\n').sort()).toEqual(['1', 'three', 'two'])
    other.remove()
  })

  test.each([
    ['docker schema 2', ['--format', 'v2s2']],
    ['OCI', ['--format', 'oci']],
    ['zstd', ['--format', 'oci', '--dest-compress-format', 'zstd']],
  ])('runs what skopeo pushes as %s', async (format, flags) => {
    const name = `${fresh()}:1`
    // Of its own: skopeo takes a layer that the registry has, however that is compressed.
    await makeLargeImage(home, name, 1000)
    await home.ok('save', '-o', join(home.dir, 'image.tar'), name)
    const source = `docker-archive:${join(home.dir, 'image.tar')}`
    await skopeo('copy', '--dest-tls-verify=false', ...flags, source, `docker://${name}`)
    const other = new Home()

    await other.ok('pull', name)

    const { document } = await registry.manifest(name.replace(/^[^/]*\/|:1$/g, ''), '1')
    expect(document.layers[0].mediaType).toMatch({ zstd: /zstd/, OCI: /oci.*gzip/ }[format] ?? /docker.*gzip/)
    expect(await other.run(name, '/bin/busybox', 'echo', 'hello')).toBe('hello')
    other.remove()
  })

  test('shows bars in a terminal, and leaves no trace of them', async () => {
    const name = `${fresh()}:1`
    await makeLargeImage(home, name, 3_000_000)
    await home.ok('push', name)
    proxy.mischief = ({ path }) => (path.includes('/blobs/') ? { rate: 6_000_000 } : undefined)
    const other = new Home()
    const command = [...faceCommand(), 'pull', name.replace(registry.host, proxy.host)].join(' ')

    const { stdout } = await execute(['script', '-qefc', `stty cols 90 rows 20; ${command}`, '/dev/null'], {
      env: { ...other.env, SHELL: '/bin/sh', TERM: 'xterm' },
    })

    expect(stdout).toMatch(/[0-9a-f]{12}: Downloading \[=*> *\] +[\d.]+.?B\/[\d.]+MB/)
    expect(stdout.replaceAll('\x1b', 'ESC')).toMatch(/ESC\[1A\r([0-9a-f]{12}): Pull completeESC\[K\r?\nESC\[JDigest: /)
    other.remove()
  })
})

describe('platforms', () => {
  /** An index of the same image under several platforms, nested once. */
  async function pushIndex(): Promise<string> {
    const name = await pushed()
    const repository = name.replace(/^[^/]*\/|:1$/g, '')
    const digest = (await skopeo('inspect', '--tls-verify=false', '-f', '{{.Digest}}', `docker://${name}`)).trim()
    const { type: mediaType, size } = await registry.manifest(repository, '1')
    const indexType = 'application/vnd.oci.image.index.v1+json'
    const entry = (architecture: string) => ({ mediaType, digest, size, platform: { os: 'linux', architecture } })
    const inner = {
      schemaVersion: 2,
      mediaType: indexType,
      manifests: [entry('s390x'), entry('amd64'), entry('arm64')],
    }
    await registry.putManifest(repository, 'inner', indexType, inner)
    const bytes = JSON.stringify(inner)
    const nested = { mediaType: indexType, digest: sha256(bytes), size: bytes.length }
    await registry.putManifest(repository, 'many', indexType, {
      schemaVersion: 2,
      mediaType: indexType,
      manifests: [nested],
    })
    return name.replace(/1$/, 'many')
  }

  test('the one of this machine is taken, through nested indexes', async () => {
    const name = await pushIndex()
    const other = new Home()

    await other.ok('pull', name)

    expect(await other.run(name, 'echo', 'hello')).toBe('hello')
    expect(await other.ok('pull', name)).toMatch(/up to date/)
    other.remove()
  })

  test('one that is not there is an error that lists those that are', async () => {
    const name = await pushIndex()

    expect(await home.fails('pull', '--platform', 'linux/riscv64', name)).toMatch(
      /^tsrun: cannot pull ".*:many": it is not there for linux\/riscv64\n {2}hint: it is there for linux\/amd64, linux\/arm64, linux\/s390x: /m,
    )
  })

  test('a manifest that stands alone is not taken for another platform', async () => {
    const name = await pushed()
    const other = new Home()

    expect(await other.fails('pull', '--platform', 'linux/arm64', name)).toMatch(/it is there for linux\/amd64/)
    expect(await other.ok('images', '-q')).toBe('')
    other.remove()
  })
})

describe('run and create', () => {
  test('pull an image that is not there, and tell so on stderr', async () => {
    const name = await pushed()
    const other = new Home()

    const result = await other.tsrun(['run', '--rm', '--net', 'none', name, 'echo', 'hello'])

    expect(result).toMatchObject({ code: 0, stdout: 'hello\n' })
    expect(result.stderr).toMatch(/^Unable to find image '.*:1' locally\n1: Pulling from /)
    other.remove()
  })

  test('--pull never does not, --pull always asks again', async () => {
    const name = (await pushed()).replace(registry.host, proxy.host)

    expect(await home.tsrun(['run', '--rm', '--pull', 'never', name, 'true'])).toMatchObject({ code: 125 })
    expect(proxy.exchanges).toEqual([])
    await home.ok('create', '--net', 'none', '--pull', 'always', '-q', '--name', 'c', name)
    proxy.reset()
    await home.ok('run', '--rm', '--net', 'none', '-q', '--pull=always', name, 'true')
    expect(proxy.exchanges.map(({ method }) => method)).toEqual(['HEAD'])
    proxy.reset()
    await home.ok('run', '--rm', '--net', 'none', name, 'true')
    expect(proxy.exchanges).toEqual([])
    await home.ok('rm', 'c')
  })
})

test('two pulls of the same at once fetch every blob once', async () => {
  const name = `${fresh()}:1`
  await makeLargeImage(home, name, 2_000_000)
  await home.ok('push', name)
  const other = new Home()
  const there = name.replace(registry.host, proxy.host)
  proxy.mischief = ({ path }) => (path.includes('/blobs/') ? { rate: 8_000_000 } : undefined)

  const results = await Promise.all([other.tsrun(['pull', there]), other.tsrun(['pull', there])])

  expect(results.map(({ code }) => code)).toEqual([0, 0])
  expect(proxy.blobs()).toHaveLength(2)
  expect(readFileSync(join(other.root, 'images/oci-layout'), 'utf8')).toContain('1.0.0')
  other.remove()
})

test('a pull of what is here under another name brings it anew where that is removed meanwhile', async () => {
  const [one, two] = [await pushed(), `${fresh()}:1`]
  await home.ok('tag', one, two)
  await home.ok('push', two)
  const other = new Home()
  await other.ok('pull', one)
  const goOn = await held(other, `pull ${two}`, 'image known')
  await other.ok('rmi', one)

  expect(await goOn()).toMatchObject({ code: 0 })

  expect(await other.run(two, 'echo', 'hello')).toBe('hello')
  other.remove()
})
