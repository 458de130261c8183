// `tsrun build` when things go wrong or are meant to: failed and interrupted steps, contexts and images that lead elsewhere,
// mounts of steps.

import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { build, built, inApp, writeContext } from '../helpers/build-context.ts'
import { eventually, execute } from '../helpers/command.ts'
import { listOrEmpty } from '../helpers/registry.ts'
import { inWorld, type World } from '../helpers/world.ts'

/** Containers and work in progress that a build should not leave. */
async function remains(world: World): Promise<string[]> {
  const folders = [join(world.root, 'staging'), join(world.state, 'build')].flatMap(folder => listOrEmpty(folder))
  return [...folders, ...(await world.ok(['ps', '-aq'])).split('\n').filter(Boolean)]
}

describe('build fails well', () => {
  test(
    'shows the step, its exit code and its last lines, and leaves nothing',
    inWorld(async world => {
      const { code, stderr, stdout } = await build(
        world,
        'FROM busybox\nRUN touch /kept\nRUN for i in $(seq 20); do echo "line $i"; done; printf "no newline"; exit 3\n',
      )

      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/#\d+ ERROR: .*did not complete successfully: exit code: 3/)
      expect(stderr).toMatch(/------\n > \[3\/3\] RUN for i.*:\n[\s\S]*line 20\n[\s\S]*no newline\n------\ntsrun: /)
      expect(stderr.slice(stderr.indexOf('------'))).not.toContain('line 5\n')
      expect(await remains(world)).toEqual([])
      expect(await world.ok(['images', '-q', 'app'])).toBe('')
      // What went well is kept.
      expect((await build(world, 'FROM busybox\nRUN touch /kept\n')).stderr).toContain('CACHED')
    }),
  )

  test(
    'ends all stages when one fails, and with the signal when it is interrupted',
    inWorld(async world => {
      const slow = 'FROM busybox AS slow\nRUN sleep 1000\n'
      const failing = await build(
        world,
        `${slow}FROM busybox AS bad\nRUN sleep 0.3; exit 1\nFROM busybox\nCOPY --from=slow /x /x\nCOPY --from=bad /x /x\n`,
      )
      expect(failing).toMatchObject({ code: 1 })
      expect(failing.stderr).toMatch(/CANCELED/)
      expect(failing.stderr).toMatch(/tsrun: .*exit code: 1/)
      expect(await remains(world)).toEqual([])

      const folder = writeContext(world, { Dockerfile: `${slow}` })
      const running = world.start(['build', folder])
      await running.waitFor(/\[2\/2\] RUN sleep/)
      await eventually('the step runs', async () => (await world.ok(['ps', '-q'])) !== '')
      running.kill('SIGINT')
      expect((await running.result).code).toBe(130)
      expect(await remains(world)).toEqual([])
    }),
  )

  test(
    'a build that was killed takes its step along with the next build, and processes of a step die with it',
    inWorld(async world => {
      const folder = writeContext(world, { Dockerfile: 'FROM busybox\nRUN sleep 1000\n' })
      const running = world.start(['build', folder])
      await eventually('the step runs', async () => (await world.ok(['ps', '-q'])) !== '')
      running.kill('SIGKILL')
      await running.result

      await built(world, 'FROM busybox\nRUN (sleep 1000 >/dev/null 2>&1 &); (sleep 1000 &); echo made > /made\n')

      expect(await inApp(world, 'cat /made')).toBe('made')
      await eventually('nothing is left', async () => (await world.ok(['ps', '-aq'])) === '')
      await world.ok(['image', 'prune', '-f'])
      expect(await remains(world)).toEqual([])
    }),
  )

  test(
    'names file, line and what was expected, before anything runs',
    inWorld(async world => {
      const cases: [string, RegExp][] = [
        [
          'FROM busybox\nRUN touch /x\n\nRNU x\n',
          /Dockerfile:4: unknown instruction "RNU": expected RUN\n.*did you mean RUN/,
        ],
        ['FROM busybox\nCOPY only\n', /Dockerfile:2: COPY only: expected SOURCE\.\.\. DESTINATION/],
        ['RUN x\n', /Dockerfile:1: RUN before the first FROM/],
        ['FROM busybox\nRUN <<EOF\nx\n', /Dockerfile:2: the heredoc "EOF" has no end/],
        ['FROM busybox\nCOPY --form=x a b\n', /Dockerfile:2: COPY has no flag --form: expected --from/],
        ['FROM busybox\nENV A=$' + '{B\n', /Dockerfile:2: ENV: .*not closed/],
        ['FROM busybox\n\0\n', /Dockerfile:2: there is a NUL byte/],
        [
          'FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nCOPY --from=a / /\n',
          /need each other in a circle: b -> a -> b/,
        ],
        [`FROM busybox\n${'#'.repeat(5 << 20)}\n`, /larger than 4 MiB/],
      ]
      for (const [dockerfile, message] of cases) {
        const { code, stderr } = await build(world, dockerfile)
        expect(stderr).toMatch(message)
        expect(code).toBe(1)
      }
      expect(listOrEmpty(join(world.root, 'build/steps'))).toEqual([])
      expect((await build(world, 'FROM busybox\n', { flags: ['--target', 'nope'] })).stderr).toMatch(/no such stage/)

      const windows = '\uFEFFFROM busybox\r\nRUN echo a \\\r\n  # comment\r\n  b > /crlf\r\n'
      await built(world, windows)
      expect(await inApp(world, 'od -An -c /crlf')).toMatch(/^ +a +b +\\n$/)
    }),
  )
})

