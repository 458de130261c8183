// Containers whose users are others than the host's: who they are seen from outside, whose their files are, and what their root
// cannot do. How files on disk keep the container's ids: docs/userns.md.

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

let world: World
beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.removeContainers())
afterAll(async () => {
  await world.tsrun(['volume', 'prune', '-af'])
  await world.dispose()
})

const remap = ['--userns-remap', '200000:65536']
const run = (...args: string[]) => world.ok([...remap, 'run', '--rm', '--net', 'none', ...args])
const sh = (script: string, ...flags: string[]) => run(...flags, 'busybox', 'sh', '-c', script)
const box = (name: string, ...flags: string[]) =>
  world.ok([...remap, 'run', '-d', '--name', name, '--net', 'none', ...flags, 'busybox', 'sleep', '1000'])
const pidOf = async (name: string) => Number((await world.json(['inspect', name]))[0].State.Pid)
const map = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8').trim().replace(/ +/g, ' ')

describe('--userns-remap', () => {
  test('makes root of the container an unprivileged user of the host', async () => {
    await box('mapped')
    const pid = await pidOf('mapped')

    expect(map(pid, 'uid_map')).toBe('0 200000 65536')
    expect(map(pid, 'gid_map')).toBe('0 200000 65536')
    expect(statSync(`/proc/${pid}`).uid).toBe(200000)
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/Uid:\t200000\t200000\t200000\t200000\nGid:\t200000/)
    expect(await world.ok(['exec', 'mapped', 'id', '-u'])).toBe('0')
    expect(await world.ok(['exec', '-u', '34567:33', 'mapped', 'id', '-u'])).toBe('34567')
  })

  test('keeps the ids of the container on disk, and a container without it sees the same', async () => {
    await world.ok([
      ...remap,
      'run',
      '--name',
      'c',
      '--net',
      'none',
      '-v',
      'data:/data',
      'busybox',
      'sh',
      '-c',
      'echo r > /data/root; echo u > /data/user; chown 5:6 /data/user; echo x > /x; chown 7:8 /x; rm /bin/su',
    ])
    const upper = join(world.root, 'containers', readdirSync(join(world.root, 'containers'))[0] ?? '', 'upper')
    const ids = (path: string) => [statSync(path).uid, statSync(path).gid]

    expect(ids(join(upper, 'x'))).toEqual([7, 8])
    expect(ids(join(world.root, 'volumes/data/data/root'))).toEqual([0, 0])
    expect(ids(join(world.root, 'volumes/data/data/user'))).toEqual([5, 6])
    const listed = 'stat -c "%n %u %g" /data/*'
    const seen = '/data/root 0 0\n/data/user 5 6'
    expect(await world.ok(['run', '--rm', '--net', 'none', '-v', 'data:/data', 'busybox', 'sh', '-c', listed])).toBe(
      seen,
    )
    expect(
      await world.ok([
        '--userns-remap',
        '400000:65536',
        'run',
        '--rm',
        '--net',
        'none',
        '-v',
        'data:/data',
        'busybox',
        'sh',
        '-c',
        `${listed}; echo more >> /data/root`,
      ]),
    ).toBe(seen)
    expect(readFileSync(join(world.root, 'volumes/data/data/root'), 'utf8')).toBe('r\nmore\n')
    expect((await world.ok(['diff', 'c'])).split('\n')).toEqual(expect.arrayContaining(['A /x', 'D /bin/su']))
    // Without the setting: the container's record remembers who it is.
    await world.ok(['start', 'c'])
    expect(await world.ok(['wait', 'c'])).toBe('1')
    await world.ok(['commit', 'c', 'of-mapped'])
    expect(await world.ok(['run', '--rm', '--net', 'none', 'of-mapped', 'stat', '-c', '%u %g', '/x'])).toBe('7 8')
    await world.ok(['rmi', 'of-mapped'])
  })

  test('gives its root no power over devices, mounts and other people’s files', async () => {
    const secret = join(world.dir, 'secret')
    writeFileSync(secret, 'secret', { mode: 0o600 })
    const { stdout, stderr } = await world.tsrun([
      ...remap,
      'run',
      '--rm',
      '--net',
      'none',
      '--cap-add',
      'ALL',
      '--security-opt',
      'seccomp=unconfined',
      '-v',
      `${secret}:/secret`,
      '--device',
      '/dev/kmsg',
      'busybox',
      'sh',
      '-c',
      `
      mknod /dev/sda b 8 0 && echo MADE
      cat /secret && echo READ
      chown 0:0 /secret && echo CHOWNED
      mount -t ext4 /dev/kmsg /mnt && echo MOUNTED
      echo 1 > /proc/sys/kernel/panic && echo SYSCTL
      hostname own && hostname`,
    ])

    expect(stdout).toBe('own\n')
    expect(stderr.match(/permission denied|not permitted|read-only/gi)?.length).toBe(4)
    expect(readFileSync(secret, 'utf8')).toBe('secret')
  })

  test('leaves everything else as it is: devices, standard streams, /sys, /etc/hosts, terminals', async () => {
    expect(
      await sh(
        'echo x > /dev/null; head -c 3 /dev/zero | wc -c; echo out > /dev/stdout; echo > /etc/hosts; ls /sys/class/net',
      ),
    ).toBe('3\nout\nlo')
    expect(
      (await world.tsrun([...remap, 'run', '--rm', '--net', 'none', 'busybox', 'sh', '-c', 'echo err > /dev/stderr']))
        .stderr,
    ).toBe('err\n')
    expect(await sh('echo hi > /dev/stdout', '-u', '1000')).toBe('hi')
    expect(
      await run('--device', '/dev/null:/dev/other', 'busybox', 'sh', '-c', 'echo x > /dev/other; ls /dev/other'),
    ).toBe('/dev/other')
    const terminal = await world.terminal([
      ...remap,
      'run',
      '--rm',
      '-it',
      '--net',
      'none',
      'busybox',
      'sh',
      '-c',
      'tty; stat -c %u:%g $(tty)',
    ])
    await terminal.waitFor(/\/dev\/pts\/0\r\n0:5\r/)
    await terminal.finished()
  })

  test('owns its network: ports below 1024, ping and addresses', async () => {
    await world.ok(['network', 'create', '--subnet', '10.19.0.0/24', 'lan'])
    await world.serve('web', ['--net', 'lan', '-p', '8019:80', '--uidmap', '0:200000:65536'])
    expect(map(await pidOf('web'), 'uid_map')).toBe('0 200000 65536')
    expect(await world.neighbour.curl('http://198.51.100.10:8019')).toMatchObject({
      body: expect.stringContaining('web'),
    })
    const script = 'ping -c 1 -w 5 10.19.0.1 >/dev/null && ip addr add 10.19.0.200/24 dev eth0 && ip -4 addr show eth0'
    const flags = ['--net', 'lan', '--cap-add', 'NET_ADMIN']
    expect(await world.ok([...remap, 'run', '--rm', ...flags, 'busybox', 'sh', '-c', script])).toContain(
      '10.19.0.200/24',
    )
    await world.ok(['rm', '-f', 'web'])
    await world.ok(['network', 'rm', 'lan'])
  })

  test('is refused together with what belongs to the host', async () => {
    for (const flags of [['--privileged'], ['--net', 'host'], ['--pid', 'host'], ['--ipc', 'host']]) {
      const { code, stderr } = await world.tsrun([...remap, 'run', '--rm', ...flags, 'busybox', 'true'])
      expect(code, flags.join(' ')).toBe(125)
      expect(stderr).toMatch(/cannot use .* with mapped users.*\n +hint: add --userns host/)
      await world.ok([...remap, 'run', '--rm', '--userns', 'host', ...flags, 'busybox', 'true'])
    }
  })
})

