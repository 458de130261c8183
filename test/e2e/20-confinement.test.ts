// What --security-opt, --sysctl and exec's flags allow and refuse: seen from inside, and nothing changed outside.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { World } from '../helpers/world.ts'

let world: World
let folder: string
beforeAll(async () => {
  world = await World.create()
  folder = mkdtempSync(join(tmpdir(), 'tsrun-confinement-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await world.dispose()
})

const run = (flags: string[], script: string) =>
  world.tsrun(['run', '--rm', '--net', 'none', ...flags, 'busybox', 'sh', '-c', script])

describe('--sysctl', () => {
  test('sets what the container has of its own, and nothing of the host', async () => {
    const host = () =>
      readFileSync('/proc/sys/kernel/shmmax', 'utf8') + readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')
    const before = host()
    const flags = ['--sysctl', 'kernel.shmmax=12345678', '--sysctl', 'net.ipv4.ip_default_ttl=77']
    expect((await run(flags, 'cd /proc/sys; cat kernel/shmmax net/ipv4/ip_default_ttl')).stdout).toBe('12345678\n77\n')
    expect(host()).toBe(before)
  })

  test.each(['kernel.panic', 'net/../kernel/panic', 'net.//.kernel.panic'])('refuses %s', async name => {
    const before = readFileSync('/proc/sys/kernel/panic', 'utf8')
    const { code, stderr } = await run(['--sysctl', `${name}=4711`], 'true')
    expect(readFileSync('/proc/sys/kernel/panic', 'utf8')).toBe(before)
    expect(code).toBe(125)
    expect(stderr).toContain(`cannot set sysctl "${name}" for a container`)
  })

  test('refuses those of a network that is the host’s', async () => {
    const { code, stderr } = await world.tsrun([
      'run',
      '--rm',
      '--net',
      'host',
      '--sysctl',
      'net.ipv4.ip_forward=1',
      'busybox',
      'true',
    ])
    expect(code).toBe(125)
    expect(stderr).toContain('it would change the host')
  })
})

describe('--security-opt', () => {
  test('mask hides, unmask and systempaths show', async () => {
    const look =
      'ls /proc/acpi | wc -l; cat /etc/passwd | wc -c; echo 70 > /proc/sys/net/ipv4/ip_default_ttl && echo written'
    expect((await run([], look)).stdout).toMatch(/^0\n[1-9]\d*\n$/)
    expect((await run(['--security-opt', 'mask=/etc/passwd:/not/there'], look)).stdout).toBe('0\n0\n')
    expect((await run(['--security-opt', 'unmask=/proc/acpi:/proc/sys'], look)).stdout).toMatch(/\nwritten\n$/)
    for (const all of ['systempaths=unconfined', 'unmask=ALL'])
      expect((await run(['--security-opt', all], 'mount | grep -c "/proc/\\|/sys/firmware"')).stdout).toBe('0\n')
  })

  test.each(['seccmp=unconfined', 'label=colour:red', 'mask=x', 'no-new-privileges=maybe', 'apparmor='])(
    'refuses %s instead of doing without',
    async option => {
      const { code, stderr } = await run(['--security-opt', option], 'true')
      expect(code).toBe(125)
      expect(stderr).toContain(`invalid value "${option}" for --security-opt`)
    },
  )

  test('refuses labels of a host that has none', async () => {
    const profile = await run(['--security-opt', 'apparmor=tsrun-test-none'], 'true')
    expect(profile.code).toBe(125)
    expect(profile.stderr).toContain('cannot apply AppArmor profile "tsrun-test-none"')
    // On a host with SELinux the label is one that its policy knows.
    const label = await run(['--security-opt', 'label=type:container_t'], 'true')
    expect(label.code).toBe(existsSync('/sys/fs/selinux/enforce') ? 0 : 125)
    for (const off of ['apparmor=unconfined', 'label=disable'])
      expect((await run(['--security-opt', off], 'true')).code).toBe(0)
  })

  test('seccomp takes the flags and default errno of a profile, and refuses what it cannot do', async () => {
    const profile = (name: string, fields: object) => {
      const path = join(folder, `${name}.json`)
      const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }]
      writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls, ...fields }))
      return ['--security-opt', `seccomp=${path}`]
    }
    const flags = ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'SECCOMP_FILTER_FLAG_TSYNC']
    const { stdout, stderr } = await run(
      profile('flags', { flags }),
      'grep Speculation_Store_Bypass /proc/self/status; mkdir /x',
    )
    expect(stderr).toContain("can't create directory '/x': Operation not permitted")
    // Without SPEC_ALLOW a filter turns on mitigations on processors that have them; where not, there is nothing to see.
    expect(stdout).not.toMatch(/force mitigated/)

    // Everything is refused but what a shell needs to say so, with the errno that the profile names: 95 is EOPNOTSUPP.
    const most = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ALLOW' }
    const others = { names: ['symlink', 'symlinkat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }
    expect((await run(profile('errno', { syscalls: [most, others] }), 'mkdir /x && ln -s a /b')).stderr).toContain(
      'not supported',
    )

    for (const [name, fields, reason] of [
      ['listener', { listenerPath: '/run/agent.sock' }, 'listenerPath must be left out'],
      ['notify', { defaultAction: 'SCMP_ACT_NOTIFY' }, 'defaultAction must be one of'],
      ['flag', { flags: ['SECCOMP_FILTER_FLAG_NEW_LISTENER'] }, 'flags[0] must be one of'],
    ] as const) {
      const refused = await run(profile(name, fields), 'true')
      expect(refused.code, name).toBe(125)
      expect(refused.stderr).toContain(reason)
    }
    const missing = await run(['--security-opt', `seccomp=${folder}/none.json`], 'true')
    expect(missing.code).toBe(125)
    expect(missing.stderr).toContain('cannot read the seccomp profile')
  })
})