describe('build stays inside', () => {
  test(
    'of the context, whatever its links and names say',
    inWorld(async world => {
      const folder = writeContext(world, { 'dir/a': 'a', 'dir/new\nline': 'odd' })
      const secret = join(world.dir, 'secret')
      writeFileSync(secret, 'secret of the host')
      symlinkSync(secret, join(folder, 'file-link'))
      symlinkSync(world.dir, join(folder, 'folder-link'))
      symlinkSync('../../secret', join(folder, 'dir/up'))
      for (const source of ['file-link', 'folder-link/secret', 'dir/up'])
        expect((await build(world, `FROM busybox\nCOPY ${source} /x\n`)).stderr).toMatch(
          /Dockerfile:2: cannot copy ".*": it is not in the build context/,
        )
      for (const source of ['../secret', 'dir/../../secret'])
        expect((await build(world, `FROM busybox\nCOPY ${source} /x\n`)).stderr).toMatch(
          /it leads out of the build context/,
        )

      symlinkSync(secret, join(folder, 'Linked'))
      symlinkSync(secret, join(folder, 'Linked.dockerignore'))
      const linked = await world.tsrun(['build', '-f', join(folder, 'Linked'), folder])
      expect(linked.stderr).toMatch(/there is no file/)
      expect(linked.stderr).not.toContain('secret of the host')

      await built(world, 'FROM busybox\nCOPY . /all/\n')

      expect(await inApp(world, 'cat "/all/dir/new\nline"; readlink /all/dir/up; readlink /all/file-link')).toBe(
        `odd../../secret\n${secret}`,
      )
    }),
  )

  test(
    'of the image, whatever its links say',
    inWorld(async world => {
      const target = join(world.dir, 'outside')
      mkdirSync(target)
      writeContext(world, { file: 'written' })
      await built(
        world,
        `FROM busybox
RUN ln -s ${target} /absolute && ln -s ../../../../../../../../..${target} /relative && ln -s /proc/self/root /magic
RUN mkdir -p ${target}
COPY file /absolute/one
COPY file /relative/two
COPY --from=busybox /bin/true /absolute/bin/true
WORKDIR /absolute/work
ADD file sub/
`,
      )

      expect(readdirSync(target)).toEqual([])
      expect(await inApp(world, `ls ${target}`)).toBe('bin\none\ntwo\nwork')
      const magic = await build(world, 'FROM app\nCOPY file /magic/tmp/three\n')
      expect(magic.code).toBe(1)
    }),
  )
})

