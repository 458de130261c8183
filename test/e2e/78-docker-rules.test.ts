// Rules of docker's that nobody writes down and everybody relies on: modes of a tmpfs, groups, whose /dev/shm it is, what a
// template may ask for, and when something is asked before it is removed.

import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.removeContainers())
afterAll(() => world.dispose())

const shell = (script: string) => ['busybox', 'sh', '-c', script]
const sleeping = ['busybox', 'sleep', '1000']

describe('--tmpfs', () => {
  test('is for everybody where the image has no such directory, at the next start too, and else has its mode', async () => {
    const modes = 'stat -c %a /new /tmp /home /given'
    const flags = ['--tmpfs', '/new', '--tmpfs', '/tmp', '--tmpfs', '/home', '--tmpfs', '/given:mode=700']

    expect(await world.ok(['run', '--name', 'box', ...flags, ...shell(modes)])).toBe('1777\n1777\n755\n700')
    expect(await world.ok(['start', '-a', 'box'])).toBe('1777\n1777\n755\n700')
    expect(
      await world.ok(['run', '--rm', '-u', '1000', '--tmpfs', '/new', ...shell('echo x > /new/f; cat /new/f')]),
    ).toBe('x')
  })

  test('below a folder of the host leaves no directory there that everybody may write to', async () => {
    const folder = join(world.dir, 'work', 'bound')
    mkdirSync(folder)

    const flags = ['-v', `${folder}:/bound`, '--tmpfs', '/bound/inner']
    expect(await world.ok(['run', '--rm', ...flags, ...shell('stat -c %a /bound/inner')])).toBe('1777')

    expect(await world.host.sh(`stat -c %a ${folder}/inner`)).toMatch(/^755/)
    rmSync(folder, { recursive: true })
  })
})

describe('users', () => {
  test('CVE-2022-36109: its own group is among the groups of the process, of exec too', async () => {
    await world.ok(['run', '-d', '--name', 'box', '-u', '1000:1001', ...sleeping])

    const groups = (...words: string[]) => world.ok([...words, 'grep', 'Groups:', '/proc/self/status'])
    expect((await groups('exec', 'box')).trim()).toBe('Groups:\t1001')
    expect((await groups('exec', '-u', '5:6', 'box')).trim()).toBe('Groups:\t6')
    expect((await groups('run', '--rm', '-u', '1000:1001', '--group-add', '7', 'busybox')).trim()).toBe(
      'Groups:\t7 1001',
    )
  })
})

describe('--ipc', () => {
  test('container:NAME shares its /dev/shm, both ways, and not that of others', async () => {
    await world.ok(['run', '-d', '--name', 'box', ...shell('echo here > /dev/shm/a; sleep 1000')])
    await eventually('it has written', async () => (await world.tsrun(['exec', 'box', 'cat', '/dev/shm/a'])).code === 0)

    expect(
      await world.ok(['run', '--rm', '--ipc', 'container:box', ...shell('cat /dev/shm/a; echo b > /dev/shm/b')]),
    ).toBe('here')

    expect(await world.ok(['exec', 'box', 'cat', '/dev/shm/b'])).toBe('b')
    expect(await world.ok(['run', '--rm', 'busybox', 'ls', '/dev/shm'])).toBe('')
  })

  test('container:NAME of one with mapped users', async () => {
    const mapped = ['--uidmap', '0:165536:65536', '--gidmap', '0:165536:65536']
    await world.ok(['run', '-d', '--name', 'box', ...mapped, ...shell('echo here > /dev/shm/a; sleep 1000')])
    await eventually('it has written', async () => (await world.tsrun(['exec', 'box', 'cat', '/dev/shm/a'])).code === 0)

    expect(await world.ok(['run', '--rm', '--ipc', 'container:box', 'busybox', 'cat', '/dev/shm/a'])).toBe('here')
  })

  test('a link in its place does not lead the mount elsewhere', async () => {
    const swap = 'umount /dev/shm && rmdir /dev/shm && ln -s /etc /dev/shm && sleep 1000'
    await world.ok([
      'run',
      '-d',
      '--name',
      'box',
      '--cap-add',
      'SYS_ADMIN',
      '--security-opt',
      'seccomp=unconfined',
      ...shell(swap),
    ])
    await eventually(
      'the link is there',
      async () => (await world.tsrun(['exec', 'box', 'readlink', '/dev/shm'])).code === 0,
    )

    const result = await world.tsrun(['run', '--rm', '--ipc', 'container:box', 'busybox', 'ls', '/dev/shm'])

    expectError(result, 125, /dev\/shm.*ELOOP/)
  })

  test('what the container has mounted there instead is harmless', async () => {
    const swap = 'umount /dev/shm && mount -t tmpfs -o suid,dev,exec none /dev/shm && touch /dev/shm/new && sleep 1000'
    const flags = ['--cap-add', 'SYS_ADMIN', '--security-opt', 'seccomp=unconfined']
    await world.ok(['run', '-d', '--name', 'box', ...flags, ...shell(swap)])
    await eventually('it is there', async () => (await world.tsrun(['exec', 'box', 'ls', '/dev/shm/new'])).code === 0)

    const mounts = await world.ok(['run', '--rm', '--ipc', 'container:box', ...shell('ls /dev/shm; cat /proc/mounts')])

    expect(mounts).toMatch(/^new\n/)
    expect(mounts).toMatch(/ \/dev\/shm tmpfs rw,nosuid,nodev,noexec,/)
  })

  test('private and none are shared with nobody, and none has no /dev/shm', async () => {
    for (const mode of ['private', 'none']) {
      await world.ok(['run', '-d', '--name', mode, '--ipc', mode, ...sleeping])
      const result = await world.tsrun(['run', '--rm', '--ipc', `container:${mode}`, 'busybox', 'true'])
      expectError(result, 125, new RegExp(`in the ipc namespace of "${mode}": it was created with --ipc ${mode}`))
    }
    expect((await world.tsrun(['exec', 'none', 'ls', '-d', '/dev/shm'])).code).toBe(1)
    expect(await world.ok(['exec', 'private', 'ls', '-d', '/dev/shm'])).toBe('/dev/shm')
    expect(await world.ok(['inspect', '-f', '{{.HostConfig.IpcMode}}', 'none'])).toBe('none')
  })
})