describe('every way to start a process', () => {
  // A descriptor too many is a way out (CVE-2024-21626, CVE-2016-9962): here each kind of start is asked for its own.
  const script = 'cd /proc/$$/fd; set -- *; for fd; do [ -L $fd ] && list="$list $fd"; done; echo "fds:$list;"'
  const none = ['--net', 'none']

  test('passes on the descriptors 0, 1 and 2 only', async () => {
    const expected = 'fds: 0 1 2;'
    const seen: Record<string, string> = {}
    seen.run = (await run([], script)).stdout
    seen['run -i'] = (
      await world.tsrun(['run', '-i', '--rm', ...none, 'busybox', 'sh', '-c', script], { input: 'x' })
    ).stdout
    await world.ok(['run', '-d', '--name', 'detached', ...none, 'busybox', 'sh', '-c', script])
    await world.ok(['wait', 'detached'])
    seen['run -d'] = await world.ok(['logs', 'detached'])
    const health = ['--health-cmd', script, '--health-interval', '100ms']
    await world.ok([
      'run',
      '-d',
      '--name',
      'box',
      ...none,
      ...health,
      '--init',
      'busybox',
      'sh',
      '-c',
      `${script}; sleep 1000`,
    ])
    seen['run --init'] = await world.ok(['logs', 'box'])
    for (const flags of [[], ['-i'], ['--privileged'], ['-u', '1000'], ['-w', '/tmp']])
      seen[`exec ${flags.join(' ')}`] = await world.ok(['exec', ...flags, 'box', 'sh', '-c', script])
    const log = async () => (await world.json(['inspect', 'box']))[0].State.Health.Log
    await eventually('a probe', async () => (await log()).length > 0)
    seen.healthcheck = (await log()).at(-1).Output
    // The second start is the monitor's own, by policy.
    await world.ok([
      'run',
      '-d',
      '--name',
      'again',
      ...none,
      '--restart',
      'on-failure:1',
      'busybox',
      'sh',
      '-c',
      `${script}; exit 1`,
    ])
    const runs = async () => (await world.ok(['logs', 'again'])).match(/fds/g)?.length === 2
    await eventually('a restart', runs, 20_000)
    seen.restart = (await world.ok(['logs', 'again'])).split('\n').at(-1) ?? ''
    for (const command of [
      ['run', '--rm', ...none, '-it', 'busybox'],
      ['exec', '-it', 'box'],
    ]) {
      const terminal = await world.terminal([...command, 'sh', '-c', script])
      await terminal.waitFor(/fds:.*;/)
      seen[command.join(' ')] = terminal.output()
      await terminal.finished()
    }
    await world.ok(['rm', '-f', 'detached', 'box', 'again'])

    for (const [how, output] of Object.entries(seen)) expect(/fds:[^;]*;/.exec(output)?.[0], how).toBe(expected)
    expect(Object.keys(seen)).toHaveLength(13)
  })

  test('exec has the groups of the user in the image, the restrictions of the container, and more only when asked', async () => {
    await world.ok([
      'run',
      '-d',
      '--name',
      'box',
      ...none,
      '--cap-drop',
      'ALL',
      '--security-opt',
      'no-new-privileges',
      'busybox',
      'sh',
      '-c',
      'echo "ann:x:1000:1000::/home/ann:/bin/sh" >> /etc/passwd; echo "wheel:x:77:ann" >> /etc/group; sleep 1000',
    ])
    expect(
      await world.ok([
        'exec',
        '-u',
        'ann',
        'box',
        'sh',
        '-c',
        'until grep -q ann /etc/group; do :; done; id -u; id -G; echo $HOME',
      ]),
    ).toMatch(/^1000\n1000 77\n\/home\/ann$/)
    expect(await world.ok(['exec', '-u', 'ann:5', 'box', 'id', '-G'])).toBe('5')
    const status = ['sh', '-c', 'grep "CapEff\\|NoNewPrivs\\|Seccomp:" /proc/self/status']
    expect(await world.ok(['exec', 'box', ...status])).toMatch(/CapEff:\t0{16}\nNoNewPrivs:\t1\nSeccomp:\t2/)
    expect(await world.ok(['exec', '--privileged', 'box', ...status])).toMatch(
      /CapEff:\t0{5}1\w{10}\nNoNewPrivs:\t1\nSeccomp:\t0/,
    )
    await world.ok(['rm', '-f', 'box'])
  })
})

test('a command that is killed while it keeps a seccomp program leaves nothing to the next', async () => {
  const run = ['run', '--rm', '--net', 'none', '--cap-add', 'SYS_ADMIN', 'busybox', 'true']
  const env = { ...world.env, TSRUN_FAULT: 'draft of a seccomp program:kill' }
  expect((await world.tsrun(run, { env })).signal).toBe('SIGKILL')
  const programs = () => readdirSync(join(world.root, 'seccomp'))
  expect(programs().some(name => name.endsWith('.tmp'))).toBe(true)

  await world.ok(run)

  expect(programs().filter(name => name.endsWith('.tmp'))).toEqual([])
  await world.removeContainers()
})
