// What a command that was broken half way leaves to be seen: the file, the name, the record that were there before.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { faceCommand, inWorld } from '../helpers/world.ts'

/** All that is said, and nothing of where in the code. */
const noRoom = /^tsrun: cannot write to standard output: no space left on device \(ENOSPC\)\n {2}hint: .+\n$/

test(
  'what standard output has no room for is told, without a stack trace',
  inWorld(async world => {
    for (const line of ['version', 'ps', 'images', 'network ls', 'create --name made busybox true', 'info']) {
      const { code, stderr } = await world.host.tryExec('sh', ['-c', `${faceCommand().join(' ')} ${line} > /dev/full`])

      expect(code, line).toBe(1)
      expect(stderr, line).toMatch(noRoom)
    }
    await world.ok(['rm', 'made'])
  }),
  60_000,
)

test(
  'what a container writes to an output without room is told, without a stack trace',
  inWorld(async world => {
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sh', '-c', 'echo hello; sleep 1000'])
    const lines = { 'exec box echo hello': 1, 'run --rm busybox echo hello': 125, 'logs -f box': 1 }
    for (const [line, expected] of Object.entries(lines)) {
      const { code, stderr } = await world.host.tryExec('sh', ['-c', `${faceCommand().join(' ')} ${line} > /dev/full`])

      expect(code, line).toBe(expected)
      expect(stderr, line).toMatch(noRoom)
    }
    expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('box')
    await world.ok(['rm', '-f', 'box'])
  }),
  60_000,
)

test.each(['2> /dev/full', '2>&1 | head -n 1', '2>&-'])(
  'a container runs, and goes, where nobody reads what --explain prints: %s',
  redirection =>
    inWorld(async world => {
      const line = `${faceCommand().join(' ')} run --name box --explain busybox true ${redirection}`
      await world.host.exec('sh', ['-c', line])

      expect(await world.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])).toMatch(/^box Exited \(0\) /)
      await world.host.exec('sh', ['-c', `${faceCommand().join(' ')} rm --explain box ${redirection}`])
      expect(await world.ok(['ps', '-aq'])).toBe('')
    })(),
  60_000,
)

test(
  'what TSRUN_EXPLAIN has no room for is told once, and the container runs; a file that cannot be opened is refused before',
  inWorld(async world => {
    const run = (file: string) =>
      world.tsrun(['run', '--rm', 'busybox', 'echo', 'hello'], { env: { ...world.env, TSRUN_EXPLAIN: file } })

    const full = await run('/dev/full')
    const absent = await run('/no-such-folder/file')

    expect(full).toMatchObject({ code: 0, stdout: 'hello\n' })
    expect(full.stderr.match(/^tsrun: warning: cannot write/gm)).toHaveLength(1)
    expect(absent).toMatchObject({ code: 125, stdout: '' })
    expect(absent.stderr).toMatch(/^tsrun: cannot open "\/no-such-folder\/file": /)
    expect(await world.ok(['ps', '-aq'])).toBe('')
  }),
  60_000,
)

test(
  'save writes to /dev/stdout what it writes to a file, and to a name as long as names can be; what ends export in the middle leaves nothing',
  inWorld(async world => {
    const tsrun = faceCommand().join(' ')
    const work = join(world.dir, 'work')
    const name = 'n'.repeat(255)

    const listed = await world.host.exec('sh', ['-c', `cd ${work} && ${tsrun} save -o /dev/stdout busybox | tar -t`])
    await world.ok(['save', '-o', name, 'busybox'])

    expect(listed).toContain('manifest.json')
    expect(readdirSync(work)).toEqual([name])
    await world.host.exec('rm', [join(work, name)])

    await world.ok(['run', '--name', 'box', 'busybox', 'dd', 'if=/dev/zero', 'of=/large', 'bs=1M', 'count=200'])
    const line = `cd ${work} && { ${tsrun} export -o out.tar box & } && until ls -l /proc/$!/fd | grep -q '${work}/.*(deleted)'; do :; done; kill $!; wait $!`
    expect((await world.host.tryExec('sh', ['-c', line])).code).toBe(143)
    expect(readdirSync(work)).toEqual([])
    await world.ok(['rm', 'box'])
  }),
  60_000,
)

test(
  'save and export that fail leave the file that was there, and none beside it',
  inWorld(async world => {
    const file = join(world.dir, 'work', 'out.tar')
    writeFileSync(file, 'what stood there')
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])
    const env = { ...world.env, TSRUN_FAULT: 'archive written:fail' }

    expect((await world.tsrun(['save', '-o', 'out.tar', 'no-such-image'])).code).toBe(1)
    expect((await world.tsrun(['save', '-o', 'out.tar', 'busybox'], { env })).code).toBe(1)
    expect((await world.tsrun(['export', '-o', 'out.tar', 'box'], { env })).code).toBe(1)
    expect((await world.tsrun(['export', '-o', 'no-such-folder/out.tar', 'box'])).stderr).toMatch(
      /^tsrun: cannot write "no-such-folder\/out.tar": /,
    )

    expect(readFileSync(file, 'utf8')).toBe('what stood there')
    expect(readdirSync(join(world.dir, 'work'))).toEqual(['out.tar'])
    await world.ok(['export', '-o', 'out.tar', 'box'])
    expect(await world.host.exec('tar', ['-tf', file])).toContain('bin/busybox')
    expect(readdirSync(join(world.dir, 'work'))).toEqual(['out.tar'])
    await world.host.exec('rm', [file])
  }),
  60_000,
)

test.each(['new name', 'write container.json', 'write run.json'])(
  'a renaming that is killed at "%s" leaves one name, and the other is free',
  step =>
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.ok(['run', '-d', '--name', 'old', '-net', 'br', 'busybox', 'sleep', '1000'])

      await world.tsrun(['rename', 'old', 'new'], { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } })

      const name = await world.ok(['ps', '--format', '{{.Names}}'])
      const free = name === 'new' ? 'old' : 'new'
      expect(['old', 'new']).toContain(name)
      expect(await world.ok(['network', 'inspect', 'br'])).not.toContain(`"${free}"`)
      expect(await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'nslookup', name])).toContain(name)
      await world.ok(['create', '--name', free, 'busybox', 'true'])
      await world.ok(['rm', '-f', 'old', 'new'])
    })(),
  60_000,
)

test(
  'of a further process whose monitor is killed behind its record nothing stays',
  inWorld(async world => {
    const env = { ...world.env, TSRUN_FAULT: 'init exit-frame:kill' }
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])

    await world.tsrun(['exec', 'box', 'true'], { env })

    expect(readdirSync(join(world.state, 'execs'))).toEqual([])
    await world.ok(['rm', '-f', 'box'])
  }),
  60_000,
)

test.each(['last exit record', 'init'])(
  'a start that is killed at "%s" leaves the end before on record',
  step =>
    inWorld(async world => {
      expect((await world.tsrun(['run', '--name', 'box', 'busybox', 'sh', '-c', 'exit 3'])).code).toBe(3)

      await world.tsrun(['start', 'box'], { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } })

      expect(await world.ok(['ps', '-a', '--format', '{{.Status}}'])).toMatch(/^Exited \(3\)/)
      await world.ok(['rm', 'box'])
    })(),
  60_000,
)
