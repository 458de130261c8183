// Flags of `tsrun build` that bring what was built elsewhere, or bring something in; and what only shows while it is built.

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { build, built, inApp, writeContext } from '../helpers/build-context.ts'
import { type Result, succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { Home, Registry } from '../helpers/registry.ts'
import { inWorld } from '../helpers/world.ts'

/** A build that failed, after whatever it told. */
function expectFailure({ code, stderr }: Result, reason: RegExp): void {
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(reason) })
}

describe('build --output', () => {
  test(
    'writes the files of the image into a folder, and follows no link out of it',
    inWorld(async world => {
      const [out, outside] = [join(world.dir, 'out'), join(world.dir, 'outside')]
      for (const folder of [out, outside]) mkdirSync(folder)
      writeFileSync(join(out, 'stays'), '')
      const dockerfile = `FROM busybox AS made
RUN mkdir -p /o/deep /o/linked && echo 1 > /o/deep/file && echo 2 > /o/linked/file && ln -s deep/file /o/link && chown 5:5 /o/link
FROM scratch
COPY --from=made --chmod=u=rwX,go=rX /o /
`
      await built(world, dockerfile, { flags: ['-o', out] })

      expect(readdirSync(out).sort()).toEqual(['deep', 'link', 'linked', 'stays'])
      expect(readFileSync(join(out, 'link'), 'utf8')).toBe('1\n')
      expect(statSync(join(out, 'deep/file')).uid).toBe(0)
      rmSync(join(out, 'linked'), { recursive: true })
      symlinkSync(outside, join(out, 'linked'))
      expectFailure(await build(world, dockerfile, { flags: ['-o', out] }), /cannot overwrite "linked"/)
      expect(readdirSync(outside)).toEqual([])
      expectFailure(await build(world, dockerfile, { flags: ['-o', join(out, 'stays')] }), /cannot write .*stays/)
    }),
  )

  test(
    'writes archives that tar and skopeo read, to a file or to standard output alone',
    inWorld(async world => {
      const folder = writeContext(world, { Dockerfile: 'FROM scratch\nCOPY a /x/\n', a: '1' })
      const [docker, oci] = ['docker.tar', 'oci.tar'].map(name => join(world.dir, name))

      await world.ok(['build', '-t', 'app:7', '-o', `type=docker,dest=${docker}`, folder])
      await world.ok(['build', '-t', 'app:7', '-o', `type=oci,dest=${oci}`, folder])
      const tar = await world.tsrun(['build', '-q', '-o', '-', folder])

      const config = JSON.parse(await succeed(['skopeo', 'inspect', '--config', `docker-archive:${docker}`]))
      expect(JSON.parse(await succeed(['skopeo', 'inspect', '--config', `oci-archive:${oci}:7`]))).toEqual(config)
      // Read as text, which a tar of names and ASCII survives.
      writeFileSync(join(world.dir, 'stdout.tar'), tar.stdout)
      expect(await succeed(['tar', '-tf', join(world.dir, 'stdout.tar')])).toBe('x/\nx/a\n')
      expect(tar.stdout).not.toContain('sha256:')
      expectError(await world.tsrun(['build', '-o', 'type=zip,dest=x', folder]), 1, /--output/)
      expectError(await world.tsrun(['build', '-o', 'type=local', folder]), 1, /dest=DIR/)
    }),
  )
})

test('build --push gives the image to the registries of all its names', async () => {
  const registry = await Registry.start()
  const home = new Home()
  const context = join(home.dir, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), 'FROM busybox\nLABEL a=b\n')
  const metadata = join(home.dir, 'metadata.json')
  const names = [1, 2].map(tag => `${registry.host}/app:${tag}`)

  const tags = names.flatMap(name => ['-t', name])
  const flags = ['--annotation', 'org.example/key=value', '--metadata-file', metadata]
  const id = await home.ok('build', '-q', '--push', ...flags, ...tags, context)

  expect(JSON.parse(readFileSync(metadata, 'utf8'))).toEqual({
    'containerimage.config.digest': id,
    'containerimage.digest': expect.stringMatching(/^sha256:/),
    'image.name': names.join(','),
  })
  for (const tag of ['1', '2']) {
    const { document } = await registry.manifest('app', tag)
    expect(document.config.digest).toBe(id)
    expect(document.annotations).toEqual({ 'org.example/key': 'value' })
  }
  expect(await home.fails('build', '--push', context)).toContain('without a name')
  home.remove()
  await registry.stop()
})