describe('RUN --mount', () => {
  test(
    'cache stays between builds, secrets and tmpfs are in no layer, what a bind is given is thrown away',
    inWorld(async world => {
      const dockerfile = `# syntax=docker/dockerfile:1
FROM busybox AS tools
RUN mkdir /out && echo from-stage > /out/file
FROM busybox
ARG ROUND
RUN --mount=type=cache,target=/cache,id=c,mode=0700 echo x >> /cache/log; wc -l < /cache/log > /count; stat -c %a /cache >> /count
RUN --mount=type=secret,id=s --mount=type=secret,id=e,env=TOKEN,target=/tok,mode=0444,uid=7 \\
    md5sum < /run/secrets/s > /sum; echo "$TOKEN" | md5sum >> /sum; stat -c '%a %u' /run/secrets/s /tok >> /sum
RUN --mount=type=tmpfs,target=/scratch/here,size=1m echo big > /scratch/here/file; df /scratch/here | tail -n 1 | cut -d' ' -f1 > /fs
RUN --mount=type=bind,target=/src,rw --mount=from=tools,source=/out,target=/tools \\
    cat /src/a /tools/file > /bound; echo changed > /src/a; echo new > /src/b; ls /src/ignored >> /bound 2>&1; ! touch /tools/x
`
      const files = { a: 'from-context\n', ignored: 'x', '.dockerignore': 'ignored\n' }
      writeFileSync(join(world.dir, 'token'), 'very-secret-value\n')
      const flags = (round: number) => [
        ...['--secret', `id=s,src=${join(world.dir, 'token')}`, '--secret', 'id=e,env=SECRET_IN_ENV'],
        ...['--build-arg', `ROUND=${round}`],
      ]
      const env = { ...process.env, ...world.env, SECRET_IN_ENV: 'other-secret-value' }
      const folder = writeContext(world, { Dockerfile: dockerfile, ...files })
      const run = (round: number) =>
        world.ok(['build', '-t', 'app', ...flags(round), folder], { env, timeoutMs: 60_000 })
      await run(1)
      expect(await inApp(world, 'cat /count')).toBe('1\n700')
      await run(2)

      expect(await inApp(world, 'cat /count')).toBe('2\n700')
      const sums = ['very-secret-value\n', 'other-secret-value\n'].map(input => execute(['md5sum'], { input }))
      const [first, second] = (await Promise.all(sums)).map(({ stdout }) => stdout.slice(0, 32))
      expect(await inApp(world, 'cat /sum')).toBe(`${first}  -\n${second}  -\n400 0\n444 7`)
      expect(await inApp(world, 'cat /fs; ls -A / | grep -E "^(cache|run|tok|scratch|src|tools)$"; true')).toBe('tmpfs')
      expect(await inApp(world, 'cat /bound')).toMatch(/^from-context\nfrom-stage\nls: \/src\/ignored: No such file/)
      expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('from-context\n')
      const { stdout } = await execute(['grep', '-rlE', 'very-secret|other-secret', world.root, world.state])
      expect(stdout).toBe('')
      writeContext(world, { Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=gone,required=true true\n' })
      expect((await world.tsrun(['build', folder])).stderr).toMatch(/Dockerfile:2: the step needs the secret "gone"/)
    }),
  )

  test(
    '--network=none has no network, and --network and --add-host are for all steps',
    inWorld(async world => {
      await built(
        world,
        'FROM busybox\nRUN --network=none ip -o link | wc -l > /none\nRUN ip -o link | wc -l > /default; grep special /etc/hosts | cut -f1 >> /default\n',
        { flags: ['--add-host', 'special:192.0.2.7'] },
      )
      expect(await inApp(world, 'cat /none /default')).toBe('1\n2\n192.0.2.7')
      await built(world, 'FROM busybox\nRUN ip -o link | wc -l > /all\n', { flags: ['--network', 'none'] })
      expect(await inApp(world, 'cat /all')).toBe('1')
    }),
  )
})
