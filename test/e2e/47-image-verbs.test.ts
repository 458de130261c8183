// What scripts and programs make of images: the events of each verb, and the library that pulls as `run` does.

import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { Home, Registry } from '../helpers/registry.ts'
import { dist, faceCommand } from '../helpers/world.ts'

let registry: Registry
let home: Home

beforeAll(async () => {
  registry = await Registry.start()
})
afterAll(() => registry?.stop())
beforeEach(() => {
  home = new Home()
})
afterEach(() => home.remove())

/** Everything that has happened to images so far, as `action id name`. */
async function imageEvents(filter = 'type=image'): Promise<string[]> {
  const format = '{{.Action}} {{.Actor.ID}} {{index .Actor.Attributes "name"}}'
  const until = new Date(Date.now() + 1).toISOString()
  const lines = await home.ok('events', '--since', '1h', '--until', until, '--filter', filter, '--format', format)
  return lines === '' ? [] : lines.split('\n')
}

describe('events', () => {
  test('tell of every verb of images in docker words', async () => {
    const name = `${registry.host}/team/told:1`
    const repository = `${registry.host}/team/told`
    const id = await home.ok('inspect', '--format', '{{.Id}}', 'busybox')
    const archive = join(home.dir, 'told.tar')

    await home.ok('tag', 'busybox', name)
    await home.ok('push', '-q', name)
    await home.ok('save', '-o', archive, name)
    await home.ok('rmi', name)
    await home.ok('rmi', 'busybox')
    await home.ok('load', '-i', archive)
    await home.ok('pull', '-q', name)
    await home.ok('export', '-o', join(home.dir, 'fs.tar'), await home.ok('create', '--net', 'none', name))
    const imported = await home.ok('import', join(home.dir, 'fs.tar'), 'mine:1')

    expect(await imageEvents()).toEqual([
      `tag ${id} ${name}`,
      `push ${name} ${repository}`,
      `save ${id} ${id}`,
      `untag ${id} ${name}`,
      `untag ${id} busybox:latest`,
      `delete ${id} ${id}`,
      `load ${id} ${name}`,
      `pull ${name} ${repository}`,
      `import ${imported} mine:1`,
    ])
    expect(await imageEvents('event=delete')).toEqual([`delete ${id} ${id}`])
  })

  test('carry the labels of the image, and prune tells of each that goes', async () => {
    await home.ok('export', '-o', join(home.dir, 'fs.tar'), await home.ok('create', '--name', 'c', 'busybox'))
    await home.ok('rm', 'c')
    const id = await home.ok('import', '--change', 'LABEL team=web', join(home.dir, 'fs.tar'))

    await home.ok('image', 'prune', '-f')

    expect(await imageEvents('label=team=web')).toEqual([`import ${id} ${id}`])
    expect((await imageEvents()).at(-1)).toBe(`delete ${id} ${id}`)
  })

  test('do not tell what did not happen', async () => {
    await home.fails('rmi', 'nothing-here')
    await home.fails('pull', `${registry.host}/no/such`)
    await home.fails('tag', 'nothing-here', 'b')
    expect(await imageEvents()).toEqual([])
  })
})

test('search finds names by their beginning, and images by pattern, age and label', async () => {
  await home.ok('export', '-o', join(home.dir, 'fs.tar'), await home.ok('create', '--net', 'none', 'busybox'))
  await home.ok(
    'import',
    '--change',
    'LABEL org.opencontainers.image.description=ours',
    join(home.dir, 'fs.tar'),
    'a.test/team/web:1',
  )
  await home.ok('tag', 'busybox', 'busy/bee:2')
  const search = (...args: string[]) => home.ok('search', '--format', '{{.Name}} {{.Description}}', ...args)
  const images = (...args: string[]) => home.ok('images', '--format', '{{.Repository}}:{{.Tag}}', ...args)

  expect(await search('we')).toBe('a.test/team/web:1 ours')
  expect((await search('busy', '-f', 'reference=busy/*')).split(' ')[0]).toBe('busy/bee:2')
  expect((await search('docker.io/library/busy')).split(' ')[0]).toBe('busybox:latest')
  expect(await search('usybox')).toBe('')
  expect((await search('busy', '--limit', '1')).split('\n')).toHaveLength(1)
  expect(await images('*/bee')).toBe('busy/bee:2')
  expect(await images('--filter', 'reference=*/*/w?b:1')).toBe('a.test/team/web:1')
  expect(await images('--filter', 'since=busybox')).toBe('a.test/team/web:1')
  expect((await images('--filter', 'before=a.test/team/web:1')).split('\n').sort()).toEqual([
    'busy/bee:2',
    'busybox:latest',
  ])
  expect(await home.fails('images', '--filter', 'reference=[')).toContain('invalid filter "reference=["')
})

test('manifest inspect shows what the registry has, and brings nothing in', async () => {
  const name = await published('shown:1')
  const other = new Home()

  const document = JSON.parse(await other.ok('manifest', 'inspect', name))
  const verbose = JSON.parse(await other.ok('manifest', 'inspect', '-v', name))

  const there = await registry.manifest('shown', '1')
  expect(document).toEqual(there.document)
  expect(verbose).toMatchObject({ Ref: name, mediaType: there.type, size: there.size, document })
  expect(await other.ok('images', '-q')).toBe('')
  expect(await other.fails('manifest', 'inspect', `${registry.host}/no/such`)).toContain('no/such')
  other.remove()
})