describe('--userns', () => {
  test('auto gives each container ids that no other has, and gives them back with the container', async () => {
    const pool = ['--userns-remap', '300000:3000']
    const auto = (name: string) =>
      world.tsrun([
        ...pool,
        'run',
        '-d',
        '--name',
        name,
        '--net',
        'none',
        '--userns',
        'auto:size=1000',
        'busybox',
        'sleep',
        '1000',
      ])
    const started = await Promise.all(['a', 'b', 'c'].map(auto))
    expect(started.map(result => result.code)).toEqual([0, 0, 0])
    const maps = await Promise.all(['a', 'b', 'c'].map(async name => map(await pidOf(name), 'uid_map')))
    expect(maps.sort()).toEqual(['0 300000 1000', '0 301000 1000', '0 302000 1000'])

    const full = await auto('d')
    expect(full.code).toBe(125)
    expect(full.stderr).toContain('cannot find 1000 ids that no container has')
    const [, middle] = maps
    const owner = await Promise.all(
      ['a', 'b', 'c'].map(async name => [name, map(await pidOf(name), 'uid_map')] as const),
    )
    await world.ok(['rm', '-f', owner.find(([, text]) => text === middle)?.[0] ?? ''])
    expect((await auto('d')).code).toBe(0)
    expect(map(await pidOf('d'), 'uid_map')).toBe('0 301000 1000')
  })

  test('--uidmap and --gidmap say it line by line', async () => {
    const maps = ['--uidmap', '0:100000:1000', '--uidmap', '1000:5000:1', '--gidmap', '0:200000:2000']
    expect(
      (
        await world.ok([
          'run',
          '--rm',
          '--net',
          'none',
          ...maps,
          'busybox',
          'cat',
          '/proc/self/uid_map',
          '/proc/self/gid_map',
        ])
      ).replace(/ +/g, ' '),
    ).toBe(' 0 100000 1000\n 1000 5000 1\n 0 200000 2000')
    const unmapped = await world.tsrun(['run', '--rm', ...maps, '-u', '1500', 'busybox', 'true'])
    expect(unmapped.code).toBe(125)
    expect(unmapped.stderr).toContain('uid 1500: it is not mapped')
  })

  test.each([
    [['--uidmap', '0:0:1000'], "it would be the host's root"],
    [['--uidmap', '1:100000:1000'], 'its uid 0 is not mapped'],
    [['--uidmap', '0:100000:10', '--uidmap', '5:200000:10'], '5 is mapped twice'],
    [['--uidmap', '0:100000:10', '--uidmap', '10:100005:10'], '100005 is mapped twice'],
    [['--uidmap', '0:4294967290:100'], 'are no ids'],
    [['--uidmap', '0:x:1'], 'invalid value "0:x:1" for --uidmap'],
    [['--userns', 'auto', '--uidmap', '0:1:1'], 'cannot use --uidmap and --gidmap together with --userns'],
    [['--userns', 'keep-id'], 'invalid value "keep-id" for --userns'],
    [['--userns', 'remap'], 'the engine has no ids to map to'],
  ])('refuses %j', async (flags, reason) => {
    const { code, stderr } = await world.tsrun(['run', '--rm', ...flags, 'busybox', 'true'])
    expect(code).toBe(125)
    expect(stderr).toContain(reason)
    expect(await world.ok(['ps', '-aq'])).toBe('')
  })

  test('who joins namespaces of a container has its users', async () => {
    await box('first')
    const namespace = (pid: number) => statSync(`/proc/${pid}/ns/user`).ino
    await world.ok([
      'run',
      '-d',
      '--name',
      'second',
      '--net',
      'container:first',
      '--pid',
      'container:first',
      '--ipc',
      'container:first',
      'busybox',
      'sleep',
      '1000',
    ])
    expect(namespace(await pidOf('second'))).toBe(namespace(await pidOf('first')))
    expect(await world.ok(['exec', 'second', 'sh', '-c', 'ps | grep -c "[s]leep 1000"; ls /sys/class/net'])).toMatch(
      /^2\nlo$/,
    )
    await world.ok(['run', '--rm', '--pid', 'container:first', '--net', 'none', 'busybox', 'ls', '/sys/class/net'])

    const { code, stderr } = await world.tsrun([
      'run',
      '--rm',
      '--userns',
      'host',
      '--pid',
      'container:first',
      'busybox',
      'true',
    ])
    expect(code).toBe(125)
    expect(stderr).toContain('cannot share namespaces with container "first" and have other ids')
  })
})

