// The store: what load, save, import, commit, tag, rmi and prune leave on disk, also when many do it at once or one is killed.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { packDirectory } from '../../src/drivers/image/layer-packer.ts'
import { ImageService } from '../../src/engine/image/image-service.ts'
import type { ImageUser } from '../../src/engine/image/remove-image.ts'
import { archive, chunks, directory, file, sh, temporaryFolder, tree } from './image-fixtures.ts'

const embeddedDir = resolve('dist/images')
const bun = resolve('node_modules/@oven/bun-linux-x64/bin/bun')

beforeAll(() => {
  if (!existsSync(join(embeddedDir, 'busybox/index.json'))) execFileSync('scripts/build-image')
})

function service(
  root = temporaryFolder(),
  rest: Partial<ConstructorParameters<typeof ImageService>[0]> = {},
): ImageService {
  return new ImageService({ root, embeddedDir, ...rest })
}

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of source) parts.push(chunk)
  return Buffer.concat(parts)
}

/** What lies in the store, by kind. */
function content(root: string): { blobs: number; layers: number; records: number; staging: string[] } {
  const count = (path: string): number => readdirSync(join(root, path)).length
  return {
    blobs: count('images/blobs/sha256'),
    layers: count('layers'),
    records: count('images/records'),
    staging: readdirSync(join(root, 'staging')),
  }
}

const empty = { blobs: 0, layers: 0, records: 0, staging: [] }

