// What a container may see and do, and that the host stays as it was.

import { readFileSync, readlinkSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { inWorld, World } from '../helpers/world.ts'

let world: World
const sh = (script: string, flags: string[] = []) => world.ok(['run', '--rm', ...flags, 'busybox', 'sh', '-c', script])

beforeAll(async () => {
  world = await World.create()
})
afterAll(() => world.dispose())

describe('a container', () => {
  test.each(['pid', 'mnt', 'uts', 'ipc', 'net', 'cgroup'])('has a %s namespace of its own', async kind => {
    const [one, two] = [await sh(`readlink /proc/self/ns/${kind}`), await sh(`readlink /proc/self/ns/${kind}`)]

    expect(one).not.toBe(readlinkSync(`/proc/self/ns/${kind}`))
    expect(two).toMatch(new RegExp(`^${kind}:`))
  })

  test('sees its own processes alone, itself as pid 1', async () => {
    expect(await sh('echo $$; ls -d /proc/[0-9]* | wc -l')).toMatch(/^1\n[23]$/)
  })

  test('has an overlay for a root, and the mounts of the OCI runtime specification', async () => {
    const mounts = await sh('cat /proc/self/mounts')

    expect(mounts).toMatch(/^overlay \/ overlay rw/m)
    for (const [target, type] of [
      ['/proc', 'proc'],
      ['/sys', 'sysfs'],
      ['/dev', 'tmpfs'],
      ['/dev/pts', 'devpts'],
      ['/dev/shm', 'tmpfs'],
      ['/dev/mqueue', 'mqueue'],
    ]) {
      expect(mounts).toMatch(new RegExp(`^\\S+ ${target} ${type} `, 'm'))
    }
    expect(mounts).toMatch(/^\S+ \/sys sysfs ro/m)
    expect(mounts).not.toContain('oldroot')
  })

  test('has the devices of the specification and no others', async () => {
    expect((await sh('ls /dev')).split('\n').filter(name => name !== 'console')).toEqual([
      'core',
      'fd',
      'full',
      'mqueue',
      'null',
      'ptmx',
      'pts',
      'random',
      'shm',
      'stderr',
      'stdin',
      'stdout',
      'tty',
      'urandom',
      'zero',
    ])
    expect(await sh('echo x > /dev/null; head -c 3 /dev/zero | wc -c; ls -l /dev/null | cut -c1-10')).toMatch(
      /3\ncrw-rw-rw-/,
    )
    expect(await sh('mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk 2>&1 | cat -v; true')).toMatch(
      /not permitted|denied/,
    )
  })

  test('has the capabilities that docker gives, and no more', async () => {
    const status = await sh('grep -E "^(CapEff|CapBnd|CapPrm|CapInh|CapAmb)" /proc/self/status')

    expect(Object.fromEntries(status.split('\n').map(line => line.split(/:\s+/)))).toEqual({
      CapInh: '0000000000000000',
      CapPrm: '00000000a80425fb',
      CapEff: '00000000a80425fb',
      CapBnd: '00000000a80425fb',
      CapAmb: '0000000000000000',
    })
  })

  test('has no capabilities as another user', async () => {
    expect(await sh('grep CapEff /proc/self/status', ['-u', '1000'])).toMatch(/0000000000000000$/)
  })

  test('has a seccomp filter', async () => {
    expect(await sh('grep "^Seccomp:" /proc/self/status')).toMatch(/2$/)
    expect(await sh('unshare -m true 2>&1 || echo refused')).toMatch(/refused/)
    expect(await sh('mount -t tmpfs x /mnt 2>&1 || echo refused')).toMatch(/refused/)
  })

  test('has no_new_privs when asked for', async () => {
    expect(await sh('grep NoNewPrivs /proc/self/status')).toMatch(/0$/)
    expect(await sh('grep NoNewPrivs /proc/self/status', ['--security-opt', 'no-new-privileges'])).toMatch(/1$/)
  })

  test('finds masked paths empty and read-only paths read-only', async () => {
    expect(await sh('cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c')).toBe('0')
    expect(await sh('ls /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c . || true')).toBe('0')
    for (const path of ['/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/proc/sys/net/ipv4/ip_forward']) {
      expect(await sh(`echo x > ${path} 2>/dev/null || echo refused`)).toBe('refused')
    }
  })

  test('inherits no descriptor', async () => {
    const open = await world.host.sh(
      `exec 7</etc/passwd 8>/dev/null; ${world.tsrunCommand(['run', '--rm', 'busybox', 'ls', '/proc/self/fd']).slice(2).join(' ')}`,
      { env: world.env },
    )

    // 3 is the folder that ls reads.
    expect(open).toBe('0\n1\n2\n3\n')
  })

  test('starts with clean signals and the umask 022', async () => {
    const status = await world.host.sh(
      `trap "" INT USR1 PIPE; umask 077; ${world.tsrunCommand(['run', '--rm', 'busybox', 'sh', '-c', "'grep -E ^Sig[BI] /proc/self/status; umask'"]).slice(2).join(' ')}`,
      { env: world.env },
    )

    // 32 and 33 belong to the C library: musl does not let a program touch them.
    expect(status).toMatch(/SigBlk:\s+0000000000000000\nSigIgn:\s+[0-9a-f]{8}[08]0000000\n0022/)
  })

  test('has eth0 with its address and the bridge as default route', async () => {
    expect(await sh('ip route')).toMatch(/^default via (\d+\.\d+\.\d+)\.1 dev eth0 *\n\1\.0\/\d+ dev eth0 /)
    expect(await sh('ip link show eth0')).toMatch(/UP/)
    expect(await sh('ip -o -4 addr show lo')).toContain('127.0.0.1/8')
  })

  test('cannot write to what its image shares with others', async () => {
    await sh('echo changed > /etc/passwd; rm -rf /bin')

    expect(await sh('head -c 4 /etc/passwd; ls /bin/sh')).toMatch(/^root/)
  })

  test('--read-only makes the root read-only', async () => {
    expect(await sh('echo x > /file 2>/dev/null || echo refused', ['--read-only'])).toBe('refused')
  })
})

describe('the host keeps', () => {
  const facts = () => ({
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter(line => !line.includes('tsrun-'))
      .map(line => line.split(' ').slice(3).join(' ')),
    hostname: readFileSync('/proc/sys/kernel/hostname', 'utf8'),
    proc: readlinkSync('/proc/self').length > 0,
    resolv: readFileSync('/etc/resolv.conf', 'utf8'),
    hosts: readFileSync('/etc/hosts', 'utf8'),
  })

  test('its mounts, /proc and hostname while a container runs and when it has ended', async () => {
    const before = facts()

    const id = await world.ok(['run', '-d', '--hostname', 'elsewhere', 'busybox', 'sleep', '1000'])
    expect(facts()).toEqual(before)
    await world.ok(['rm', '-f', id])

    expect(facts()).toEqual(before)
  })

  test(
    'them also when client, monitor and container are killed with SIGKILL',
    inWorld(async other => {
      const before = facts()
      const untouched = await other.settled()
      const running = other.start([
        'run',
        '--name',
        'victim',
        '--hostname',
        'elsewhere',
        'busybox',
        'sh',
        '-c',
        'echo ready; sleep 1000',
      ])
      await running.waitFor(/ready/)
      const [{ State }] = await other.json(['inspect', 'victim'])

      await other.host.sh(
        `monitor=$(awk '{ print $4 }' /proc/${State.Pid}/stat); kill -9 ${running.pid} "$monitor" ${State.Pid}`,
      )
      await running.result

      expect(facts()).toEqual(before)
      await eventually('it is seen', async () => (await other.tsrun(['ps', '-q'])).stdout === '')
      await other.ok(['rm', '-f', 'victim'])
      const changes = await other.changesSince(untouched, { ignore: [/^file /] })
      expect(changes.filter(change => /^(mount|process|cgroup)/.test(change))).toEqual([])
    }),
  )
})

test(
  'the cgroup of the engine stands while a container runs, and goes with the last one',
  inWorld(async other => {
    await other.ok(['run', '-d', '--name', 'a', 'busybox', 'sleep', '1000'])
    await other.ok(['run', '-d', '--name', 'b', 'busybox', 'sleep', '1000'])
    expect(other.engineCgroups()).not.toEqual([])

    await other.ok(['rm', '-f', 'a'])
    expect(other.engineCgroups()).not.toEqual([])
    await other.ok(['rm', '-f', 'b'])

    await eventually('they are gone', () => other.engineCgroups().length === 0)
  }),
)