describe('build', () => {
  test(
    '--build-context takes files of another folder and gives FROM another image; steps have their limits',
    inWorld(async world => {
      const other = writeContext(world, { 'n.txt': 'named', secret: 's', '.dockerignore': 'secret\n' }, 'other')
      const dockerfile = `FROM base AS x
RUN --mount=type=bind,from=other,target=/m df -k /dev/shm | tail -1 && echo limit $(ulimit -n) && ls /m
RUN cat /proc/sys/kernel/random/uuid > /time
FROM busybox
COPY --from=other . /other/
COPY --from=x /time /
`
      const contexts = ['--build-context', `other=${other}`, '--build-context', 'base=docker-image://busybox']
      const flags = [...contexts, '--shm-size', '2m', '--ulimit', 'nofile=77:88', '--progress', 'plain']
      const told = await built(world, dockerfile, { flags })

      expect(told).toMatch(/ shm +2048 /)
      expect(told).toMatch(/ limit 77$/m)
      expect(told).not.toMatch(/ secret$/m)
      expect(await inApp(world, 'ls -A /other')).toBe('.dockerignore\nn.txt')
      const time = await inApp(world, 'cat /time')
      await built(world, dockerfile, { flags })
      expect(await inApp(world, 'cat /time')).toBe(time)
      await built(world, dockerfile, { flags: [...flags, '--no-cache-filter', 'X'] })
      expect(await inApp(world, 'cat /time')).not.toBe(time)
      expectFailure(
        await build(world, dockerfile, { flags: ['--build-context', `base=${other}`] }),
        /FROM base: --build-context makes a directory of it/,
      )
      expectFailure(
        await build(world, dockerfile, { flags: ['--build-context', 'other=https://x/y'] }),
        /directories and/,
      )
    }),
  )

  test(
    'ONBUILD COPY --from takes from a stage that nothing else needs, and a circle is an error, not a wait',
    inWorld(async world => {
      const folder = writeContext(world, { Dockerfile: 'FROM busybox\nONBUILD COPY --from=tools /tool /\n' }, 'parent')
      await world.ok(['build', '-q', '-t', 'parent', folder])

      await built(world, 'FROM busybox AS tools\nRUN echo tool > /tool\nFROM parent\n')
      expect(await inApp(world, 'cat /tool')).toBe('tool')
      expectFailure(await build(world, 'FROM parent AS tools\n'), /"tools" takes files from itself/)
      const circle = 'FROM parent AS own\nFROM busybox AS tools\nCOPY --from=own /etc/group /\n'
      expectFailure(await build(world, circle), /takes files from "\w+", which needs "\w+" itself/)
      expectFailure(
        await build(world, 'ARG S=a\nFROM busybox AS a\nFROM busybox\nARG S\nCOPY --from=$S /x /y\n'),
        /Dockerfile:5: COPY --from=\$S: there can be no variable/,
      )
    }),
  )

  test(
    'says why it does not have a flag of docker, and takes those that ask for nothing',
    inWorld(async world => {
      const folder = writeContext(world, { Dockerfile: 'FROM busybox\n' })
      const refused: [string[], RegExp][] = [
        [['--ssh', 'default'], /does not forward agents/],
        [['--allow', 'security.insecure'], /never privileged/],
        [['--builder', 'b'], /one builder/],
        [['--provenance=true'], /no attestations/],
        [['--platform', 'linux/amd64,linux/arm64'], /several platforms/],
        [['--progress', 'rawjson'], /--progress/],
      ]
      for (const [flags, reason] of refused) expectError(await world.tsrun(['build', ...flags, folder]), 1, reason)
      expectError(await world.tsrun(['build', 'github.com/a/b']), 1, /the context must be here/)

      const accepted = ['--rm', '--force-rm', '--provenance=false', '--sbom=false', '--cache-from', 'type=gha']
      const { code, stderr } = await world.tsrun(['build', ...accepted, '--load', folder])
      expect(code).toBe(0)
      expect(stderr).toContain('--cache-from not used')
      const quiet = await world.tsrun(['build', '--progress', 'quiet', folder])
      expect(quiet).toMatchObject({ stderr: '', stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) })
    }),
  )
})
