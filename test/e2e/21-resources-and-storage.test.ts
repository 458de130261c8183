// Limits as a process meets them, on a real disk where it is about disks; and mounts in all their forms.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

let world: World
/** On a disk, which the world's own folder need not be. */
let folder: string
beforeAll(async () => {
  world = await World.create()
  folder = mkdtempSync('/var/tmp/tsrun-storage-')
})
afterAll(async () => {
  await world.tsrun(['volume', 'prune', '-af'])
  await world.dispose()
  rmSync(folder, { recursive: true, force: true })
})

const run = (flags: string[], script: string) =>
  world.ok(['run', '--rm', '--net', 'none', ...flags, 'busybox', 'sh', '-c', script])

/** The whole disk that a folder is on: limits know no partitions. */
function diskOf(path: string): string {
  const [major, minor] = execFileSync('stat', ['-c', '%Hd %Ld', path], { encoding: 'utf8' }).trim().split(' ')
  const device = realpathSync(`/sys/dev/block/${major}:${minor}`)
  return `/dev/${basename(existsSync(join(device, 'partition')) ? dirname(device) : device)}`
}

describe('limits', () => {
  // Past the page cache (direct), or the limit would be met by whoever writes it back.
  test.each([
    ['--device-write-bps', '2mb', 'dd if=/dev/zero of=/io/r bs=256k count=12 oflag=direct conv=notrunc', 3 / 2],
    ['--device-write-iops', '20', 'dd if=/dev/zero of=/io/r bs=4k count=30 oflag=direct conv=notrunc', 30 / 20],
    ['--device-read-bps', '2mb', 'dd if=/io/r of=/dev/null bs=256k count=12 iflag=direct', 3 / 2],
    ['--device-read-iops', '20', 'dd if=/io/r of=/dev/null bs=4k count=30 iflag=direct', 30 / 20],
  ])('%s %s slows down direct I/O on a disk', async (flag, rate, command, seconds) => {
    writeFileSync(join(folder, 'r'), Buffer.alloc(3 << 20))
    execFileSync('sync', [join(folder, 'r')])
    const timed = async (flags: string[]) => {
      const script = `a=$(cut -d" " -f1 /proc/uptime); ${command} 2>/dev/null || exit 3; b=$(cut -d" " -f1 /proc/uptime); echo $a $b`
      const [start = 0, end = 0] = (await run([...flags, '-v', `${folder}:/io`], script)).split(' ').map(Number)
      return end - start
    }
    // The first of the allowance is there at once; nobody gets twice the rate.
    const slow = await timed([flag, `${diskOf(folder)}:${rate}`])
    expect(slow).toBeGreaterThan(seconds / 2)
    expect(await timed([flag, `${diskOf(folder)}:1000000000`])).toBeLessThan(slow)
  })

  test('--oom-score-adj, --shm-size and --cpuset-cpus are what the process finds', async () => {
    const flags = ['--oom-score-adj', '500', '--shm-size', '3m', '--cpuset-cpus', '0']
    const script = `cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status
      head -c 4000000 /dev/zero > /dev/shm/f; wc -c < /dev/shm/f`
    const { stdout, stderr } = await world.tsrun([
      'run',
      '--rm',
      '--net',
      'none',
      ...flags,
      'busybox',
      'sh',
      '-c',
      script,
    ])
    expect(stdout).toBe('500\nCpus_allowed_list:\t0\n3145728\n')
    expect(stderr).toMatch(/No space left|I\/O error/)
  })

  test('--memory-reservation, --memory-swap and --blkio-weight are in the container’s cgroup', async () => {
    const flags = ['-m', '64m', '--memory-reservation', '32m', '--memory-swap', '80m', '--blkio-weight', '300']
    const script =
      'cd /sys/fs/cgroup; cat memory/memory.soft_limit_in_bytes memory.low 2>/dev/null; cat memory/memory.memsw.limit_in_bytes memory.swap.max 2>/dev/null; cat blkio/blkio.bfq.weight blkio/blkio.weight io.bfq.weight io.weight 2>/dev/null; true'
    const lines = (await run(flags, script)).split('\n')
    expect(lines[0]).toBe(String(32 << 20))
    // v1 counts memory and swap together, v2 the swap alone.
    expect([String(80 << 20), String(16 << 20)]).toContain(lines[1])
    expect(lines[2]).toMatch(/(^| )300$/)
  })

  test('--oom-kill-disable lets a process at its limit sleep instead of die', async () => {
    const flags = ['-m', '16m', '--memory-swap', '16m', '--oom-kill-disable']
    const args = [
      'run',
      '-d',
      '--name',
      'asleep',
      '--net',
      'none',
      ...flags,
      'busybox',
      'sh',
      '-c',
      // Its own pages: what the kernel fills for it in a write fails instead of waiting.
      'x=0123456789abcdef; while :; do x=$x$x; done',
    ]
    const { code, stderr } = await world.tsrun(args)
    if (existsSync('/sys/fs/cgroup/memory')) {
      expect(code).toBe(0)
      const under = () =>
        execFileSync(
          'sh',
          ['-c', `cat ${world.engineCgroups().find(path => path.includes('/memory/'))}/*/memory.oom_control`],
          { encoding: 'utf8' },
        )
      await expect.poll(under, { timeout: 15_000 }).toMatch(/under_oom 1\noom_kill 0/)
      expect((await world.json(['inspect', 'asleep']))[0].State.Running).toBe(true)
      await world.ok(['rm', '-f', 'asleep'])
    } else {
      expect(code).toBe(125)
      expect(stderr).toContain('--oom-kill-disable')
    }
  })
})