describe('the embedded image', () => {
  test('comes into the store on first use, and by all of its names and ids', async () => {
    const root = temporaryFolder()
    const images = service(root)
    const image = await images.resolve('busybox')
    expect(image).toMatchObject({ reference: 'busybox:latest', config: { config: { Cmd: ['sh'] } } })
    expect(existsSync(join(image.layerDirs[0] ?? '', 'bin/sh'))).toBe(true)
    for (const name of ['docker.io/library/busybox:latest', image.id, image.id.slice(7), image.id.slice(7, 15)]) {
      expect((await images.resolve(name)).id).toBe(image.id)
    }
    expect(content(root)).toMatchObject({ layers: 1, records: 1, staging: [] })
  })

  test('is what the layout says, file by file, as umoci unpacks it', async () => {
    const root = temporaryFolder()
    const { layerDirs } = await service(root).resolve('busybox')
    sh(`umoci unpack --image ${embeddedDir}/busybox:latest bundle`, root)
    expect(tree(layerDirs[0] ?? '')).toEqual(tree(join(root, 'bundle/rootfs')))
  })

  test('is not found under other names, and the error says how to get it', async () => {
    for (const name of ['busybox:1.0', 'alpine', 'ghcr.io/busybox', 'me/busybox']) {
      await expect(service().resolve(name)).rejects.toMatchObject({
        kind: 'not-found',
        hint: expect.stringContaining('tsrun load -i'),
      })
    }
  })

  test('is unpacked again when its layer is gone, or was not yet on the disk when the machine went down', async () => {
    const root = temporaryFolder()
    const { layerDirs, manifestDigest } = await service(root).resolve('busybox')
    rmSync(join(layerDirs[0] ?? '', '..'), { recursive: true })
    await service(root).resolve('busybox')
    expect(existsSync(join(layerDirs[0] ?? '', 'bin/sh'))).toBe(true)

    // As after a power loss: another boot, and a file that lost its content.
    for (const path of [
      join(layerDirs[0] ?? '', '../layer.json'),
      join(root, 'images/records', `${manifestDigest.slice(7)}.json`),
    ]) {
      writeFileSync(path, readFileSync(path, 'utf8').replace(/"bootId": "[^"]*"/, '"bootId": "earlier"'))
    }
    writeFileSync(join(layerDirs[0] ?? '', 'etc/passwd'), '')
    await service(root).resolve('busybox')
    expect(readFileSync(join(layerDirs[0] ?? '', 'etc/passwd'), 'utf8')).toContain('root:x:0')
    expect(content(root).staging).toEqual([])
  })

  test('is not there where its record or its name is damaged; who looks moves nothing, since another may be writing them anew', async () => {
    const root = temporaryFolder()
    const { manifestDigest } = await service(root).resolve('busybox')
    const files = [`records/${manifestDigest.slice(7)}.json`, 'names/docker.io+library+busybox/latest']
    for (const file of files) truncateSync(join(root, 'images', file))

    expect(await service(root).list()).toEqual([])
    for (const file of files) expect(statSync(join(root, 'images', file)).size).toBe(0)
    await service(root).resolve('busybox')
    expect(await service(root).list()).toHaveLength(1)
  })

  test('is not unpacked again once it is settled', async () => {
    const root = temporaryFolder()
    const images = service(root)
    const { layerDirs, manifestDigest } = await images.resolve('busybox')
    await images.settle()
    const record = join(root, 'images/records', `${manifestDigest.slice(7)}.json`)
    expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({ isSettled: true })
    writeFileSync(record, readFileSync(record, 'utf8').replace(/"bootId": "[^"]*"/, '"bootId": "earlier"'))
    writeFileSync(join(layerDirs[0] ?? '', 'mark'), '')
    await images.resolve('busybox')
    expect(existsSync(join(layerDirs[0] ?? '', 'mark'))).toBe(true)
  })

  test('is looked up in well under half a millisecond', async () => {
    const images = service()
    await images.resolve('busybox')
    const start = performance.now()
    for (let i = 0; i < 200; i++) await images.resolve('busybox')
    expect((performance.now() - start) / 200).toBeLessThan(0.5)
  })
})

describe('load and save', () => {
  test.each(['docker-archive', 'oci-archive'] as const)(
    'a saved %s is loaded as it was, from a file, a pipe and compressed',
    async format => {
      const one = service()
      await one.tag('busybox', 'example.com:5000/me/tool:1')
      const { id } = await one.resolve('busybox')
      const bytes = await collect(one.save(['busybox', 'example.com:5000/me/tool:1'], format))
      expect((await collect(one.save(['busybox', 'example.com:5000/me/tool:1'], format))).equals(bytes)).toBe(true)
      const folder = temporaryFolder()
      writeFileSync(join(folder, 'a.tar'), bytes)
      for (const source of [join(folder, 'a.tar'), chunks(bytes), Readable.from(chunks(gzipSync(bytes)))]) {
        const root = temporaryFolder()
        const other = new ImageService({ root })
        const loaded = await other.load(source as string)
        expect(new Set(loaded.flatMap(image => image.names))).toEqual(
          new Set(['busybox:latest', 'example.com:5000/me/tool:1']),
        )
        expect(await other.resolve('busybox')).toMatchObject({ id })
        expect(content(root)).toEqual({ blobs: 3, layers: 1, records: 1, staging: [] })
      }
    },
  )

  test('skopeo reads what is saved, and what skopeo writes is loaded', async () => {
    const folder = temporaryFolder()
    const images = service()
    const { id } = await images.resolve('busybox')
    for (const format of ['docker-archive', 'oci-archive'] as const) {
      writeFileSync(join(folder, `${format}.tar`), await collect(images.save(['busybox'], format)))
      const inspected = JSON.parse(sh(`skopeo inspect --config ${format}:${format}.tar`, folder))
      expect(inspected).toMatchObject({ os: 'linux', config: { Cmd: ['sh'] } })
    }
    sh('skopeo copy docker-archive:docker-archive.tar docker-archive:theirs.tar:busybox:copy', folder)
    sh('skopeo copy docker-archive:docker-archive.tar oci-archive:theirs-oci.tar:copy', folder)
    sh('skopeo copy oci-archive:oci-archive.tar oci:layout:copy', folder)
    const other = new ImageService({ root: join(folder, 'root') })
    expect(await other.load(join(folder, 'theirs.tar'))).toEqual([{ id, names: ['busybox:copy'] }])
    expect(await other.load(join(folder, 'theirs-oci.tar'))).toMatchObject([{ names: [] }])
    expect(await other.load(join(folder, 'layout'))).toMatchObject([{ id }])
    const { layerDirs } = await other.resolve('busybox:copy')
    expect(tree(layerDirs[0] ?? '')).toEqual(tree((await images.resolve('busybox')).layerDirs[0] ?? ''))
  })

  test('the store itself is a layout that skopeo reads', async () => {
    const root = temporaryFolder()
    await service(root).tag('busybox', 'me/tool')
    expect(sh(`skopeo inspect oci:${root}/images:me/tool:latest`)).toContain('"Architecture"')
  })

  test('an old docker archive with linked layers is loaded, one layer twice', async () => {
    const layer = archive(directory('d'), file('d/f'))
    const second = archive(file('d/g'))
    const { createHash } = await import('node:crypto')
    const digest = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    const config = JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['x'] },
      rootfs: { type: 'layers', diff_ids: [layer, second, layer].map(digest) },
    })
    const bytes = archive(
      directory('one'),
      file('one/layer.tar', layer as never),
      directory('two'),
      file('two/layer.tar', second as never),
      { type: 'symlink', name: 'three/layer.tar', linkName: '../one/layer.tar' },
      file('config.json', config),
      file(
        'manifest.json',
        JSON.stringify([
          { Config: 'config.json', RepoTags: ['old:1'], Layers: ['one/layer.tar', 'two/layer.tar', 'three/layer.tar'] },
        ]),
      ),
    )
    const root = temporaryFolder()
    const images = service(root)
    expect(await images.load(chunks(bytes))).toMatchObject([{ names: ['old:1'] }])
    expect((await images.resolve('old:1')).layerDirs).toHaveLength(3)
    expect((await images.history('old:1')).map(line => line.id)).toEqual([
      expect.stringMatching(/^sha256/),
      '<missing>',
      '<missing>',
    ])
  })

  test.each([
    ['a root file system', () => archive(file('etc/passwd')), /no image.*neither/],
    ['a text', () => Buffer.from('hello'.repeat(1000)), /checksum|octal/],
    [
      'a digest that leads out',
      () =>
        archive(
          file('oci-layout', '{}'),
          file(
            'index.json',
            JSON.stringify({
              manifests: [
                { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: 'sha256:../../x', size: 1 },
              ],
            }),
          ),
        ),
      /digest/,
    ],
    [
      'a manifest that names what is not there',
      () => archive(file('manifest.json', JSON.stringify([{ Config: 'a.json', Layers: ['l.tar'] }]))),
      /lacks "l.tar"/,
    ],
    ['a manifest of another kind', () => archive(file('manifest.json', '{}')), /not a list/],
  ])('%s is refused, and leaves nothing', async (_, bytes, message) => {
    const root = temporaryFolder()
    await expect(service(root).load(chunks(bytes()))).rejects.toThrow(message)
    expect(content(root)).toEqual(empty)
  })

  test('a layer that is not what the config says is refused, and leaves nothing that prune does not take', async () => {
    const folder = temporaryFolder()
    cpSync(join(embeddedDir, 'busybox'), join(folder, 'layout'), { recursive: true })
    const blobs = join(folder, 'layout/blobs/sha256')
    const index = JSON.parse(readFileSync(join(folder, 'layout/index.json'), 'utf8'))
    const manifest = JSON.parse(readFileSync(join(blobs, index.manifests[0].digest.slice(7)), 'utf8'))
    const layer = join(blobs, manifest.layers[0].digest.slice(7))
    const bytes = readFileSync(layer)
    bytes[5000] = (bytes[5000] ?? 0) ^ 1
    writeFileSync(layer, bytes)
    const root = join(folder, 'root')
    const images = new ImageService({ root })
    await expect(images.load(join(folder, 'layout'))).rejects.toMatchObject({ code: 'digest-mismatch' })
    await expect(images.resolve('busybox')).rejects.toMatchObject({ kind: 'not-found' })
    await images.prune()
    expect(content(root)).toEqual(empty)
  })
})

