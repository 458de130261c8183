// `tsrun build`: the Dockerfile language as it is commonly written.

import { chmodSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { build, built, inApp, writeContext } from '../helpers/build-context.ts'
import { execute } from '../helpers/command.ts'
import { inWorld } from '../helpers/world.ts'

describe('build', () => {
  test(
    'makes an image of several stages, with what each instruction says in its config',
    inWorld(async world => {
      const output = await built(
        world,
        `# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS builder
ARG VERSION=1
WORKDIR /work
COPY src/ src/
RUN echo "built $VERSION" > out && \\
    # a comment in the middle

    cat src/x >> out
FROM busybox AS unneeded
RUN exit 7
FROM $BASE
LABEL org.example.a="one two" b=three
ENV A=1 B="two words"
ENV C=\${A}-\${MISSING:-none}-\${A:+set}
EXPOSE 80 53/udp 8000-8001
VOLUME ["/data", "/more"]
USER 1000:1000
WORKDIR /srv
WORKDIR sub
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1m30s --retries=2 CMD true
SHELL ["/bin/sh", "-ec"]
COPY --from=builder --chown=2000:3000 --chmod=640 /work/out /srv/out
ENTRYPOINT ["cat"]
CMD ["/srv/out"]
MAINTAINER somebody
`,
        { files: { 'src/x': 'from the context\n' }, flags: ['--build-arg', 'VERSION=2', '--label', 'late=yes'] },
      )

      expect(output).toMatch(/^#\d+ \[builder 4\/4\] RUN echo/m)
      expect(output).not.toContain('exit 7')
      const [image] = await world.json(['image', 'inspect', 'app'])
      expect(image.Author).toBe('somebody')
      expect(image.Config).toMatchObject({
        Cmd: ['/srv/out'],
        Entrypoint: ['cat'],
        ExposedPorts: { '53/udp': {}, '80/tcp': {}, '8000/tcp': {}, '8001/tcp': {} },
        Healthcheck: { Interval: 90e9, Retries: 2, Test: ['CMD-SHELL', 'true'] },
        Labels: { 'org.example.a': 'one two', b: 'three', late: 'yes' },
        Shell: ['/bin/sh', '-ec'],
        StopSignal: 'SIGINT',
        User: '1000:1000',
        Volumes: { '/data': {}, '/more': {} },
        WorkingDir: '/srv/sub',
      })
      expect(image.Config.Env).toEqual(expect.arrayContaining(['A=1', 'B=two words', 'C=1-none-set']))
      expect(await world.ok(['run', '--rm', '--user', '0', 'app'])).toBe('built 2\nfrom the context')
      expect(await inApp(world, 'stat -c "%u:%g %a %n" /srv /srv/sub /srv/out; pwd')).toBe(
        '0:0 755 /srv\n1000:1000 755 /srv/sub\n2000:3000 640 /srv/out\n/srv/sub'.replace(
          '0:0 755 /srv\n',
          '1000:1000 755 /srv\n',
        ),
      )
      expect(await world.ok(['history', '--format', '{{.CreatedBy}}', 'app'])).toContain('COPY --from=builder')
    }),
  )

  test(
    'takes every step from the cache that nothing has changed, and runs the others again',
    inWorld(async world => {
      const dockerfile = `FROM busybox
RUN head -c 16 /dev/urandom > /first
COPY a /a
RUN head -c 16 /dev/urandom > /second
ENV LATE=1
`
      await built(world, dockerfile, { files: { a: 'one', b: 'not copied' } })
      const [first] = await world.json(['image', 'inspect', 'app'])
      const sums = await inApp(world, 'cd /; cat first second | md5sum')

      const again = await built(world, dockerfile, { files: { a: 'one', b: 'changed' } })
      expect(again.match(/CACHED/g)).toHaveLength(3)
      expect((await world.json(['image', 'inspect', 'app']))[0].Id).toBe(first.Id)

      // A later time, and a mode that says the same.
      await execute(['touch', join(world.dir, 'context/a')])
      expect((await built(world, dockerfile)).match(/CACHED/g)).toHaveLength(3)
      chmodSync(join(world.dir, 'context/a'), 0o755)
      expect((await built(world, dockerfile)).match(/CACHED/g)).toHaveLength(1)

      expect((await built(world, dockerfile, { flags: ['--no-cache'] })).match(/CACHED/g)).toBeNull()
      expect(await inApp(world, 'cd /; cat first second | md5sum')).not.toBe(sums)
      // Only ARGs that the step can see count.
      const withArgument = dockerfile.replace('COPY', 'ARG X\nCOPY').replace('RUN head', 'RUN : ; head')
      await built(world, withArgument, { flags: ['--build-arg', 'X=1'] })
      const other = await built(world, withArgument, { flags: ['--build-arg', 'X=2'] })
      expect(other.match(/CACHED/g)).toHaveLength(2)
    }),
  )

  test(
    'runs heredocs: by the shell, by the interpreter they name, and as files',
    inWorld(async world => {
      await built(
        world,
        `FROM busybox
ARG WHO=world
RUN <<EOF
echo "hello $WHO" > /shell
echo two >> /shell
EOF
RUN <<SCRIPT
#!/bin/cat
line of a script
SCRIPT
RUN cat <<'EOF' > /quoted && cat <<-TABS >> /quoted
keeps $WHO
EOF
	no tab
	TABS
COPY <<ONE <<"TWO" /files/
is $WHO
ONE
is $WHO
TWO
RUN ["sh", "-c", "echo exec form > /exec"]
`,
      )

      const output = await inApp(world, 'cat /shell /quoted /files/ONE /files/TWO /exec; ls /dev/pipes 2>&1 || true')
      expect(output.split('\n').slice(0, 7)).toEqual([
        'hello world',
        'two',
        'keeps $WHO',
        'no tab',
        'is world',
        'is $WHO',
        'exec form',
      ])
      expect(output).toContain('No such file')
    }),
  )

  test(
    'copies as docker does: contents of directories, globs, links, owners, what .dockerignore leaves',
    inWorld(async world => {
      const folder = writeContext(world, {
        'dir/one.txt': '1',
        'dir/two.md': '2',
        'dir/deep/three.txt': '3',
        'secret.txt': 'secret',
        'node_modules/a/b.js': 'x',
        'node_modules/keep/c.js': 'kept',
        '.dockerignore': '# comment\nsecret.txt\nnode_modules\n!node_modules/keep\n**/*.md\n',
      })
      symlinkSync('one.txt', join(folder, 'dir/link'))
      writeFileSync(join(folder, 'dir/exec'), '#!/bin/sh\n')
      chmodSync(join(folder, 'dir/exec'), 0o4755)
      await built(
        world,
        `FROM busybox
RUN mkdir /real && ln -s /real /linked && echo "app:x:500:600::/:" >> /etc/passwd
COPY dir /whole
COPY dir/*.txt dir/[e]xec /some/
COPY dir/link /alone
COPY dir/one.txt /linked/
COPY --chown=app dir/one.txt /new/folder/file
COPY . /all/
COPY --exclude=deep dir /less
COPY --parents dir/deep/three.txt /p/
`,
      )

      expect(
        (await inApp(world, 'cd /; find whole some alone real linked/ new all less p | sort')).split('\n'),
      ).toEqual(
        [
          ...[
            'alone',
            'all',
            'all/.dockerignore',
            'all/Dockerfile',
            'all/dir',
            'all/dir/deep',
            'all/dir/deep/three.txt',
          ],
          ...['all/dir/exec', 'all/dir/link', 'all/dir/one.txt', 'all/node_modules', 'all/node_modules/keep'],
          ...['all/node_modules/keep/c.js', 'less', 'less/exec', 'less/link', 'less/one.txt'],
          ...['linked/', 'linked/one.txt', 'new', 'new/folder', 'new/folder/file'],
          ...['p', 'p/dir', 'p/dir/deep', 'p/dir/deep/three.txt', 'real', 'real/one.txt', 'some', 'some/exec'],
          ...[
            'some/one.txt',
            'whole',
            'whole/deep',
            'whole/deep/three.txt',
            'whole/exec',
            'whole/link',
            'whole/one.txt',
          ],
        ].sort(),
      )
      expect(
        await inApp(
          world,
          'cat /alone; readlink /whole/link; stat -c "%U %g %a" /new/folder /new/folder/file /some/exec',
        ),
      ).toBe('1one.txt\napp 600 755\napp 600 644\nroot 0 4755')
    }),
  )

  test(
    'unpacks local archives for ADD, and wants to know what a download is',
    inWorld(async world => {
      const folder = writeContext(world, { 'a/file': 'in the archive', 'plain.gz': 'not gzip at all' })
      await execute(['tar', '-czf', join(folder, 'a.tgz'), '-C', join(folder, 'a'), 'file'])
      await world.outside.start('sh', [
        '-c',
        `mkdir -p ${world.dir}/www && printf downloaded > ${world.dir}/www/file.txt && exec busybox httpd -f -p 203.0.113.10:80 -h ${world.dir}/www`,
      ])
      const sum = (await execute(['sha256sum'], { input: 'downloaded' })).stdout.slice(0, 64)
      const add = (flag: string) =>
        `FROM busybox\nADD a.tgz plain.gz /x/\nADD ${flag} http://203.0.113.10/file.txt /y/\n`

      const refused = await build(world, add(''))
      expect(refused).toMatchObject({ code: 1 })
      expect(refused.stderr).toMatch(/Dockerfile:3: ADD http.*must be known[\s\S]*hint: say what it is: ADD --checksum/)
      const wrong = await build(world, add(`--checksum=sha256:${'0'.repeat(64)}`))
      expect(wrong.stderr).toMatch(/is not what --checksum says: it is sha256:/)
      await built(world, add(`--checksum=sha256:${sum}`))

      expect(await inApp(world, 'cat /x/file /x/plain.gz /y/file.txt; stat -c " %a" /y/file.txt')).toBe(
        'in the archivenot gzip at alldownloaded 600',
      )
    }),
  )

  test(
    'does what the base image asks for with ONBUILD, and begins from scratch',
    inWorld(async world => {
      await built(world, 'FROM busybox\nONBUILD COPY a /a\nONBUILD RUN echo ran > /ran\n')
      await world.ok(['tag', 'app', 'base'])
      await built(world, 'FROM base\n', { files: { a: 'context' } })
      expect(await inApp(world, 'cat /a /ran')).toBe('contextran')
      expect((await world.json(['image', 'inspect', 'app']))[0].Config.OnBuild).toBeUndefined()

      await built(world, 'FROM scratch\nCOPY --from=busybox /bin /bin\nRUN ["/bin/busybox", "touch", "/made"]\n')
      // Nothing of what the step's mounts needed is in its layer.
      await world.ok(['create', '--name', 'c', 'app', 'x'])
      await world.ok(['export', '-o', join(world.dir, 'c.tar'), 'c'])
      const { stdout } = await execute(['tar', '-tf', join(world.dir, 'c.tar')])
      expect(stdout.split('\n').filter(name => !name.startsWith('bin/'))).toEqual(['made', ''])
      const [{ RootFS }] = await world.json(['image', 'inspect', 'app'])
      expect(RootFS.Layers).toHaveLength(2)
    }),
  )

  test(
    'takes the context from an archive on stdin, and a Dockerfile alone',
    inWorld(async world => {
      const folder = writeContext(world, { Dockerfile: 'FROM busybox\nCOPY a /a\n', a: 'by pipe' })
      const archive = await execute(['sh', '-c', `tar -cz -C ${folder} . | base64 -w0`])
      const iidfile = join(world.dir, 'iid')

      const id = await world.ok(['build', '-q', '-t', 'app', '--iidfile', iidfile, '-'], {
        input: Buffer.from(archive.stdout, 'base64'),
      })
      expect(readFileSync(iidfile, 'utf8')).toBe(id)
      expect(await inApp(world, 'cat /a')).toBe('by pipe')

      await world.ok(['build', '-t', 'app', '-'], { input: 'FROM busybox\nRUN echo alone > /b\n' })
      expect(await inApp(world, 'cat /b')).toBe('alone')
      await world.ok(['image', 'build', '-t', 'app', '-f', '-', folder], { input: 'FROM busybox\nCOPY a /c\n' })
      expect(await inApp(world, 'cat /c')).toBe('by pipe')
      expect(
        existsSync(join(world.root, 'staging')) ? (await execute(['ls', join(world.root, 'staging')])).stdout : '',
      ).toBe('')
    }),
  )
})