test('--cgroupns host shows the cgroup as the host names it, and private as the root', async () => {
  const paths = async (mode: string) =>
    (await world.ok(['run', '--rm', '--cgroupns', mode, 'busybox', 'cut', '-d:', '-f3', '/proc/self/cgroup'])).split(
      '\n',
    )

  expect(new Set(await paths('private'))).toEqual(new Set(['/']))
  expect((await paths('host')).some(path => /tsrun-[0-9a-f]+\/[0-9a-f]{64}$/.test(path))).toBe(true)
})

test.each([
  [['--ipc', 'bogus'], /invalid value "bogus" for --ipc\n {2}hint: host, shareable, private, none, container:NAME/],
  [['--pid', 'private'], /invalid value "private" for --pid/],
  [['--pid', 'container:'], /invalid value "container:" for --pid/],
  [['--uts', 'bogus'], /invalid value "bogus" for --uts/],
  [['--cgroupns', 'container:a'], /invalid value "container:a" for --cgroupns/],
  [['--stop-signal', 'BOGUS'], /no signal "BOGUS"/],
  [['--isolation', 'hyperv'], /cannot use --isolation/],
  [['--volume-driver', 'nfs'], /cannot use --volume-driver/],
])('run %j is refused before anything is made', async (flags, message) => {
  expectError(await world.tsrun(['run', '--name', 'box', ...flags, 'busybox', 'true']), 125, message)
  expect(await world.ok(['ps', '-aq'])).toBe('')
})

test('values that change nothing, and empty ones, are let through', async () => {
  const empty = ['--name', '', '--ipc', '', '--pid', '', '--uts', '', '--cgroupns', '']

  expect(
    await world.ok([
      'run',
      '--rm',
      ...empty,
      '--isolation',
      'default',
      '--volume-driver',
      'local',
      ...shell('echo ran'),
    ]),
  ).toBe('ran')
})

test('cp -L calls what it copies as the link was called, in both directions', async () => {
  const folder = join(world.dir, 'work', 'linked')
  mkdirSync(join(folder, 'real'), { recursive: true })
  writeFileSync(join(folder, 'real', 'file'), 'text')
  symlinkSync('real', join(folder, 'link'))
  await world.ok([
    'run',
    '-d',
    '--name',
    'box',
    ...shell('mkdir /out; echo f > /out/file; ln -s file /out/link; sleep 1000'),
  ])
  await eventually(
    'the link is there',
    async () => (await world.tsrun(['exec', 'box', 'readlink', '/out/link'])).code === 0,
  )

  await world.ok(['cp', '-L', join(folder, 'link'), 'box:/tmp'])
  await world.ok(['cp', '-L', 'box:/out/link', join(folder, 'real')])

  expect(await world.ok(['exec', 'box', 'find', '/tmp', '-name', '*i*'])).toBe('/tmp/link\n/tmp/link/file')
  expect(await world.host.sh(`ls ${folder}/real; cat ${folder}/real/link`)).toBe('file\nlink\nf\n')
  rmSync(folder, { recursive: true })
})

describe('templates and tables', () => {
  test('ps has commands quoted as docker does, labels by key, and columns of ten at least', async () => {
    await world.ok(['create', '--name', 'box', '-l', 'b.key=2', '-l', 'a=1', ...shell('echo "a b"; exit 3')])
    const shown = (format: string) => world.ok(['ps', '-a', '--no-trunc', '--format', format])

    expect(await shown('{{.Command}}')).toBe(String.raw`"sh -c 'echo \"a b\"; exit 3'"`)
    expect(await shown('table {{.Names}}\t{{.Label "b.key"}}\t{{.Label "none"}}')).toBe(
      'NAMES     key       none\nbox       2',
    )
    expect(await shown('{{.Labels}}')).toMatch(/^a=1,b\.key=2,org\./)
    expectError(
      await world.tsrun(['ps', '-a', '--format', '{{.Name}}']),
      1,
      /there is no field \.Name\n {2}hint: did you mean \.Names\?/,
    )
    expect(await world.ok(['ps', '-a'])).toMatch(/^CONTAINER ID {3}IMAGE {5}COMMAND {18}/)
  })

  test('inspect fails where docker does: a field that no struct has, and a field of what is not there', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])
    const inspect = (format: string) => world.tsrun(['inspect', '-f', format, 'box'])

    expectError(await inspect('{{.Nope}}'), 1, /no field \.Nope/)
    expectError(await inspect('{{.State.Health.Status}}'), 1, /no field \.Status: it is nil/)
    expect((await inspect('{{if .State.Health}}x{{end}}{{.Config.Labels.none}}')).stdout).toBe('<no value>\n')
    expect((await inspect('{{.Config.StopTimeout}} {{.HostConfig.LogConfig.Config.none}}')).code).toBe(0)
  })
})