describe('import, commit, export', () => {
  test('an imported root file system runs with what --change says', async () => {
    const images = service()
    const bytes = gzipSync(archive(directory('etc'), file('etc/hostname', 'x')))
    await images.import(chunks(bytes), {
      reference: 'mine:1',
      changes: ['CMD ["sh", "-c", "x"]', 'ENV A=1 B="two words"', 'EXPOSE 80', 'WORKDIR /srv', 'LABEL a=b'],
      message: 'note',
    })
    expect(await images.inspect('mine:1')).toMatchObject({
      RepoTags: ['mine:1'],
      Comment: 'note',
      Config: {
        Cmd: ['sh', '-c', 'x'],
        Env: ['A=1', 'B=two words'],
        ExposedPorts: { '80/tcp': {} },
        WorkingDir: '/srv',
        Labels: { a: 'b' },
      },
    })
    await expect(images.import(chunks(bytes), { changes: ['RUN x'] })).rejects.toMatchObject({ kind: 'invalid' })
  })

  test('what a container changed in its overlay is a layer, and umoci unpacks the same tree', async () => {
    const root = temporaryFolder()
    const images = service(root)
    const { layerDirs } = await images.resolve('busybox')
    sh(
      'mkdir upper work merged && mount -t overlay o -o lowerdir=$LOWER,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off merged'.replace(
        '$LOWER',
        layerDirs[0] ?? '',
      ),
      root,
    )
    try {
      sh(
        'echo new > etc/passwd; rm -r var/spool; mkdir var/spool; touch var/spool/x; rm etc/group; ln bin/cat bin/mine; mknod dev/n c 1 3; chmod 1770 tmp; ln -s x root/l; mkfifo p; chown 5:6 home',
        join(root, 'merged'),
      )
      const { id } = await images.commit({
        base: 'busybox',
        layer: packDirectory(join(root, 'upper'), { kind: 'upper' }),
        reference: 'changed',
        changes: ['CMD x'],
      })
      const bytes = await collect(images.save(['changed'], 'oci-archive'))
      writeFileSync(join(root, 'a.tar'), bytes)
      sh('skopeo copy oci-archive:a.tar oci:layout:changed && umoci unpack --image layout:changed bundle', root)
      const format = '%P %y %m %U %G %s %l'
      expect(tree(join(root, 'bundle/rootfs'), format)).toEqual(tree(join(root, 'merged'), format))

      const other = new ImageService({ root: join(root, 'other') })
      await other.load(chunks(bytes))
      const image = await other.resolve('changed')
      expect(image.id).toBe(id)
      sh(`mkdir view && mount -t overlay o -o lowerdir=${image.layerDirs.join(':')} view`, root)
      try {
        expect(tree(join(root, 'view'), format)).toEqual(tree(join(root, 'merged'), format))
      } finally {
        sh('umount view', root)
      }
      sh('mkdir exported', root)
      execFileSync('tar', ['-xpf', '-', '-C', join(root, 'exported')], {
        input: await collect(images.export(join(root, 'merged'))),
      })
      expect(tree(join(root, 'exported'), format)).toEqual(tree(join(root, 'merged'), format))
      expect(sh('stat -c %h bin/cat bin/mine', join(root, 'exported'))).toBe('2\n2\n')
    } finally {
      sh('umount merged', root)
    }
  })
})

