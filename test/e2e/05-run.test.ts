// run: flags, exit codes, and what the command finds in its container.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { inWorld, World } from '../helpers/world.ts'

describe('run', () => {
  let world: World
  const sh = (script: string, flags: string[] = []) =>
    world.ok(['run', '--rm', ...flags, 'busybox', 'sh', '-c', script])

  beforeAll(async () => {
    world = await World.create()
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
  })
  afterAll(() => world.dispose())

  const codes: [string, string[], number][] = [
    ['0 when the command succeeds', ['true'], 0],
    ['the code of the command', ['sh', '-c', 'exit 42'], 42],
    ['255 too', ['sh', '-c', 'exit 255'], 255],
    ['128 + signal when a signal ends the command', ['sh', '-c', 'kill -9 $$; sleep 5'], 137],
    ['128 + 15 for SIGTERM', ['sh', '-c', 'sh -c "kill -15 \\$PPID"; sleep 5'], 143],
    ['127 when the command is not found', ['nonsense'], 127],
    ['127 when its path is not there', ['/bin/nonsense'], 127],
    ['126 when it is not executable', ['/etc/passwd'], 126],
    ['126 when it is a directory', ['/tmp'], 126],
  ]
  test.each(codes)('exits with %s: %j', async (_, command, code) => {
    // pid 1 of a pid namespace has no default actions for signals from inside: --init gives it a parent that has.
    const { code: found } = await world.tsrun(['run', '--rm', '--init', 'busybox', ...command])

    expect(found).toBe(code)
  })

  test('says what is not there, and what to do', async () => {
    const result = await world.tsrun(['run', '--rm', '--name', 'x', 'busybox', 'nonsense'])

    expectError(result, 127, /"nonsense"/)
    expect(result.stderr).toContain('hint:')
  })

  test.each([
    [['run'], /image|argument/i],
    [['run', '--nonsense', 'busybox'], /--nonsense/],
    [['run', '-net', 'nobody', 'busybox', 'true'], /"nobody"/],
    [['run', '--name', 'a/b', 'busybox', 'true'], /"a\/b"/],
    [['run', '-e', '=x', 'busybox', 'true'], /=x|environment/],
    [['run', '-m', 'much', 'busybox', 'true'], /much/],
    [['run', '--cpus', '-1', 'busybox', 'true'], /cpus|-1/],
    [['run', '--pids-limit', 'x', 'busybox', 'true'], /pids-limit|"x"/],
    [['run', '-v', 'relative/path:/x', 'busybox', 'true'], /relative\/path/],
    [['run', '-v', '/tmp:not-absolute', 'busybox', 'true'], /not-absolute/],
    [['run', '-u', 'nobody-here', 'busybox', 'true'], /nobody-here/],
    [['run', '-w', 'not-absolute', 'busybox', 'true'], /not-absolute/],
  ])('exits with 125 for an error of its own: %j', async (args, message) => {
    const before = await world.settled()

    const result = await world.tsrun(args)

    expectError(result, 125, message)
    expect(await world.changesSince(before, { timeoutMs: 1000, ignore: [/ipam/] })).toEqual([])
  })

  test.each(['-net', '--net', '--network', '-network'])('%s names the network', async flag => {
    expect(await sh('ip -o -4 addr show eth0', [flag, 'br'])).toMatch(/10\.51\.0\.\d+/)
    expect(await sh('ip -o -4 addr show eth0', [`${flag}=br`])).toMatch(/10\.51\.0\.\d+/)
  })

  test('flags end at the image', async () => {
    expect(await world.ok(['run', '--rm', 'busybox', 'echo', '-net', '--rm', '-it', '--', '-p'])).toBe(
      '-net --rm -it -- -p',
    )
  })

  test('arguments arrive as they were given', async () => {
    const args = ['a b', '', '"quoted"', "it's", '$HOME', 'new\nline', 'ünï', '*']

    expect(await world.ok(['run', '--rm', 'busybox', 'printf', '<%s>', ...args])).toBe(
      args.map(arg => `<${arg}>`).join(''),
    )
  })

  test('without a command the command of the image runs', async () => {
    expect((await world.tsrun(['run', '--rm', '-i', 'busybox'], { input: 'echo from the shell\n' })).stdout).toBe(
      'from the shell\n',
    )
  })

  test('-e sets variables, and nothing of the environment of the host gets in', async () => {
    const shown = await world.ok(['run', '--rm', '-e', 'A=1', '-e', 'B=x y=z', '-e', 'FROM_HOST', 'busybox', 'env'], {
      env: { ...world.env, FROM_HOST: 'yes', SECRET: 'no' },
    })

    const names = shown.split('\n').map(line => line.slice(0, line.indexOf('=')))
    expect(shown.split('\n')).toEqual(expect.arrayContaining(['A=1', 'B=x y=z', 'FROM_HOST=yes']))
    expect(shown).toMatch(/^PATH=\/usr\/local\/sbin:\/usr\/local\/bin:\/usr\/sbin:\/usr\/bin:\/sbin:\/bin$/m)
    expect(names.sort()).toEqual(['A', 'B', 'FROM_HOST', 'HOME', 'HOSTNAME', 'PATH'])
  })

  test('-w sets the working directory and makes it', async () => {
    expect(await world.ok(['run', '--rm', '-w', '/made/for/you', 'busybox', 'pwd'])).toBe('/made/for/you')
  })

  test.each([
    ['1234', 'uid=1234 gid=0'],
    ['1234:56', 'uid=1234 gid=56'],
    ['nobody', 'uid=65534'],
    ['root', 'uid=0'],
  ])('-u %s sets the user', async (user, expected) => {
    expect((await sh('id', ['-u', user])).replaceAll(/\([^)]*\)/g, '')).toContain(expected)
  })

  test('--hostname sets the name, and /etc/hosts knows it', async () => {
    expect(await sh('hostname; cat /etc/hostname; hostname -i', ['--hostname', 'box', '-net', 'br'])).toMatch(
      /^box\nbox\n10\.51\.0\.\d+$/,
    )
  })

  test('the hostname is the short id when none is given', async () => {
    const id = await world.ok(['run', '-d', '--name', 'named', 'busybox', 'hostname'])

    await world.tsrun(['wait', id])
    expect(await world.ok(['logs', 'named'])).toBe(id.slice(0, 12))
    await world.ok(['rm', 'named'])
  })

  test('--entrypoint replaces what is run', async () => {
    expect(await world.ok(['run', '--rm', '--entrypoint', 'echo', 'busybox', 'a', 'b'])).toBe('a b')
  })

  test('--init puts an init before the command, which reaps orphans', async () => {
    expect(await sh('cat /proc/1/comm', ['--init'])).not.toBe('sh')
    expect(await sh('(sh -c "sleep 0.1 &" &) ; sleep 0.5; ps -o stat,comm | grep -c ^Z || true', ['--init'])).toBe('0')
  })

  test('-v shows a folder of the host, also read-only', async () => {
    const folder = join(world.dir, 'shared')
    mkdirSync(folder)
    writeFileSync(join(folder, 'in'), 'from the host')

    expect(await sh('cat /data/in; echo from inside > /data/out', ['-v', `${folder}:/data`])).toBe('from the host')
    expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('from inside\n')
    expect(await sh('echo x > /data/no 2>/dev/null || echo refused', ['-v', `${folder}:/data:ro`])).toBe('refused')
    expect(existsSync(join(folder, 'no'))).toBe(false)
  })

  test('-v shows a single file', async () => {
    writeFileSync(join(world.dir, 'one'), 'just this')

    expect(await sh('cat /etc/one', ['-v', `${join(world.dir, 'one')}:/etc/one:ro`])).toBe('just this')
  })

  test('what one container writes the next does not see', async () => {
    await sh('echo x > /file; rm /etc/passwd')

    expect(await sh('ls /file 2>/dev/null; ls /etc/passwd')).toBe('/etc/passwd')
  })

  test('/etc/resolv.conf names the servers of the host', async () => {
    const host = readFileSync('/etc/resolv.conf', 'utf8').match(/^nameserver\s+(?!127\.)\S+/m)?.[0]

    const found = await sh('cat /etc/resolv.conf')
    expect(found).toMatch(/^nameserver \S+/m)
    if (host !== undefined) expect(found).toContain(host)
  })

  test('--pids-limit stops a fork bomb', async () => {
    const result = await world.tsrun(
      ['run', '--rm', '--pids-limit', '10', 'busybox', 'sh', '-c', 'for n in $(seq 30); do sleep 5 & done; echo all'],
      { timeoutMs: 30_000 },
    )

    expect(result.stdout).not.toContain('all')
    expect(result.stderr).toMatch(/fork/)
  })

  test('-m bounds memory: what takes more is killed', async () => {
    const result = await world.tsrun(
      ['run', '--rm', '-m', '16m', 'busybox', 'sh', '-c', 'head -c 64m /dev/zero | tail -c 64m | wc -c'],
      { timeoutMs: 30_000 },
    )

    expect(result.stdout.trim()).not.toBe(String(64 * 1024 * 1024))
  })

  test('--cpus bounds processor time', async () => {
    const spin = 'end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; cat /proc/self/stat; times'
    const shown = await sh(spin, ['--cpus', '0.2'])

    const [minutes, seconds] = shown
      .match(/(\d+)m([\d.]+)s/)
      ?.slice(1)
      .map(Number) ?? [9, 9]
    expect((minutes ?? 9) * 60 + (seconds ?? 9)).toBeLessThan(1.2)
  })

  test('a name is taken once', async () => {
    await world.ok(['run', '-d', '--name', 'unique', 'busybox', 'sleep', '1000'])

    const result = await world.tsrun(['run', '--name', 'unique', 'busybox', 'true'])

    expectError(result, 125, /"unique"/)
    await world.ok(['rm', '-f', 'unique'])
  })

  test.each(['-name', '--name'])('%s names the container', async flag => {
    await world.ok(['run', flag, 'named', 'busybox', 'true'])

    expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('named')
    await world.ok(['rm', 'named'])
  })

  test('--rm leaves no container', async () => {
    await world.ok(['run', '--rm', 'busybox', 'true'])
    await world.tsrun(['run', '--rm', 'busybox', 'false'])

    expect(await world.ok(['ps', '-aq'])).toBe('')
  })

  test('-d --rm leaves no container once it has ended', async () => {
    await world.ok(['run', '-d', '--rm', 'busybox', 'sleep', '0.3'])
    await sleep(300)

    await eventually('it is gone', async () => (await world.ok(['ps', '-aq'])) === '')
  })

  test('-d prints the id and returns while the container runs', async () => {
    const id = await world.ok(['run', '-d', 'busybox', 'sleep', '1000'])

    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(await world.ok(['ps', '-q', '--no-trunc'])).toBe(id)
    await world.ok(['rm', '-f', id])
  })

  test('a container outlives the client, and all who started it', async () => {
    const started = await world.host.sh(
      `setsid sh -c '"$0" "$@"' ${world.tsrunCommand([]).slice(2).join(' ')} run -d --name left busybox sleep 1000`,
      {
        env: world.env,
      },
    )

    expect(await world.ok(['ps', '-q', '--no-trunc'])).toBe(started.trim())
    await world.ok(['rm', '-f', 'left'])
  })
})

test(
  'run twice at the same moment with the same name makes one container',
  inWorld(async world => {
    const results = await Promise.all(
      Array.from({ length: 6 }, () => world.tsrun(['run', '-d', '--name', 'one', 'busybox', 'sleep', '1000'])),
    )

    expect(results.filter(({ code }) => code === 0)).toHaveLength(1)
    for (const result of results.filter(({ code }) => code !== 0)) expectError(result, 125, /"one"/)
    expect((await world.ok(['ps', '-aq'])).split('\n')).toHaveLength(1)
  }),
)