test('logs --tail takes all and -1 for everything, and inspect shows the swap limit that comes with --memory', async () => {
  await world.ok(['run', '--name', 'box', '-m', '50m', ...shell('echo one; echo two')])

  for (const tail of ['all', '-1']) expect(await world.ok(['logs', '--tail', tail, 'box'])).toBe('one\ntwo')
  expect(await world.ok(['inspect', '-f', '{{.HostConfig.MemorySwap}}', 'box'])).toBe(String(100 * 1024 * 1024))
})

describe('prunes', () => {
  test.each([['n\n'], ['']])('ask, and %j is a no', async answer => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    for (const what of [['container'], ['system'], ['image'], ['network'], ['volume'], ['builder']]) {
      const { stdout, code } = await world.tsrun([...what, 'prune'], { input: answer })
      expect(stdout).toMatch(/^WARNING! This will remove.*[\s\S]*Are you sure you want to continue\? \[y\/N\] $/)
      expect(code).toBe(0)
    }
    expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('box')
  })

  test('ask with --explain, which removes, and not with --dry-run', async () => {
    await world.ok(['network', 'create', 'unused'])

    const explained = await world.tsrun(['network', 'prune', '--explain'], { input: 'n\n' })
    expect(explained.stdout).toContain('Are you sure')
    expect((await world.tsrun(['network', 'prune', '--dry-run'], { input: '' })).stdout).not.toContain('Are you sure')

    expect(await world.ok(['network', 'ls', '-q', '-f', 'name=unused'])).not.toBe('')
    await world.ok(['network', 'rm', 'unused'])
  })

  test('go on at y, and with -f without a question', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    expect((await world.tsrun(['container', 'prune'], { input: 'y\n' })).stdout).toMatch(
      /\[y\/N\] Deleted Containers:\n/,
    )
    expect(await world.ok(['ps', '-aq'])).toBe('')
    expect(await world.ok(['container', 'prune', '-f'])).toBe('Total reclaimed space: 0B')
  })
})

describe('exit codes and words', () => {
  test('exec: whatever keeps the process from starting is 126, a missing program 127', async () => {
    await world.ok(['run', '-d', '--name', 'box', ...sleeping])

    expectError(await world.tsrun(['exec', '-w', '/nosuch', 'box', 'true']), 126, /chdir to \/nosuch/)
    expectError(await world.tsrun(['exec', '-u', 'nosuch', 'box', 'true']), 126, /unable to find user/)
    expectError(await world.tsrun(['exec', 'box', 'nosuch']), 127, /not found/)
    expectError(await world.tsrun(['exec', 'nobody', 'true']), 1, /no such container/)
  })

  test('rm NAME NAME removes it once and says that the second is not there', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    const { stdout, stderr, code } = await world.tsrun(['rm', 'box', 'box'])

    expect([stdout, code]).toEqual(['box\n', 1])
    expect(stderr).toMatch(/no such container: "box"/)
  })

  test('a name with a space in --env-file is refused', async () => {
    const file = join(world.dir, 'work', 'env-with-space')
    writeFileSync(file, 'GOOD=a b\nBAD NAME=1\n')

    expectError(
      await world.tsrun(['run', '--rm', '--env-file', file, 'busybox', 'env']),
      125,
      /the name has a space in it/,
    )
    rmSync(file)
  })

  test("docker's global flags stand before the verb", async () => {
    expect(await world.ok(['-D', '--log-level', 'warn', '-c', 'default', '--config=/tmp', 'ps', '-q'])).toBe('')
    expectError(await world.tsrun(['-H', 'tcp://far', 'ps']), 1, /cannot use --host tcp:\/\/far: there is no daemon/)
    expectError(await world.tsrun(['-l', 'loud', 'ps']), 1, /invalid value "loud" for --log-level/)
    expectError(await world.tsrun(['--context', 'far', 'ps']), 1, /cannot use --context far/)
    expectError(await world.tsrun(['l']), 1, /there is no command "l"/)
  })

  test.each([['volume'], ['network'], ['system'], ['builder']])('%s alone shows its commands', async group => {
    const { stdout, stderr, code } = await world.tsrun([group])

    expect(stdout).toMatch(new RegExp(`^Usage: tsrun ${group}`))
    expect([stderr, code]).toEqual(['', 0])
  })
})