describe('tag, rmi and prune', () => {
  test('a name is removed, the image with its last one, and nothing stays', async () => {
    const root = temporaryFolder()
    const images = service(root)
    await images.tag('busybox', 'me/a:1')
    await images.tag('me/a:1', 'me/a:2')
    expect((await images.list()).map(line => `${line.repository}:${line.tag}`).sort()).toEqual([
      'busybox:latest',
      'me/a:1',
      'me/a:2',
    ])
    expect(await images.remove('busybox')).toMatchObject({ untagged: ['busybox:latest'], deleted: [] })
    const { id } = await images.resolve('me/a:1')
    const removed = await images.remove(id.slice(7, 19))
    expect(removed).toMatchObject({ untagged: ['me/a:1', 'me/a:2'], deleted: [id, expect.any(String)] })
    expect(removed.reclaimedBytes).toBeGreaterThan(2_000_000)
    expect(content(root)).toEqual(empty)
    await expect(images.remove('me/a:1')).rejects.toMatchObject({ kind: 'not-found' })
  })

  test('an id with names in several repositories needs force', async () => {
    const images = service()
    await images.tag('busybox', 'other')
    const { id } = await images.resolve('busybox')
    await expect(images.remove(id)).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('busybox, other'),
    })
    expect((await images.remove(id, { force: true })).untagged).toEqual(['busybox:latest', 'other:latest'])
  })

  test('a container keeps its image, by name in the error; force takes the name but not the layers', async () => {
    const root = temporaryFolder()
    const users: ImageUser[] = []
    const layers = new Set<string>()
    const images = service(root, { users: async () => users, layersInUse: async () => layers })
    const image = await images.resolve('busybox')
    users.push({ name: 'web', imageId: image.id, isRunning: true })
    for (const directory of image.layerDirs) layers.add(directory)
    await expect(images.remove('busybox', { force: true })).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('"web"'),
    })
    expect((await images.prune({ all: true })).deleted).toEqual([])
    users[0] = { name: 'web', imageId: image.id, isRunning: false }
    await expect(images.remove('busybox')).rejects.toMatchObject({
      kind: 'conflict',
      hint: expect.stringContaining('--force'),
    })
    await images.remove('busybox', { force: true })
    expect(existsSync(join(image.layerDirs[0] ?? '', 'bin/sh'))).toBe(true)
    layers.clear()
    await images.prune()
    expect(content(root)).toEqual(empty)
  })

  test('prune takes what has no name, and with all what has no container', async () => {
    const root = temporaryFolder()
    const images = service(root)
    const { id } = await images.import(chunks(archive(file('a'))), { reference: 'x' })
    await images.import(chunks(archive(file('b'))), { reference: 'x' })
    expect((await images.list()).map(line => line.repository)).toContain('<none>')
    expect((await images.prune()).deleted).toContain(id)
    expect(await images.diskUsage()).toMatchObject({ images: 1, active: 0 })
    await images.prune({ all: true })
    expect(content(root)).toEqual(empty)
    expect(await images.diskUsage()).toMatchObject({ images: 0, totalBytes: 0 })
  })

  test('a beginning of several ids is an error that lists them', async () => {
    const images = service()
    for (let i = 0; i < 17; i++) await images.import(chunks(archive(file(`f${i}`))))
    const first = (await images.list()).map(line => line.shortId.slice(0, 1))
    const twice = first.find((digit, index) => first.indexOf(digit) !== index) ?? ''
    await expect(images.inspect(`sha256:${twice}`)).rejects.toMatchObject({ kind: 'conflict', code: 'ambiguous-id' })
  })
})

