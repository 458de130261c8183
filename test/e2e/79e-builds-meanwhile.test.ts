// Builds that meet prunes and other builds: what they need is not taken from them, and nobody stumbles over what another has cleared away.

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { held, orWaits } from '../helpers/held.ts'
import { World } from '../helpers/world.ts'

let world: World
let context: string
beforeAll(async () => {
  world = await World.create()
  await world.ok(['run', '--rm', 'busybox', 'true'])
  context = join(world.dir, 'work', 'context')
})
afterEach(async () => {
  await world.removeContainers()
  rmSync(context, { recursive: true, force: true })
  await world.ok(['builder', 'prune', '-af'])
  await world.ok(['image', 'prune', '-af'])
})
afterAll(() => world.dispose())

function build(...lines: string[]): string[] {
  mkdirSync(context, { recursive: true })
  writeFileSync(join(context, 'Dockerfile'), ['FROM busybox', ...lines, ''].join('\n'))
  return ['build', '-t', 'made', context]
}

test.each([
  ['before it runs', 'container record'],
  ['when it has ended', 'step ended'],
])("a prune leaves the container of a build's step alone, %s", async (_, step) => {
  const goOn = await held(world, build('RUN echo hello > /file'), step)
  expect(await world.ok(['ps', '-aq'])).not.toBe('')
  await world.ok(['container', 'prune', '-f'])
  await world.ok(['system', 'prune', '-af'])

  expect(await goOn()).toMatchObject({ code: 0 })

  expect(await world.ok(['run', '--rm', 'made', 'cat', '/file'])).toBe('hello')
})

test("builds that clear away a killed one's containers at the same time do not stumble over each other", async () => {
  const args = build('RUN echo hello > /file')
  const killed = [await held(world, args, 'container record'), await held(world, args, 'container record')]
  for (const { pid } of killed) process.kill(pid, 'SIGKILL')
  for (const ended of killed) expect((await ended()).code).toBe(137)
  const goOn = await held(world, args, 'container record removed')
  const other = world.tsrun(args)
  await orWaits(other)

  expect(await goOn()).toMatchObject({ code: 0 })

  expect(await other).toMatchObject({ code: 0 })
  expect(await world.ok(['ps', '-aq'])).toBe('')
})

test('a step whose record goes while a build looks at it is made again', async () => {
  const args = build('RUN echo hello > /file')
  await world.ok(args)
  const goOn = await held(world, args, 'build step found')
  await world.ok(['builder', 'prune', '-af'])

  expect(await goOn()).toMatchObject({ code: 0 })

  expect(await world.ok(['run', '--rm', 'made', 'cat', '/file'])).toBe('hello')
})

test('a cache mount that a step takes while it is being pruned is its own', async () => {
  const args = build('RUN --mount=type=cache,id=c,target=/c touch /c/x && ls /c > /file')
  await world.ok(args)
  const goOn = await held(world, 'builder prune -af', 'cache mount taken out')
  const other = world.tsrun([...args, '--no-cache'])
  await orWaits(other)

  expect(await goOn()).toMatchObject({ code: 0 })

  expect(await other).toMatchObject({ code: 0 })
  const [id = ''] = readdirSync(join(world.root, 'build/mounts'))
  expect(existsSync(join(world.root, 'build/mounts', id, '0/data/x'))).toBe(true)
})

test.each(['container record', 'step ended'])(
  'a build whose step\'s container somebody removes behind "%s" says so',
  async step => {
    const goOn = await held(world, build('RUN echo hello > /file'), step)
    await world.ok(['rm', '-f', await world.ok(['ps', '-aq'])])

    const { code, stderr } = await goOn()

    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^tsrun: "\/bin\/sh -c echo hello > \/file" did not complete: its container was removed meanwhile$/m,
    )
  },
)