test('cp speaks the ids of the container, running or not', async () => {
  const file = join(world.dir, 'file')
  writeFileSync(file, 'text')
  await box('c', '-v', 'vol:/vol')
  for (const state of ['running', 'stopped']) {
    await world.ok(['cp', file, `c:/tmp/${state}`])
    await world.ok(['cp', file, `c:/vol/${state}`])
    const out = join(world.dir, `out-${state}`)
    await world.ok(['cp', '-a', `c:/tmp/${state}`, out])
    expect(statSync(out).uid, state).toBe(statSync(file).uid)
    if (state === 'running') {
      await world.ok(['exec', 'c', 'chown', '11:12', '/tmp/running'])
      await world.ok(['stop', '-t', '0', 'c'])
    }
  }
  await world.ok(['cp', '-a', 'c:/tmp/running', join(world.dir, 'out')])
  expect([statSync(join(world.dir, 'out')).uid, statSync(join(world.dir, 'out')).gid]).toEqual([11, 12])
  await world.ok(['start', 'c'])
  expect(
    await world.ok([
      'exec',
      'c',
      'stat',
      '-c',
      '%u:%g',
      '/tmp/running',
      '/tmp/stopped',
      '/vol/running',
      '/vol/stopped',
    ]),
  ).toBe('11:12\n0:0\n0:0\n0:0')
  expect(existsSync(join(world.root, 'volumes/vol/data/running'))).toBe(true)
})

test('a failure at any step leaves nothing behind', async () => {
  for (const step of ['map ids', 'user namespace', 'network namespace', 'init']) {
    const before = await world.settled()
    const { code } = await world.tsrun([...remap, 'run', '--rm', '--net', 'none', 'busybox', 'true'], {
      env: { ...world.env, TSRUN_FAULT: `${step}:fail` },
    })
    expect(code, step).toBe(125)
    expect(await world.settled(), step).toEqual(before)
  }
})
