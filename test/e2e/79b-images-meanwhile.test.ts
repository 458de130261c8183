// Commands that meet in the image store: one is held at a step of its own until the other has done its part. What was reported as done
// stays so, and nobody's layers go away beneath him.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { held, orWaits } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

/** The archive of a root file system with one file. */
async function archive(world: World, content: string): Promise<string> {
  const folder = join(world.dir, 'work', content)
  mkdirSync(folder)
  writeFileSync(join(folder, 'file'), content)
  await succeed(['tar', '-C', folder, '-cf', `${folder}.tar`, 'file'])
  return `${folder}.tar`
}

/** Clears away what archive() has made. */
const inOwnWorld = (task: (world: World) => Promise<void>) =>
  inWorld(async world => {
    await task(world)
    const work = join(world.dir, 'work')
    for (const name of readdirSync(work)) rmSync(join(work, name), { recursive: true })
    await world.removeContainers()
    await world.ok(['image', 'prune', '-af'])
  })

const idOf = (world: World, image: string) => world.ok(['image', 'inspect', '-f', '{{.Id}}', image])

test(
  'an import keeps what it has brought from a prune that has looked already at what is needed',
  inOwnWorld(async world => {
    const tar = await archive(world, 'one')
    await world.ok(['create', 'busybox'])
    const goOn = await held(world, 'image prune -f', 'image needs known')
    const made = world.tsrun(['import', tar, 'new'])
    await orWaits(made)

    expect((await goOn()).code).toBe(0)

    expect(await made).toMatchObject({ code: 0 })
    expect(await world.ok(['save', 'new'])).toContain('blobs/sha256')
  }),
)

test(
  'a build keeps the layer of a stage that way, too',
  inOwnWorld(async world => {
    await archive(world, 'one')
    await world.ok(['create', 'busybox'])
    const context = join(world.dir, 'work')
    const copies = 'FROM busybox AS a\nCOPY one/file /\nFROM scratch\nCOPY --from=a /file /\n'
    writeFileSync(join(context, 'Dockerfile'), copies)
    const build = await held(world, ['build', '-t', 'new', context], 'draft of the store')
    const prune = await held(world, 'image prune -f', 'image needs known')
    const built = build()
    await orWaits(built)

    expect((await prune()).code).toBe(0)

    expect(await built).toMatchObject({ code: 0 })
  }),
)

test(
  'a layer that was not on the disk is replaced once: a container that has the new one keeps it',
  inOwnWorld(async world => {
    await world.ok(['create', '--name', 'box', 'busybox', 'sleep', '1000'])
    for (const folder of ['layers', 'images/records']) makeUnsound(join(world.root, folder))
    const goOn = await held(world, 'create --name late busybox true', 'image layer unsound')
    const started = world.ok(['start', 'box'])
    await orWaits(started)

    expect((await goOn()).code).toBe(0)

    await started
    expect(await world.ok(['exec', 'box', 'cat', '/etc/group'])).toContain('root')
    expect(await world.ok(['exec', 'box', 'ls', '/'])).toContain('etc')
  }),
)

/** As a power cut leaves them that came before they were synced. */
function makeUnsound(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || !(entry.name === 'layer.json' || folder.endsWith('records'))) continue
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"bootId": "[^"]*"/, '"bootId": "earlier"'))
  }
}

test(
  'the embedded image that comes with its first use takes its name from no image that got it meanwhile',
  inOwnWorld(async world => {
    const tar = await archive(world, 'one')
    const goOn = await held(world, 'create --name box busybox sh', 'image layer unpacked')
    await world.ok(['import', tar, 'busybox'])
    const own = await idOf(world, 'busybox')

    expect((await goOn()).code).toBe(0)

    expect(await idOf(world, 'busybox')).toBe(own)
    expect(await world.ok(['inspect', '-f', '{{.Image}}', 'box'])).toBe(own)
  }),
)

test.each([
  ['given to another image stays there', ['tag', 'other'], true],
  ['removed does not come back', ['rmi'], false],
])('a name that is %s while its image is being pushed', (_, command, isThere) =>
  inOwnWorld(async world => {
    const name = '127.0.0.1:1/me/app:1'
    await world.ok(['import', await archive(world, 'one'), name])
    await world.ok(['import', await archive(world, 'two'), 'other'])
    const before = await idOf(world, name)
    const goOn = await held(world, `push ${name}`, 'image blob')
    await world.ok([...command, name])

    // There is no registry; by then the layers are compressed.
    expect((await goOn()).code).toBe(1)

    if (isThere) {
      expect(await idOf(world, name)).toBe(await idOf(world, 'other'))
      expect(await idOf(world, before)).toBe(before)
    } else {
      expect(await world.ok(['images', '-q', name])).toBe('')
      expect(await world.ok(['images', '-aq', '--no-trunc'])).not.toContain(before)
    }
  })(),
)

test.each([
  ['commit', 'commit box made', /no such image: "sha256:/],
  ['push', 'push 127.0.0.1:1/me/app:1', /cannot push .*: no such image: "127.0.0.1:1\/me\/app:1"/],
])('%s of an image that is removed meanwhile says so', (_, command, message) =>
  inOwnWorld(async world => {
    await world.ok(['run', '--name', 'box', 'busybox', 'touch', '/file'])
    await world.ok(['tag', 'busybox', '127.0.0.1:1/me/app:1'])
    const goOn = await held(world, command, 'staging folder')
    await world.ok(['rmi', '-f', 'busybox', '127.0.0.1:1/me/app:1'])

    const { code, stderr } = await goOn()

    expect(code).toBe(1)
    expect(stderr).toMatch(message)
  })(),
)