describe('binds', () => {
  /** A folder with a tmpfs mounted in it, in a mount namespace's worth of the host: taken away again. */
  const withMountBelow = async (task: (path: string) => Promise<void>) => {
    const path = mkdtempSync(join(folder, 'tree-'))
    mkdirSync(join(path, 'below'))
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(path, 'below')])
    try {
      writeFileSync(join(path, 'below/file'), 'x')
      await task(path)
    } finally {
      execFileSync('umount', [join(path, 'below')])
    }
  }
  const write =
    '(echo > /d/top) 2>/dev/null && echo top; (echo > /d/below/f) 2>/dev/null && echo below; ls /d/below | grep -c file'

  test('come with what is mounted below, and read-only means all of it', async () => {
    await withMountBelow(async path => {
      const bind = (options: string) => ['--mount', `type=bind,source=${path},target=/d${options}`]
      expect(await run(bind(''), write)).toBe('top\nbelow\n1')
      expect(await run(bind(',readonly'), write).catch(String)).toMatch(/^1$/)
      expect(await run(['-v', `${path}:/d:ro`], write)).toBe('1')
      expect(await run(bind(',readonly,bind-recursive=readonly'), write)).toBe('1')
      expect(await run(bind(',readonly,bind-recursive=writable'), write)).toBe('below\n1')
      expect(await run(bind(',bind-recursive=disabled'), `${write}; true`)).toBe('top\nbelow\n0')
      expect(await run(bind(',bind-nonrecursive'), `${write}; true`)).toBe('top\nbelow\n0')
    })
  })

  test('propagate as asked: rslave shows what the host mounts, rshared also the other way, rprivate neither', async () => {
    const path = mkdtempSync(join(folder, 'shared-'))
    execFileSync('mount', ['--bind', path, path])
    execFileSync('mount', ['--make-rshared', path])
    try {
      mkdirSync(join(path, 'host'))
      mkdirSync(join(path, 'inside'))
      for (const [mode, seesHost, hostSees] of [
        ['rprivate', false, false],
        ['rslave', true, false],
        ['rshared', true, true],
      ] as const) {
        const flags = ['--cap-add', 'SYS_ADMIN', '-v', `${path}:/d:${mode}`]
        await world.ok(['run', '-d', '--name', mode, '--net', 'none', ...flags, 'busybox', 'sleep', '1000'])
        execFileSync('mount', ['-t', 'tmpfs', 'x', join(path, 'host')])
        await world.ok(['exec', mode, 'mount', '-t', 'tmpfs', 'y', '/d/inside'])
        const mounts = await world.ok(['exec', mode, 'cat', '/proc/mounts'])
        expect(mounts.includes(' /d/host '), mode).toBe(seesHost)
        expect(execFileSync('cat', ['/proc/mounts'], { encoding: 'utf8' }).includes(`${path}/inside`), mode).toBe(
          hostSees,
        )
        execFileSync('umount', [join(path, 'host')])
        await world.ok(['exec', mode, 'umount', '/d/inside'])
        await world.ok(['rm', '-f', mode])
      }
    } finally {
      execFileSync('umount', ['-R', path])
    }
  })

  test(':U gives the source to the container’s user, links themselves included, and :idmap maps it', async () => {
    const path = mkdtempSync(join(folder, 'owned-'))
    writeFileSync(join(path, 'file'), '')
    writeFileSync(join(folder, 'outside'), '')
    execFileSync('ln', ['-s', join(folder, 'outside'), join(path, 'link')])
    expect(await run(['-u', '1234:5678', '-v', `${path}:/d:U`], 'stat -c %u:%g /d /d/file; echo > /d/mine')).toBe(
      '1234:5678\n1234:5678',
    )
    expect(statSync(join(folder, 'outside')).uid).toBe(0)
    await run(['--uidmap', '0:200000:65536', '-v', `${path}:/d:U`], 'echo > /d/root')
    expect(statSync(join(path, 'root')).uid).toBe(200000)
    await run(['--uidmap', '0:200000:65536', '-v', `${path}:/d:U,idmap`], 'echo > /d/mapped; chown 7:7 /d/mapped')
    expect(statSync(join(path, 'mapped')).uid).toBe(7)
  })
})

