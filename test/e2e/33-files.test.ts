// cp, diff, export: the files of containers from outside, also where a container sets traps.

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { execute } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World
let work: string
let number = 0

const script = `mkdir -p /d/e /gone; echo f > /d/f; echo g > /d/e/g; ln -s /d/f /d/l; ln -s /d /dlink
  touch /etc/new; rm /bin/vi; chmod 600 /etc/passwd; echo v > /data/in; echo ready; sleep 1000`

beforeAll(async () => {
  world = await World.create()
  await world.ok(['run', '-d', '--name', 'up', '-v', 'one:/data', 'busybox', 'sh', '-c', script])
  await world.ok(['run', '-d', '--name', 'down', '-v', 'two:/data', 'busybox', 'sh', '-c', script])
  for (const name of ['up', 'down']) await world.start(['logs', '-f', name]).waitFor(/ready/)
  await world.ok(['stop', '-t', '0', 'down'])
})
beforeEach(() => {
  number += 1
  work = join(world.dir, 'work', `${number}`)
  mkdirSync(work)
  writeFileSync(join(work, 'file'), 'file\n')
  mkdirSync(join(work, 'dir/sub'), { recursive: true })
  writeFileSync(join(work, 'dir/sub/deep'), 'deep\n')
})
afterAll(async () => {
  await world.ok(['rm', '-f', 'up', 'down'])
  await world.ok(['volume', 'prune', '-af'])
  for (const name of readdirSync(join(world.dir, 'work'))) rmSync(join(world.dir, 'work', name), { recursive: true })
  await world.dispose()
})

const cp = (from: string, to: string, flags: string[] = []) => world.tsrun(['cp', ...flags, from, to], { cwd: work })
const okCp = async (from: string, to: string, flags: string[] = []) => {
  expect(await cp(from, to, flags)).toEqual({ stdout: '', stderr: '', code: 0, signal: null })
}
const read = (path: string) => readFileSync(join(work, path), 'utf8')
const list = (path: string) => readdirSync(join(work, path), { recursive: true, encoding: 'utf8' }).sort()

describe.each(['up', 'down'])('cp from container "%s"', name => {
  test('a file: under a new name, into a folder, over a file', async () => {
    await okCp(`${name}:/d/f`, 'new')
    await okCp(`${name}:/d/f`, 'dir')
    await okCp(`${name}:/d/f`, 'file')

    expect([read('new'), read('dir/f'), read('file')]).toEqual(['f\n', 'f\n', 'f\n'])
  })

  test('a folder: as a new one, into one that is there, or with /. only what is in it', async () => {
    await okCp(`${name}:/d`, 'new')
    await okCp(`${name}:/d`, 'dir')
    await okCp(`${name}:/d/.`, 'content')

    expect(list('new')).toEqual(['e', 'e/g', 'f', 'l'])
    expect(list('dir/d')).toEqual(['e', 'e/g', 'f', 'l'])
    expect(list('content')).toEqual(['e', 'e/g', 'f', 'l'])
  })

  test('a link is copied as one, with -L what it means', async () => {
    await okCp(`${name}:/d/l`, 'link')
    await okCp(`${name}:/d/l`, 'meant', ['-L'])
    await okCp(`${name}:/dlink/e/g`, 'through')

    expect(readlinkSync(join(work, 'link'))).toBe('/d/f')
    expect(read('meant')).toBe('f\n')
    expect(read('through')).toBe('g\n')
  })

  test('what is in a volume', async () => {
    await okCp(`${name}:/data/in`, 'in')

    expect(read('in')).toBe('v\n')
  })

  test('to - is a tar archive', async () => {
    const { code } = await execute(
      ['sh', '-c', `${world.tsrunCommand(['cp', `${name}:/d`, '-']).join(' ')} | tar x -C ${work}`],
      {
        env: world.env,
      },
    )

    expect(code).toBe(0)
    expect(list('d')).toEqual(['e', 'e/g', 'f', 'l'])
  })

  test('errors name the place', async () => {
    expectError(await cp(`${name}:/nope`, '.'), 1, new RegExp(`"${name}:/nope": no such file`))
    expectError(await cp(`${name}:/d/f/`, '.'), 1, /not a directory/)
    expectError(await cp(`${name}:/d`, 'file'), 1, /cannot copy a directory to the file "file"/)
    expectError(await cp(`${name}:/d/f`, 'no/such/folder'), 1, /folder does not exist/)
    expectError(await cp(`${name}:/d/f`, `${name}:/x`), 1, /from one container to another/)
  })
})

