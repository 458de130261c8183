// The files that save and export write: what is there when they are killed, through symbolic links, where the file system has no files
// without a name.

import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { faceCommand, inWorld, type World } from '../helpers/world.ts'

const killed = { TSRUN_FAULT: 'archive written:kill' }

/** `save` into out.tar of the work folder. */
const save = (world: World, env: Record<string, string> = {}) =>
  world.tsrun(['save', '-o', 'out.tar', 'busybox'], { env: { ...world.env, ...env } })

test(
  'save and export that are killed leave nothing, and the file that was there',
  inWorld(async world => {
    const work = join(world.dir, 'work')
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    expect((await save(world, killed)).code).not.toBe(0)
    await world.tsrun(['export', '-o', 'out.tar', 'box'], { env: { ...world.env, ...killed } })
    expect(readdirSync(work)).toEqual([])

    writeFileSync(join(work, 'out.tar'), 'what stood there')
    await save(world, killed)
    expect(readdirSync(work)).toEqual(['out.tar'])
    expect(readFileSync(join(work, 'out.tar'), 'utf8')).toBe('what stood there')

    await world.ok(['rm', 'box'])
    unlinkSync(join(work, 'out.tar'))
  }),
  60_000,
)

test(
  'save replaces the file that a symbolic link leads to, and refuses a link that leads nowhere, or that the kernel does not follow',
  inWorld(async world => {
    const work = join(world.dir, 'work')
    const [link, file, shared] = [join(work, 'out.tar'), join(work, 'file'), join(work, 'shared')]
    symlinkSync('file', link)

    const nowhere = await save(world)
    expect(nowhere.code).toBe(1)
    expect(nowhere.stderr).toMatch(
      /^tsrun: cannot write "out.tar": it is a symbolic link to "file", which does not exist\n {2}hint: remove the link, /,
    )
    expect(readdirSync(work)).toEqual(['out.tar'])

    writeFileSync(file, 'what stood there')
    expect((await save(world)).code).toBe(0)
    expect(readdirSync(work).sort()).toEqual(['file', 'out.tar'])
    expect(await world.host.exec('tar', ['-tf', file])).toContain('manifest.json')
    await world.host.exec('test', ['-L', link])

    if (readFileSync('/proc/sys/fs/protected_symlinks', 'utf8') === '1\n') {
      mkdirSync(shared)
      chmodSync(shared, 0o1777)
      symlinkSync(file, join(shared, 'out.tar'))
      writeFileSync(file, 'what stood there')
      await world.host.exec('chown', ['-h', '65534:65534', join(shared, 'out.tar')])
      chownSync(shared, 65534, 65534)
      chownSync(shared, 0, 0)
      const theirs = await world.tsrun(['save', '-o', 'shared/out.tar', 'busybox'])
      expect(theirs.stderr).toMatch(/^tsrun: cannot write "shared\/out.tar": permission denied \(EACCES\)/)
      expect(readFileSync(file, 'utf8')).toBe('what stood there')
    }
    await world.host.exec('sh', ['-c', `rm -r ${work}/*`])
  }),
  60_000,
)

test.each([[''], ['what stood there']])(
  'save where the file system has no files without a name, over "%s"',
  before =>
    inWorld(async world => {
      const work = join(world.dir, 'work')
      if (before !== '') writeFileSync(join(work, 'out.tar'), before)
      // Only openat calls of the folder itself are refused.
      const refusing = [
        '-f',
        '-o',
        join(world.dir, 'trace'),
        '-P',
        work,
        '-e',
        'trace=openat',
        '-e',
        'inject=openat:error=EOPNOTSUPP',
      ]
      const traced = ['strace', ...refusing, ...faceCommand(), 'save', '-o', join(work, 'out.tar'), 'busybox']
      const run = (env: Record<string, string> = {}) =>
        world.host.tryExec('env', [...Object.entries(env).map(pair => pair.join('=')), ...traced])

      expect((await run({ TSRUN_FAULT: 'archive written:fail' })).code).toBe(1)
      expect(readFileSync(join(world.dir, 'trace'), 'utf8')).toMatch(/O_TMPFILE.*EOPNOTSUPP.*INJECTED/)
      expect(readdirSync(work)).toEqual(before === '' ? [] : ['out.tar'])

      expect(await run()).toMatchObject({ code: 0 })
      expect(readdirSync(work)).toEqual(['out.tar'])
      expect(await world.host.exec('tar', ['-tf', join(work, 'out.tar')])).toContain('manifest.json')
      await world.host.exec('rm', [join(work, 'out.tar'), join(world.dir, 'trace')])
    })(),
  60_000,
)