test('several images saved into one pipe are loaded with all their names', async () => {
  await home.ok('tag', 'busybox', 'one:1')
  await home.ok('tag', 'busybox', 'a.test/two:2')
  const other = new Home()
  const [from, to] = [home, other].map(({ env }) => `TSRUN_ROOT=${env.TSRUN_ROOT} TSRUN_STATE=${env.TSRUN_STATE}`)
  const tsrun = faceCommand().join(' ')

  const command = `${from} ${tsrun} save one:1 a.test/two:2 busybox | gzip | ${to} ${tsrun} load -q`
  const said = await succeed(['sh', '-c', command], { env: home.env })

  expect(said.split('\n').filter(Boolean).sort()).toEqual(
    ['a.test/two:2', 'busybox:latest', 'one:1'].map(name => `Loaded image: ${name}`),
  )
  expect(await other.run('a.test/two:2', 'echo', 'hello')).toBe('hello')
  other.remove()
})

test.each(['xz', 'bzip2', 'zstd'])(
  'archives compressed with %s are loaded, imported, added and built from',
  async program => {
    await home.ok('tag', 'busybox', 'packed:1')
    const archive = join(home.dir, 'image.tar')
    const context = join(home.dir, 'context')
    await home.ok('save', '-o', archive, 'packed:1')
    await home.ok('export', '-o', join(home.dir, 'fs.tar'), await home.ok('create', '--net', 'none', 'busybox'))
    mkdirSync(context)
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nADD fs.tar.z /\n')
    await succeed([program, archive, join(home.dir, 'fs.tar')])
    const suffix = { xz: 'xz', bzip2: 'bz2' }[program] ?? 'zst'
    renameSync(join(home.dir, `fs.tar.${suffix}`), join(context, 'fs.tar.z'))
    const other = new Home()

    expect(await other.ok('load', '-q', '-i', `${archive}.${suffix}`)).toBe('Loaded image: packed:1')
    await other.ok('import', join(context, 'fs.tar.z'), 'imported:1')
    await other.ok('build', '-q', '-t', 'added:1', context)
    const tsrun = faceCommand().join(' ')
    await succeed(['sh', '-c', `tar -c -C ${context} . | ${program} | ${tsrun} build -q -t piped:1 -`], {
      env: other.env,
    })

    for (const name of ['packed:1', 'imported:1', 'added:1', 'piped:1'])
      expect(await other.run(name, '/bin/busybox', 'echo', 'hello')).toBe('hello')
    other.remove()
  },
)

/** Runs a program against the built library, with `engine` open. */
function program(body: string): Promise<string> {
  const path = join(home.dir, 'program.mjs')
  writeFileSync(
    path,
    `import { Engine } from ${JSON.stringify(join(dist, 'lib/index.js'))}
const engine = await Engine.open({ libraryDir: ${JSON.stringify(dist)} })
${body}
await engine.close()`,
  )
  return succeed([process.execPath, path], { env: home.env, timeoutMs: 40_000 })
}

/** In the registry, and in no store. */
async function published(name: string): Promise<string> {
  const reference = `${registry.host}/${name}`
  await home.ok('tag', 'busybox', reference)
  await home.ok('push', '-q', reference)
  await home.ok('rmi', reference)
  return reference
}

describe('the library', () => {
  test('run() pulls an image that is not there, and tells how far it is', async () => {
    const image = await published('lib/run:1')
    await home.ok('rmi', 'busybox')

    const output = await program(`
      const told = new Set()
      const onProgress = event => told.add(event.kind === 'layer' ? event.state : event.kind)
      const spec = { image: '${image}', command: ['echo', 'hello'], networks: [{ network: 'none' }], autoRemove: true }
      const job = await engine.containers.run(spec, { onProgress })
      for await (const chunk of job.stdout) process.stdout.write(chunk)
      console.log(await job.wait(), [...told].join(' '))
      told.clear()
      await (await engine.containers.run(spec, { onProgress })).wait()
      console.log(told.size)`)

    expect(output).toBe('hello\n0 begin waiting downloading downloaded extracting complete\n0\n')
    expect((await imageEvents()).at(-1)).toBe(`pull ${image} ${image.replace(/:1$/, '')}`)
  })

  test("create() with pull: 'never' does not, with 'always' asks the registry for a newer one", async () => {
    const image = await published('lib/create:1')

    const output = await program(`
      const spec = { image: '${image}', networks: [{ network: 'none' }] }
      await engine.containers.create(spec, { pull: 'never' }).catch(error => console.log(error.code))
      console.log((await engine.containers.create(spec, { pull: 'always' })).image.reference)
      await engine.containers.create({ image: '${registry.host}/no/such' }).catch(error => console.log(error.kind))
      await engine.containers.create(spec, { pull: 'always', signal: AbortSignal.abort(new Error('no time')) })
        .catch(error => console.log(error.message))`)

    expect(output).toBe(`no-such-image\n${image}\nnot-found\nno time\n`)
  })
})