describe('at the same time', () => {
  test('removal waits for who is about to use the image', async () => {
    const root = temporaryFolder()
    const used = new Set<string>()
    const images = service(root, { layersInUse: async () => used })
    await images.resolve('busybox')
    let removal: Promise<unknown> = Promise.resolve()
    const image = await images.use('busybox', async resolved => {
      removal = images.remove('busybox')
      await new Promise(wake => setTimeout(wake, 100))
      expect(existsSync(join(resolved.layerDirs[0] ?? '', 'bin/sh'))).toBe(true)
      for (const directory of resolved.layerDirs) used.add(directory)
      return resolved
    })
    await removal
    expect(existsSync(join(image.layerDirs[0] ?? '', 'bin/sh'))).toBe(true)
    expect(await images.list()).toEqual([])
  })

  test('many processes load, use and remove one image, and each finds it whole', async () => {
    const root = temporaryFolder()
    const script = `
      import { ImageService } from ${JSON.stringify(resolve('src/engine/image/image-service.ts'))}
      import { existsSync } from 'node:fs'
      const images = new ImageService({ root: process.argv[2], embeddedDir: ${JSON.stringify(embeddedDir)} })
      for (let i = 0; i < 15; i++) {
        await images.use('busybox', async image => {
          if (!existsSync(image.layerDirs[0] + '/etc/passwd') || !existsSync(image.layerDirs[0] + '/bin/zcat')) throw new Error('a hole')
        })
        if (process.argv[3] === 'remove') await images.remove('busybox').catch(error => { if (error.kind !== 'not-found') throw error })
        if (process.argv[3] === 'prune') await images.prune({ all: true })
      }`
    const path = join(root, 'worker.ts')
    writeFileSync(path, script)
    const store = join(root, 'store')
    mkdirSync(store)
    const workers = ['use', 'remove', 'use', 'prune', 'remove', 'use'].map(what => {
      const child = spawn(bun, [path, store, what], { stdio: ['ignore', 'inherit', 'pipe'] })
      const errors = collect(child.stderr)
      return once(child, 'exit').then(async ([code]) => ({ code, stderr: (await errors).toString() }))
    })
    for (const worker of workers) expect(await worker).toEqual({ code: 0, stderr: '' })
    await new ImageService({ root: store }).prune({ all: true })
    expect(content(store)).toEqual(empty)
  }, 60_000)

  test.each([
    'image blob',
    'image layer',
    'image record',
    'image name',
    'image blob removed',
    'image layer removed',
    'image record removed',
    'image name removed',
  ])('a process killed at "%s" leaves a store that works and cleans itself', async step => {
    const root = temporaryFolder()
    const path = join(root, 'worker.ts')
    const store = join(root, 'store')
    writeFileSync(
      path,
      `import { ImageService } from ${JSON.stringify(resolve('src/engine/image/image-service.ts'))}
         const images = new ImageService({ root: ${JSON.stringify(store)}, embeddedDir: ${JSON.stringify(embeddedDir)} })
         await images.resolve('busybox'); await images.remove('busybox')`,
    )
    const child = spawn(bun, [path], { env: { ...process.env, TSRUN_FAULT: `${step}:kill` }, stdio: 'ignore' })
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
    const images = service(store)
    const { layerDirs } = await images.resolve('busybox')
    expect(readdirSync(join(layerDirs[0] ?? '', 'bin')).length).toBeGreaterThan(200)
    await images.prune()
    expect(content(store)).toEqual({ blobs: 3, layers: 1, records: 1, staging: [] })
    await images.remove('busybox')
    expect(content(store)).toEqual(empty)
  })
})
