// What `tsrun build` makes, seen by others: the same digest for the same context, skopeo and umoci as witnesses, what the cache
// keeps and gives back, stages side by side, the library.

import { chmodSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { build, built, inApp, writeContext } from '../helpers/build-context.ts'
import { execute, succeed } from '../helpers/command.ts'
import { listOrEmpty } from '../helpers/registry.ts'
import { dist, inWorld } from '../helpers/world.ts'

/** One line for each file: what it is, whose, since when and what is in it. */
const listTree = `find . -mindepth 1 -printf '%p %y %m %U %G %l' \\( -type d -printf '\\n' -o -printf ' %T@ %n' -type f -exec md5sum {} \\; -o -printf '\\n' \\) | sort`

describe('an image that was built', () => {
  test(
    'has the same digest wherever and whenever it is built, with SOURCE_DATE_EPOCH',
    inWorld(async world => {
      const dockerfile = `FROM busybox
WORKDIR /srv
COPY . .
RUN echo made > made && mkdir -p /etc/deep && ln -s made link && rm /etc/group
COPY --chown=5:6 <<EOF /srv/inline
text
EOF
`
      const ids: string[] = []
      for (const round of [1, 2]) {
        const folder = writeContext(
          world,
          { Dockerfile: dockerfile, 'd/b': 'b', 'd/a': 'a', z: 'z' },
          `context-${round}`,
        )
        chmodSync(join(folder, 'z'), 0o755)
        for (const file of ['z', 'd/a', 'd/b', 'd']) utimesSync(join(folder, file), 1e9 * round, 1.5e9 * round)
        const flags = [
          '--root',
          join(world.dir, `root-${round}`),
          'build',
          '-q',
          '--network',
          'none',
          '--no-cache',
          folder,
        ]
        ids.push(
          await world.ok([
            ...flags,
            ...(round === 1 ? ['--source-date-epoch', '1700000000'] : ['--build-arg', 'SOURCE_DATE_EPOCH=1700000000']),
          ]),
        )
      }

      expect(ids[1]).toBe(ids[0])
      const manifests = [1, 2].map(round => readdirSync(join(world.dir, `root-${round}/images/records`)).sort())
      expect(manifests[1]).toEqual(manifests[0])
    }),
  )

  test(
    'is what skopeo reads and umoci unpacks, file by file',
    inWorld(async world => {
      await built(
        world,
        `FROM busybox
RUN rm -r /var/spool /etc/group; mkdir -p /opt/a /usr/share/new; echo 1 > /opt/a/one; chmod 4711 /opt/a/one; chown 7:8 /opt/a/one; mknod /opt/p p
RUN ln /opt/a/one /opt/two; rm -r /opt/a && mkdir /opt/a && echo again > /opt/a/three; touch /etc/group
COPY --chmod=600 file "/srv/odd name/"
WORKDIR /made/here
ENV X=y
CMD ["sh"]
`,
        { files: { file: 'content' } },
      )
      const archive = join(world.dir, 'app.tar')
      const layout = join(world.dir, 'layout')
      mkdirSync(layout)
      await world.ok(['save', '-o', archive, 'app'])
      await succeed(['tar', '-xf', archive, '-C', layout])

      const { stdout } = await execute(['skopeo', 'inspect', '--config', `oci-archive:${archive}`])
      expect(JSON.parse(stdout).config).toMatchObject({ Cmd: ['sh'], WorkingDir: '/made/here' })
      expect(JSON.parse(stdout).history.at(-1)).toMatchObject({ created_by: 'CMD ["sh"]', empty_layer: true })
      await succeed(['skopeo', 'copy', '-q', `oci-archive:${archive}`, `oci:${join(world.dir, 'copied')}:app`])
      await succeed(['umoci', 'unpack', '--image', `${join(world.dir, 'copied')}:app`, join(world.dir, 'bundle')])
      const exported = join(world.dir, 'exported')
      mkdirSync(exported)
      await world.ok(['create', '--name', 'c', 'app'])
      await world.ok(['export', '-o', `${exported}.tar`, 'c'])
      await succeed(['tar', '-xpf', `${exported}.tar`, '-C', exported])
      const list = async (folder: string) => (await succeed(['sh', '-c', `cd ${folder} && ${listTree}`])).split('\n')

      const theirs = await list(join(world.dir, 'bundle/rootfs'))
      expect((await list(exported)).filter(line => !theirs.includes(line))).toEqual([])
      expect(
        theirs.filter(line => /^\.\/(opt|srv|made|etc\/group)/.test(line)).map(line => line.split(' ', 5).join(' ')),
      ).toEqual([
        './etc/group f 644 0 0',
        './made d 755 0 0',
        './made/here d 755 0 0',
        './opt d 755 0 0',
        './opt/a d 755 0 0',
        './opt/a/three f 644 0 0',
        './opt/p p 644 0 0',
        './opt/two f 711 7 8',
        './srv d 755 0 0',
        './srv/odd name d 755 0',
        './srv/odd name/file f 600 0',
      ])
    }),
  )
})

describe('the build cache', () => {
  test(
    'outlives its image and `image prune`, is seen by `system df`, and goes with `builder prune`',
    inWorld(async world => {
      const dockerfile = 'FROM busybox\nRUN --mount=type=cache,target=/c head -c 3000000 /dev/zero | tee /c/x > /big\n'
      await built(world, dockerfile)
      const layers = () => listOrEmpty(join(world.root, 'layers')).length
      expect(layers()).toBe(2)
      await world.ok(['rmi', 'app'])
      await world.ok(['image', 'prune', '-f'])
      expect(layers()).toBe(2)
      const df = await world.ok(['system', 'df', '--format', '{{.Type}} {{.TotalCount}} {{.Size}}'])
      expect(df).toMatch(/^Build Cache 2 6MB$/m)
      expect(await built(world, dockerfile)).toMatch(/CACHED/)
      expect(await inApp(world, 'wc -c < /big')).toBe('3000000')

      expect(await world.ok(['builder', 'prune', '-f', '--filter', 'until=1h'])).toContain('Deleted steps: 0')
      // What an image has stays cached, what none has goes.
      await world.ok(['system', 'prune', '-f'])
      expect(await built(world, dockerfile)).toMatch(/CACHED/)
      await world.ok(['rmi', 'app'])
      expect(await world.ok(['system', 'prune', '-f'])).toMatch(/Total reclaimed space: [3-9]/)
      expect(layers()).toBe(1)
      expect(await built(world, dockerfile)).not.toMatch(/CACHED/)
      await world.ok(['rmi', 'app'])
      const pruned = await world.ok(['builder', 'prune', '-f'])

      expect(pruned).toMatch(/Deleted steps: 1\nDeleted cache mounts: 1\nTotal reclaimed space: [69]/)
      expect(layers()).toBe(1)
      expect(await built(world, dockerfile)).not.toMatch(/CACHED/)
    }),
  )
})

describe('stages', () => {
  test(
    'that do not need each other run at once; cache mounts that are locked do not',
    inWorld(async world => {
      const meet = (own: string, other: string) =>
        `RUN --mount=type=cache,target=/c,id=meet touch /c/${own}; for i in $(seq 300); do [ -e /c/${other} ] && exit 0; sleep 0.1; done; exit 1\n`
      const locked =
        'RUN --mount=type=cache,target=/l,id=locked,sharing=locked [ ! -e /l/busy ] && touch /l/busy && sleep 0.3 && rm /l/busy && echo x >> /l/done; wc -l < /l/done > /n\n'
      const output = await built(
        world,
        `FROM busybox AS a
${meet('a', 'b')}${locked}FROM busybox AS b
${meet('b', 'a')}${locked.replace('RUN', 'RUN').replace('> /n', '> /m')}FROM busybox
COPY --from=a /n /n
COPY --from=1 /m /m
`,
      )

      expect(output).not.toMatch(/ERROR/)
      expect((await inApp(world, 'cat /n /m')).split('\n').sort()).toEqual(['1', '2'])
    }),
  )
})

describe('in a terminal', () => {
  test(
    'the steps that run are drawn in place, what they write gives the terminal no orders, and Ctrl-C ends them',
    inWorld(async world => {
      const folder = writeContext(world, {
        Dockerfile: 'FROM busybox\nRUN true\nRUN printf "\\033]0;title\\007shown\\033[31m red\\n"; sleep 1000\n',
      })
      const terminal = await world.terminal(['build', '-t', 'app', folder])
      await terminal.waitFor(/# shown red/)
      terminal.type('\x03')
      const { code, before, after } = await terminal.finished()

      expect(code).toBe(130)
      expect(after).toBe(before)
      const output = terminal.output()
      expect(output).toMatch(/=> \[2\/3\] RUN true {2}\d+\.\ds/)
      expect(output).toMatch(/=> \[3\/3\] RUN printf.* {2}\d+\.\ds/)
      expect(output).toMatch(/CANCELED/)
      expect(output).not.toContain('\x1b]0;')
      expect(output).not.toContain('\x1b[31m')
      expect(await world.ok(['ps', '-aq'])).toBe('')
    }),
  )
})

describe('engine.build()', () => {
  test(
    'tells what happens, ends with a signal, and throws what the command line says',
    inWorld(async world => {
      const folder = writeContext(world, {
        Dockerfile: 'FROM busybox\nARG A\nRUN echo "hello $A" && sleep $A\n',
        a: 'x',
      })
      symlinkSync('a', join(folder, 'b'))
      const script = join(world.dir, 'build.mjs')
      writeFileSync(
        script,
        `import { Engine } from '${dist}/lib/index.js'
const engine = await Engine.open()
const seen = []
const onEvent = event => seen.push(event.kind === 'output' ? event.bytes.toString() : event.kind === 'step' ? event.state : '')
const image = await engine.build({ context: '${folder}', tags: ['lib:1'], buildArgs: { A: '0' }, onEvent })
console.log(JSON.stringify({ names: image.names, seen: [...new Set(seen)].sort() }))
const failed = await engine.build({ context: '${folder}', dockerfile: 'FROM busybox\\nRUN exit 5\\n' }).catch(error => error)
console.log(failed.code, failed.kind, failed.message)
const stop = new AbortController()
const running = engine.build({ context: '${folder}', buildArgs: { A: '1000' }, signal: stop.signal,
  onEvent: event => event.kind === 'output' && stop.abort(new Error('enough')) })
console.log((await running.catch(error => error)).message)
console.log((await engine.containers.list({ all: true })).length)
await engine.close()
`,
      )

      const { stdout, stderr } = await execute(world.host.command(process.execPath, [script]), {
        env: world.env,
        timeoutMs: 60_000,
      })

      expect(stderr).toBe('')
      expect(stdout.trim().split('\n')).toEqual([
        JSON.stringify({ names: ['lib:1'], seen: ['done', 'hello 0\n', 'running'] }),
        'step-failed system "/bin/sh -c exit 5" did not complete successfully: exit code: 5',
        'enough',
        '0',
      ])
      expect((await build(world, 'FROM lib:1\n')).code).toBe(0)
    }),
  )
})
