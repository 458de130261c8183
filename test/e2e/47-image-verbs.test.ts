// What scripts and programs make of images: the events of each verb, and the library that pulls as `run` does.

import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
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

describe('rmi and prune', () => {
  test('rmi -f does not fail for what is not there, and says so', async () => {
    await home.ok('tag', 'busybox', 'there:1')
    const { code, stdout, stderr } = await home.tsrun(['rmi', '-f', '--no-prune', 'gone:1', 'there:1'])

    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('Untagged: there:1') })
    expect(stderr).toContain('no such image: "gone:1"')
    expect((await home.tsrun(['rmi', 'gone:1'])).code).toBe(1)
  })

  test('image prune goes by labels, and system prune too', async () => {
    const fs = join(home.dir, 'fs.tar')
    await home.ok('export', '-o', fs, await home.ok('create', '--name', 'c', '--net', 'none', 'busybox'))
    for (const name of ['one', 'two', 'none'])
      await home.ok('import', ...(name === 'none' ? [] : ['-c', `LABEL kind=${name}`]), '-m', name, fs, `${name}:1`)
    const left = async () => (await home.ok('images', '--format', '{{.Repository}}')).split('\n').sort().join(' ')

    await home.ok('image', 'prune', '-af', '--filter', 'label!=kind')
    expect(await left()).toBe('busybox one two')
    await home.ok('image', 'prune', '-af', '--filter', 'label=kind=one')
    expect(await left()).toBe('busybox two')
    await home.ok('system', 'prune', '-af', '--filter', 'label=kind=three')
    expect(await left()).toBe('busybox two')
    await home.ok('system', 'prune', '-af', '--filter', 'label=kind')
    expect(await left()).toBe('busybox')
    expect(await home.fails('image', 'prune', '--filter', 'colour=red')).toContain('until, label, label!')
  })

  test('prune tells of an image once, however its layers are kept', async () => {
    const name = `${registry.host}/twice:1`
    const fs = join(home.dir, 'fs.tar')
    await home.ok('export', '-o', fs, await home.ok('create', '--net', 'none', 'busybox'))
    const id = await home.ok('import', fs, name)
    // Keeps it compressed as well.
    await home.ok('push', '-q', name)

    expect((await home.ok('image', 'prune', '-af', '--filter', 'label!=x')).split(id)).toHaveLength(2)
  })
})

describe('save', () => {
  test('of a repository takes all of its tags', async () => {
    const other = new Home()
    for (const name of ['many:1', 'many:2', 'many2:3']) await home.ok('tag', 'busybox', name)
    await home.ok('save', '-o', join(home.dir, 'all.tar'), 'many')

    expect((await other.ok('load', '-i', join(home.dir, 'all.tar'))).split('\n').sort()).toEqual(
      ['many:1', 'many:2'].map(name => `Loaded image: ${name}`),
    )
    other.remove()
  })

  test('--format oci-dir makes a layout that skopeo and umoci read, and leaves nothing where it cannot', async () => {
    const layout = join(home.dir, 'layout')
    const fs = join(home.dir, 'fs.tar')
    await home.ok('export', '-o', fs, await home.ok('create', '--net', 'none', 'busybox'))
    await home.ok('import', fs, 'mine:1')
    await home.ok('import', '-m', 'other', fs, 'other:1')
    mkdirSync(layout)

    await home.ok('save', '--format', 'oci-dir', '-o', layout, 'busybox', 'mine:1', 'other:1')

    const names = ['docker.io/library/mine:1', 'docker.io/library/other:1', 'latest']
    expect((await succeed(['umoci', 'ls', '--layout', layout])).split('\n').filter(Boolean).sort()).toEqual(names)
    const { Digest } = JSON.parse(await succeed(['skopeo', 'inspect', `oci:${layout}:latest`]))
    expect(Digest).toBe(await home.ok('images', '--format', '{{.Digest}}', 'busybox'))
    const other = new Home()
    expect((await other.ok('load', '-i', layout)).split('\n')).toHaveLength(3)
    expect(await other.run('mine:1', '/bin/busybox', 'echo', 'hello')).toBe('hello')
    other.remove()
    const before = readdirSync(home.dir).sort()
    expect(await home.fails('save', '--format', 'oci-dir', '-o', layout, 'busybox')).toContain('no empty directory')
    expect(await home.fails('save', '--format', 'oci-dir', '-o', join(home.dir, 'x'), 'nope')).toContain(
      'no such image',
    )
    expect(await home.fails('save', '--format', 'oci-dir', 'busybox')).toContain('-o')
    expect(readdirSync(home.dir).sort()).toEqual(before)
  })
})

test('import says what the image is for, downloads nothing, and --change CMD outlives ENTRYPOINT', async () => {
  const fs = join(home.dir, 'fs.tar')
  await home.ok('export', '-o', fs, await home.ok('create', '--net', 'none', 'busybox'))

  await home.ok('import', '--platform', 'linux/arm64/v8', '-c', 'CMD ["a"]', '-c', 'ENTRYPOINT ["b"]', fs, 'arm:1')

  const format = '{{.Os}} {{.Architecture}} {{.Variant}} {{json .Config}}'
  expect(await home.ok('inspect', '-f', format, 'arm:1')).toBe('linux arm64 v8 {"Cmd":["a"],"Entrypoint":["b"]}')
  expect(await home.fails('import', 'https://example.test/fs.tar')).toContain('curl -fL https://example.test/fs.tar')
})

test('push -a of one tag is refused; history and images speak to programs', async () => {
  expect(await home.fails('push', '-a', 'busybox:1')).toContain('it names one')
  const [created, size, at] = (
    await home.ok('history', '--human=false', '--format', '{{.CreatedSince}} {{.Size}} {{.CreatedAt}}', 'busybox')
  ).split(' ')
  expect(created).toBe(at)
  expect(size).toMatch(/^\d{7}$/)
  const fields = await home.ok('images', '--format', '{{.CreatedAt}}|{{.SharedSize}}|{{.VirtualSize}}', 'busybox')
  expect(fields).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \S+\|N\/A\|\d\.\d+MB$/)
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