describe.each(['up', 'down'])('cp to container "%s"', name => {
  const back = async (path: string) => {
    await okCp(`${name}:${path}`, 'back', ['-L'])
    return read('back')
  }

  test('a file, a folder, what is in a folder', async () => {
    await okCp('file', `${name}:/copied`)
    await okCp('file', `${name}:/gone`)
    await okCp('dir', `${name}:/tree`)
    await okCp('dir/.', `${name}:/gone`)

    expect([
      await back('/copied'),
      await back('/gone/file'),
      await back('/tree/sub/deep'),
      await back('/gone/sub/deep'),
    ]).toEqual(['file\n', 'file\n', 'deep\n', 'deep\n'])
  })

  test('through a link, and into a volume', async () => {
    await okCp('file', `${name}:/dlink/put`)
    await okCp('file', `${name}:/data/put`)

    expect(await back('/d/put')).toBe('file\n')
    expect(await back('/data/put')).toBe('file\n')
  })

  test('from - unpacks a tar archive with its owners', async () => {
    const { stdout, stderr, code } = await execute(
      [
        'sh',
        '-c',
        `tar c --owner 12 --group 34 -C ${work} dir | ${world.tsrunCommand(['cp', '-', `${name}:/tmp`]).join(' ')}`,
      ],
      { env: world.env },
    )

    expect({ stdout, stderr, code }).toEqual({ stdout: '', stderr: '', code: 0 })
    await okCp(`${name}:/tmp/dir`, 'kept', ['-a'])
    expect(lstatSync(join(work, 'kept/sub/deep'))).toMatchObject({ uid: 12, gid: 34 })
  })

  test('a folder that is not there is an error', async () => {
    expectError(await cp('file', `${name}:/no/`), 1, /the folder does not exist/)
    expectError(await cp('file', `${name}:/no/such`), 1, /its folder does not exist/)
    expectError(await cp('nofile', `${name}:/x`), 1, /"nofile": no such file/)
  })
})

describe('cp and traps', () => {
  test('CVE-2018-15664: links in a container end in the container', async () => {
    const { code } = await world.tsrun([
      'exec',
      'up',
      'sh',
      '-c',
      'ln -s / /root-link; ln -s ../../../../../.. /up-link; ln -s /proc/1/root /magic',
    ])
    expect(code).toBe(0)
    const target = join(world.dir, 'work', 'planted')

    for (const link of ['root-link', 'up-link']) {
      await okCp(`up:/${link}/d/f`, link)
      expect(read(link)).toBe('f\n')
      expectError(await cp('file', `up:/${link}${target}`), 1, /folder does not exist/)
    }
    expect((await cp(`up:/magic/etc/hostname`, 'host')).code).toBe(1)

    expect(existsSync(target)).toBe(false)
    expect(existsSync(join(work, 'host'))).toBe(false)
  })

  test('CVE-2018-15664: a name that changes between folder and link all the time never leads out', async () => {
    const secret = join(world.dir, 'work', 'race')
    mkdirSync(secret)
    const swap = `mkdir -p /w/a/race; cd /w; ln -s ${join(world.dir, 'work')} b
      while :; do mv a c; mv b a; mv a b; mv c a; done`
    const racer = world.start(['exec', 'up', 'sh', '-c', swap])

    for (let round = 0; round < 40; round += 1) await cp('file', 'up:/w/a/race/x')

    expect(readdirSync(secret)).toEqual([])
    racer.kill('SIGKILL')
    await world.tsrun(['exec', 'up', 'pkill', '-f', 'while'])
  })

  test('CVE-2019-14271: nothing of the container is run or loaded', async () => {
    const plant =
      'for f in /lib/libnss_files.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2 /etc/nsswitch.conf; do mkdir -p "$(dirname $f)"; echo trap > $f; done; printf "#!/bin/sh\\ntouch /trapped\\n" > /bin/tar; chmod +x /bin/tar'
    await world.ok(['run', '-d', '--name', 'trap', 'busybox', 'sh', '-c', `${plant}; sleep 1000`])

    await okCp('trap:/etc', 'etc')
    await okCp('file', 'trap:/file')

    expect((await world.tsrun(['exec', 'trap', 'ls', '/trapped'])).code).toBe(1)
    await world.ok(['rm', '-f', 'trap'])
  })

  test('a file that is mounted is written to and stays mounted', async () => {
    await okCp('file', 'up:/etc/hosts')

    expect(await world.ok(['exec', 'up', 'cat', '/etc/hosts'])).toBe('file')
    expect(await world.ok(['exec', 'up', 'grep', '-c', ' /etc/hosts ', '/proc/mounts'])).toBe('1')
  })
})

describe('diff', () => {
  test('says what was added, changed and deleted, and nothing else', async () => {
    await world.ok([
      'run',
      '--name',
      'changed',
      'busybox',
      'sh',
      '-c',
      'mkdir /a; touch /a/b /etc/new; rm /bin/vi; chmod 600 /etc/passwd',
    ])

    expect(await world.ok(['diff', 'changed'])).toBe(
      ['A /a', 'A /a/b', 'C /bin', 'D /bin/vi', 'C /etc', 'A /etc/new', 'C /etc/passwd']
        .sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1))
        .join('\n'),
    )
    await world.ok(['rm', 'changed'])
  })

  test('of a container that did nothing is empty', async () => {
    await world.ok(['run', '--name', 'changed', 'busybox', 'true'])

    expect(await world.ok(['diff', 'changed'])).toBe('')
    await world.ok(['rm', 'changed'])
  })
})

describe('export', () => {
  test.each(['up', 'down'])('writes the files of "%s" without what is mounted', async name => {
    await world.ok(['export', '-o', 'out.tar', name], { cwd: work })

    const { stdout } = await execute(['tar', 'tf', join(work, 'out.tar')])
    const names = stdout.split('\n')
    expect(names).toEqual(expect.arrayContaining(['d/e/g', 'etc/new', 'bin/sh', 'data/', 'proc/']))
    expect(names).not.toContain('bin/vi')
    expect(names).not.toContain('data/in')
    expect(names.filter(path => path.startsWith('proc/'))).toEqual(['proc/'])
  })

  test('of nothing leaves the file alone', async () => {
    expectError(await world.tsrun(['export', '-o', 'file', 'nobody'], { cwd: work }), 1, /no such container/)

    expect(read('file')).toBe('file\n')
  })
})
