// A pull that is cut off, at moments nobody chose: the store stays valid, and the next one goes on from there.

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BreakingProxy } from '../helpers/breaking-proxy.ts'
import { eventually, sleep } from '../helpers/command.ts'
import { writeManyLayers } from '../helpers/many-layers.ts'
import { Home, listOrEmpty, makeLargeImage, Registry } from '../helpers/registry.ts'

let registry: Registry
let proxy: BreakingProxy
let source: Home
let home: Home
/** Seven small layers on busybox; one of 3 MB, which takes a while. */
let image: string
let large: string

const largeBytes = 3_000_000

beforeAll(async () => {
  registry = await Registry.start()
  proxy = await BreakingProxy.start(registry.host)
  source = new Home()
  writeManyLayers(join(source.dir, 'layout'), 'small:1', 7)
  await source.ok('load', '-i', join(source.dir, 'layout'))
  await makeLargeImage(source, 'large:1', largeBytes)
  for (const name of ['small:1', 'large:1']) {
    await source.ok('tag', name, `${registry.host}/${name}`)
    await source.ok('push', '-q', `${registry.host}/${name}`)
  }
  image = `${proxy.host}/small:1`
  large = `${proxy.host}/large:1`
}, 60_000)
afterAll(async () => {
  source?.remove()
  await proxy?.stop()
  await registry?.stop()
})
beforeEach(() => {
  proxy.reset()
  home = new Home({ timeoutMs: 120_000 })
})
afterEach(() => home.remove())

/** What is there is right, and nothing has a name that is not complete. */
async function checkValid(): Promise<void> {
  if (listOrEmpty(join(home.root, 'images')).length > 0) await home.checkStore()
  expect(await home.ok('images', '-q')).toBe('')
}

/** Everything it took, and nothing that a crash has left. */
async function checkTidy(): Promise<void> {
  await home.ok('image', 'prune', '-f')
  for (const folder of ['staging', 'images/partial']) expect(listOrEmpty(join(home.root, folder))).toEqual([])
  await home.checkStore()
}

describe('a pull', { timeout: 240_000 }, () => {
  test('interrupted and killed twelve times at random goes on, and does not fetch much twice', async () => {
    proxy.mischief = ({ path }) => (path.includes('/blobs/') ? { rate: 1_500_000 } : undefined)
    let interrupted = 0
    for (let attempt = 0; attempt < 12; attempt++) {
      const before = proxy.exchanges.length
      const pull = home.start(['pull', '-q', large])
      await eventually('the pull asks the registry', () => proxy.exchanges.length > before)
      await sleep(Math.random() * 160)
      pull.kill(attempt % 3 === 2 ? 'SIGKILL' : 'SIGINT')
      const { code } = await pull.result
      if (code === 0) break
      interrupted += 1
      await checkValid()
    }
    expect(interrupted).toBeGreaterThan(4)

    proxy.mischief = () => undefined
    await home.ok('pull', '-q', large)

    const sent = proxy.blobs().reduce((total, { sent }) => total + sent, 0)
    // What was on its way to a process that died is fetched again: buffers of sockets, not blobs.
    expect(sent).toBeLessThan(3 * largeBytes)
    expect(await home.run(large, 'busybox', 'wc', '-c', '/large')).toBe(`${largeBytes} /large`)
    await checkTidy()
  })

  test.each(['image blob', 'image layer', 'image record', 'image name'])(
    'killed at the step "%s" is finished by the next',
    async step => {
      const killed = await home.tsrun(['pull', '-q', image], { env: { ...home.env, TSRUN_FAULT: `${step}:kill` } })
      expect(killed.signal).toBe('SIGKILL')
      // From the record on it is all there, and only its name may be missing.
      if (step === 'image blob' || step === 'image layer') await checkValid()

      await home.ok('pull', '-q', image)

      expect(await home.run(image, 'cat', '/latest')).toBe('7')
      await checkTidy()
    },
  )

  test('killed while it unpacks leaves no half of a layer that anybody would use', async () => {
    for (let attempt = 0; attempt < 6; attempt++) {
      const pull = home.start(['pull', image])
      await eventually(
        'it has begun to unpack',
        () =>
          listOrEmpty(join(home.root, 'staging')).some(name =>
            listOrEmpty(join(home.root, 'staging', name)).some(part => part.startsWith('layer-')),
          ) || listOrEmpty(join(home.root, 'layers')).length > 0,
      )
      pull.kill('SIGKILL')
      await pull.result
    }
    await home.ok('pull', '-q', image)
    expect(await home.run(image, 'sh', '-c', 'ls n | wc -l; ls gone')).toBe('7\n7')
    await checkTidy()
  })

  test('beside removals and runs of the same image ends well or says why', async () => {
    const direct = `${registry.host}/small:1`
    const verbs = [
      ['pull', '-q', direct],
      ['run', '--rm', '--net', 'none', '-q', direct, 'cat', '/latest'],
      ['rmi', '-f', direct],
      ['image', 'prune', '-af'],
    ]
    const results = await Promise.all(
      Array.from({ length: 24 }, async (_, index) => {
        await sleep(Math.random() * 300)
        const verb = verbs[index % verbs.length] ?? []
        return { verb: verb[0], ...(await home.tsrun(verb, { timeoutMs: 60_000 })) }
      }),
    )

    for (const { verb, code, stdout, stderr } of results) {
      if (verb === 'run' && code === 0) expect(stdout).toBe('7\n')
      if (code !== 0) expect(stderr).toMatch(/no such image|is being removed|use it|uses it/)
    }
    await home.ok('pull', '-q', direct)
    expect(await home.run(direct, 'cat', '/latest')).toBe('7')
    await checkTidy()
  })
})