describe('volumes', () => {
  test('volume-subpath mounts a part, and never what a link in the volume leads to', async () => {
    mkdirSync(join(folder, 'secret'))
    writeFileSync(join(folder, 'secret/of-the-host'), '')
    await run(
      ['-v', 'parts:/v'],
      `mkdir -p /v/a/b; echo x > /v/a/b/file; ln -s a/b /v/inner; ln -s ${folder}/secret /v/outer; ln -s ../../../../../../../../../..${folder}/secret /v/up`,
    )
    const part = (subpath: string) => ['--mount', `type=volume,source=parts,target=/p,volume-subpath=${subpath}`]
    expect(await run(part('a/b'), 'ls /p')).toBe('file')
    expect(await run(part('inner'), 'ls /p')).toBe('file')
    expect(await run(part('a/b/file'), 'cat /p')).toBe('x')
    expect(await run(part('../../../../etc'), 'ls /p').catch(String)).toContain('has no "../../../../etc"')
    for (const link of ['outer', 'up', 'none']) {
      const { code, stderr } = await world.tsrun(['run', '--rm', ...part(link), 'busybox', 'ls', '/p'])
      expect(code, link).toBe(125)
      expect(stderr).toContain(`has no "${link}"`)
    }
    await world.ok(['volume', 'rm', 'parts'])
  })

  test('an empty volume is filled from the image by the first container that starts with it, and by no later start', async () => {
    await world.ok(['volume', 'create', 'made'])
    expect(await run(['-v', 'made:/root:nocopy'], 'ls -A /root')).toBe('')
    await world.ok(['create', '--name', 'filled', '--net', 'none', '-v', 'made:/etc', 'busybox', 'cat', '/etc/passwd'])
    expect(await world.ok(['start', '-a', 'filled'])).toMatch(/^root:/)
    await run(['-v', 'made:/v'], 'rm /v/*')
    expect(await world.tsrun(['start', '-a', 'filled'])).toMatchObject({ code: 1, stdout: '' })
    await world.ok(['rm', 'filled'])
    await world.ok(['volume', 'rm', 'made'])
  })

  test('create -o: memory of each container, or a folder of the host that stays', async () => {
    await world.ok(['volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m,mode=711', 'ram'])
    const script = 'stat -fc %T /v; stat -c %a /v; head -c 2000000 /dev/zero >/v/f 2>/dev/null; wc -c </v/f'
    for (let start = 0; start < 2; start += 1) expect(await run(['-v', 'ram:/v'], script)).toBe('tmpfs\n711\n1048576')

    const site = join(folder, 'site')
    const bind = (o: string, name: string) =>
      world.tsrun(['volume', 'create', '-o', 'type=none', '-o', `o=${o}`, '-o', `device=${site}`, name])
    await bind('bind', 'site')
    await bind('bind,ro', 'sealed')
    const missing = await world.tsrun(['run', '--rm', '-v', 'site:/v', 'busybox', 'true'])
    expect(missing).toMatchObject({ code: 125, stderr: expect.stringContaining(`the device "${site}"`) })
    mkdirSync(site)
    await run(['-v', 'site:/v'], 'echo hi >/v/file')
    expect(await run(['-v', 'sealed:/v'], 'cat /v/file; echo x 2>/dev/null >/v/file || echo refused')).toBe(
      'hi\nrefused',
    )
    expect((await world.json(['volume', 'inspect', 'site']))[0]).toMatchObject({
      Mountpoint: site,
      Options: { type: 'none', o: 'bind', device: site },
    })
    expect(await bind('bind,ro', 'site')).toMatchObject({ code: 1, stderr: expect.stringContaining('other options') })

    expect(await world.ok(['volume', 'prune', '-af'])).toMatch(/reclaimed space: 0 ?B/i)
    expect(existsSync(join(site, 'file'))).toBe(true)
  })

  test.each([
    [['type=nfs', 'o=addr=10.0.0.1', 'device=:/data'], 'hint: mount it on the host'],
    [['type=none', 'o=bind', 'device=data'], 'is not an absolute path'],
    [['type=none', 'o=bind,exec', 'device=/data'], 'a bind has no option "exec"'],
    [['type=ext4', 'o=bind', 'device=/dev/sda'], 'a bind has no type "ext4"'],
    [['o=size=1m'], 'neither tmpfs nor bind'],
    [['size=1m'], 'there is no option "size"'],
  ])('create -o %s is refused', async (options, reason) => {
    const flags = options.flatMap(option => ['-o', option])
    const { code, stderr } = await world.tsrun(['volume', 'create', ...flags, 'never'])
    expect(code).toBe(1)
    expect(stderr).toContain(reason)
    expect(await world.ok(['volume', 'ls', '-q'])).not.toContain('never')
  })

  test('tmpfs takes size, mode and owner', async () => {
    const tmpfs = [
      '--tmpfs',
      '/t:size=1m,mode=1750,uid=5,gid=6,exec',
      '--mount',
      'type=tmpfs,target=/m,tmpfs-size=2m,tmpfs-mode=700',
    ]
    const script =
      'stat -c %a:%u:%g /t /m; df -k /t /m | tail -n 2 | while read a size rest; do echo $size; done; head -c 2000000 /dev/zero > /t/f; wc -c < /t/f; mount | grep " /t " | grep -c noexec'
    const { stdout } = await world.tsrun(['run', '--rm', '--net', 'none', ...tmpfs, 'busybox', 'sh', '-c', script])
    expect(stdout).toBe('1750:5:6\n700:0:0\n1024\n2048\n1048576\n0\n')
  })

  test('unknown keys and values of --mount are refused', async () => {
    for (const [mount, reason] of [
      ['type=bind,source=/tmp,target=/d,bind-recursive=maybe', 'bind-recursive'],
      ['type=volume,target=/d,bind-nonrecursive', 'means nothing to the type "volume"'],
      ['type=volume,target=/d,relabel=blue', 'relabel'],
      ['type=volume,target=/d,volume-opt=x=y', 'volume-opt'],
    ] as const) {
      const { code, stderr } = await world.tsrun(['run', '--rm', '--mount', mount, 'busybox', 'true'])
      expect(code, mount).toBe(125)
      expect(stderr, mount).toContain(reason)
    }
  })
})
