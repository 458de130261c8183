import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeBootstrap, type InitConfig, type InitMount } from '../../src/kernel/init-protocol.ts'
import { attach, type Change, defaultMounts, parentOf, type RunResult, Workbench } from './harness.ts'

const MS_RDONLY = 1
const MS_NOSUID = 2
const MS_NODEV = 4
const MS_NOEXEC = 8
const MS_BIND = 4096
const MS_REC = 16384

let bench: Workbench
beforeAll(() => {
  bench = new Workbench()
})
afterAll(() => bench.dispose())

async function sh(script: string, change: Change = {}): Promise<RunResult> {
  return bench.run(['sh', '-c', script], change)
}

function bind(source: string, destination: string, flags = 0, more: Partial<InitMount> = {}): InitMount {
  return { source, destination, type: 'bind', flags: MS_BIND | MS_REC | flags, data: '', ...more }
}

/** Runs `script` on an image that `prepare` (a shell script, in the image's root) has changed. */
async function onImage(
  prepare: string,
  script: string,
  change: (lower: string, dir: string) => Change = () => ({}),
): Promise<RunResult> {
  const dir = bench.box()
  const extra = join(dir, 'extra')
  mkdirSync(extra)
  execFileSync('sh', ['-ec', prepare], { cwd: extra })
  const base = bench.config(dir, ['sh', '-c', script], change(extra, dir))
  const source = base.rootfs?.source
  if (base.rootfs === undefined || source?.kind !== 'overlay') throw new Error('no overlay')
  const rootfs = { ...base.rootfs, source: { ...source, lowerDirs: [extra, ...source.lowerDirs] } }
  return bench.finish(dir, await bench.start({ ...base, rootfs }), {})
}

describe('the rootfs', () => {
  test('is an overlay whose upper directory gets the changes', async () => {
    const { dir, code } = await sh('echo new > /etc/new; rm -r /data')
    expect(code).toBe(0)
    expect(readFileSync(join(dir, 'upper/etc/new'), 'utf8')).toBe('new\n')
    expect(existsSync(join(bench.lower, 'data'))).toBe(true)
  })

  test('may be a directory', async () => {
    const dir = bench.box()
    execFileSync('cp', ['-a', bench.lower, join(dir, 'copy')])
    const config = bench.config(dir, ['sh', '-c', 'touch /made; ls -d /made'], {
      rootfs: {
        target: join(dir, 'rootfs'),
        readonly: false,
        propagation: 'rprivate',
        source: { kind: 'directory', path: join(dir, 'copy') },
      },
    })
    expect(await bench.finish(dir, await bench.start(config), {})).toMatchObject({ code: 0, stdout: '/made\n' })
    expect(existsSync(join(dir, 'copy/made'))).toBe(true)
  })

  test('may be read-only, with what is mounted below still writable', async () => {
    const dir = bench.box()
    const base = bench.config(dir, ['sh', '-c', 'touch /x 2>/dev/null || echo ro; touch /dev/shm/x && echo rw'])
    if (base.rootfs === undefined) throw new Error('no rootfs')
    const result = await bench.finish(
      dir,
      await bench.start({ ...base, rootfs: { ...base.rootfs, readonly: true } }),
      {},
    )
    expect(result.stdout).toBe('ro\nrw\n')
  })

  test.each([
    ['many layers with long names', 120, 'layer-'.repeat(30)],
    ['names with commas, colons and backslashes', 3, 'a,b:c\\d'],
  ])('takes %s', async (_, count, name) => {
    const dir = bench.box()
    const lowerDirs = Array.from({ length: count }, (_, i) => join(dir, `${name}${i}`))
    lowerDirs.forEach((layer, i) => {
      mkdirSync(layer)
      writeFileSync(join(layer, `file${i}`), '')
    })
    const base = bench.config(dir, ['sh', '-c', 'ls / | grep -c "^file"'])
    const source = base.rootfs?.source
    if (base.rootfs === undefined || source?.kind !== 'overlay') throw new Error('no overlay')
    const rootfs = {
      ...base.rootfs,
      source: { ...source, lowerDirs: [...lowerDirs, bench.lower], options: 'xino=off,volatile' },
    }
    const result = await bench.finish(dir, await bench.start({ ...base, rootfs }), {})
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout).toBe(`${count}\n`)
  })

  test('reports what the kernel says about an overlay that it refuses', async () => {
    const dir = bench.box()
    const base = bench.config(dir, ['true'])
    const source = base.rootfs?.source
    if (base.rootfs === undefined || source?.kind !== 'overlay') throw new Error('no overlay')
    const rootfs = { ...base.rootfs, source: { ...source, options: 'nonesuch=1' } }
    const result = await bench.finish(dir, await bench.start({ ...base, rootfs }), {})
    expect(result.outcome).toMatchObject({
      kind: 'failed',
      stage: 'rootfs',
      errno: 22,
      what: expect.stringContaining('nonesuch'),
    })
  })

  test('is all there is: the host root is gone', async () => {
    const { stdout } = await sh('cat /proc/self/mountinfo | cut -d" " -f 5; ls /proc/1/root/../..')
    expect(stdout).not.toContain(bench.dir)
    expect(stdout.split('\n').filter(line => line === '/')).toHaveLength(1)
  })
})

describe('binds', () => {
  test('show a directory or a file of the host, made where missing', async () => {
    const source = join(bench.dir, 'shared')
    mkdirSync(source, { recursive: true })
    writeFileSync(join(source, 'file'), 'content')
    const { stdout } = await sh('cat /new/dir/file /etc/deep/one; touch /new/dir/made', {
      mounts: [...defaultMounts, bind(source, '/new/dir'), bind(join(source, 'file'), '/etc/deep/one')],
    })
    expect(stdout).toBe('contentcontent')
    expect(existsSync(join(source, 'made'))).toBe(true)
  })

  test('take their flags', async () => {
    const source = join(bench.dir, 'flags')
    mkdirSync(source)
    const { stdout } = await sh(
      'touch /b/x 2>/dev/null || echo ro; grep " /b " /proc/self/mountinfo | cut -d" " -f 6',
      {
        mounts: [...defaultMounts, bind(source, '/b', MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)],
      },
    )
    expect(stdout).toMatch(/^ro\nro,nosuid,nodev,noexec/)
  })

  test('are read-only to the bottom when asked for, else only at the top', async () => {
    const source = join(bench.dir, 'tree')
    mkdirSync(join(source, 'sub'), { recursive: true })
    const script = 'touch /b/x 2>/dev/null || echo ro; touch /b/sub/x 2>/dev/null || echo sub ro'
    // The submount is made by the container config itself, below a private copy: the host is not touched.
    const mounts = (more: Partial<InitMount>): InitConfig['mounts'] => [
      ...defaultMounts,
      bind(source, '/a'),
      { destination: '/a/sub', type: 'tmpfs', source: 'tmpfs', flags: 0, data: '' },
      bind(source, '/b', MS_RDONLY, more),
    ]
    expect((await sh(script, { mounts: mounts({}) })).stdout).toBe(
      'ro\nsub ro\n'.replace('sub ro\n', existsSync(join(source, 'sub/x')) ? '' : 'sub ro\n'),
    )
    expect((await sh(script, { mounts: mounts({ recursiveReadOnly: true }) })).stdout).toBe('ro\nsub ro\n')
  })

  test('that are optional may be missing, others may not', async () => {
    const missing = bind('/no/such/source', '/b')
    expect((await sh('true', { mounts: [...defaultMounts, { ...missing, optional: true }] })).code).toBe(0)
    expect((await sh('true', { mounts: [...defaultMounts, missing] })).outcome).toEqual({
      kind: 'failed',
      stage: 'mounts',
      what: 'mount /no/such/source on /b',
      errno: 2,
      phase: 'setup',
    })
  })
})

describe('tmpfs', () => {
  test('starts with the content of the image when copied up', async () => {
    const prepare =
      'mkdir -p var/x/deep; echo a > var/x/a; chown 12:34 var/x/a; chmod 4751 var/x/a; ln -s a var/x/link; echo b > var/x/deep/b; chmod 1700 var/x/deep'
    const script =
      'stat -c "%A %u:%g %n" /var/x/a /var/x/deep; cat /var/x/link /var/x/deep/b; stat -f -c %T /var/x; touch /var/x/new'
    const result = await onImage(prepare, script, () => ({
      mounts: [
        ...defaultMounts,
        { destination: '/var/x', type: 'tmpfs', source: 'tmpfs', flags: 0, data: 'mode=755', tmpCopyUp: true },
      ],
    }))
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout).toBe('-rwsr-x--x 12:34 /var/x/a\ndrwx-----T 0:0 /var/x/deep\na\nb\ntmpfs\n')
    expect(existsSync(join(result.dir, 'upper/var/x/new'))).toBe(false)
  })

  test('takes its size, and may be read-only and still be copied up', async () => {
    const tmpfs = { type: 'tmpfs', source: 'named' } as const
    const result = await onImage(
      'mkdir full; echo a > full/a',
      'grep -E " /(full|small) " /proc/mounts; cat /full/a; touch /full/x',
      () => ({
        mounts: [
          ...defaultMounts,
          { ...tmpfs, destination: '/full', flags: MS_RDONLY | MS_NOSUID, data: 'mode=750', tmpCopyUp: true },
          { ...tmpfs, destination: '/small', flags: MS_NODEV, data: 'size=64k,nr_inodes=10' },
        ],
      }),
    )
    expect(result.stdout).toMatch(
      /^named \/full tmpfs ro,nosuid,relatime,mode=750.*\nnamed \/small tmpfs rw,nodev,relatime,size=64k,nr_inodes=10.*\na\n$/,
    )
    expect(result.code).toBe(1)
  })

  test('without a mode takes the one of the directory it covers', async () => {
    const result = await onImage('mkdir cover; chmod 1755 cover', 'stat -c %a /cover', () => ({
      mounts: [...defaultMounts, { destination: '/cover', type: 'tmpfs', source: 'tmpfs', flags: 0, data: '' }],
    }))
    expect(result.stdout).toBe('1755\n')
  })
})

describe('masked and read-only paths', () => {
  test('are empty and cannot be written', async () => {
    const script = `cat /proc/keys /etc/secret; ls -A /proc/acpi; ls -A /data; echo 1 > /proc/sys/kernel/domainname; touch /data/x;
      ls -l /etc/secret | cut -c 1; cat /etc/other`
    const result = await onImage(
      'mkdir etc data; echo secret > etc/secret; echo secret > data/secret; echo other > etc/other',
      script,
      () => ({
        maskedPaths: ['/proc/keys', '/etc/secret', '/data', '/proc/acpi', '/nonesuch', '/etc/other/below'],
        readonlyPaths: ['/proc/sys', '/etc', '/nonesuch'],
      }),
    )
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout).toBe('c\nother\n')
    expect(result.stderr.split('\n').filter(line => line.includes('Read-only'))).toHaveLength(2)
  })

  test('CVE-2025-31133: are hidden by the host null device, whatever the image calls /dev/null', async () => {
    const result = await onImage(
      'mkdir dev etc; ln -s /etc/passwd dev/null; echo secret > etc/secret',
      'cat /etc/secret; stat -c "%t:%T" /etc/secret',
      () => ({
        mounts: defaultMounts.filter(mount => !mount.destination.startsWith('/dev')),
        devices: [],
        symlinks: [],
        maskedPaths: ['/etc/secret'],
      }),
    )
    expect(result.stdout).toBe('1:3\n')
  })
})

describe('an image with symlinks', () => {
  const host = '/tmp/tsrun-native-escape'

  test('cannot lead a mount out of the rootfs', async () => {
    rmSync(host, { recursive: true, force: true })
    mkdirSync(host)
    const source = join(bench.dir, 'escape-source')
    mkdirSync(source, { recursive: true })
    for (const link of [host, `../../../../../../../..${host}`, `/proc/self/cwd${host}`, `/proc/self/root${host}`]) {
      const result = await onImage(`ln -s '${link}' evil; mkdir -p a; ln -s '${link}' a/evil`, 'true', () => ({
        mounts: [bind(source, '/evil/made'), bind(source, '/a/evil'), ...defaultMounts],
      }))
      expect(['started', 'failed']).toContain(result.outcome.kind)
      expect(execFileSync('ls', ['-A', host], { encoding: 'utf8' })).toBe('')
    }
    rmSync(host, { recursive: true })
  })

  test('gets the missing target of a link made inside', async () => {
    const source = join(bench.dir, 'inside-source')
    mkdirSync(source, { recursive: true })
    writeFileSync(join(source, 'file'), 'content')
    const result = await onImage(
      'mkdir var; ln -s /run/here var/run; ln -s ../var/run/x/y up',
      'cat /run/here/a/b/file /var/run/x/y/z/file',
      () => ({
        mounts: [...defaultMounts, bind(source, '/var/run/a/b'), bind(source, '/up/z')],
      }),
    )
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout).toBe('contentcontent')
  })

  test('that go round in circles is refused', async () => {
    const result = await onImage('ln -s b a; ln -s a b', 'true', () => ({
      mounts: [...defaultMounts, bind('/etc', '/a/x')],
    }))
    expect(result.outcome).toMatchObject({ kind: 'failed', stage: 'mounts', errno: 40 })
  })

  test.each(['proc', 'sys'])('cannot move /%s elsewhere', async name => {
    const result = await onImage(`ln -s /etc ${name}`, 'true')
    expect(result.outcome).toMatchObject({
      kind: 'failed',
      stage: 'mounts',
      what: expect.stringContaining(`on /${name}`),
    })
  })

  test('CVE-2019-16884: cannot get a volume mounted on /proc', async () => {
    const source = join(bench.dir, 'fake-proc')
    mkdirSync(join(source, 'self/attr'), { recursive: true })
    const result = await onImage('mkdir real; ln -s /proc volume', 'true', () => ({
      mounts: [...defaultMounts, bind(source, '/volume')],
    }))
    expect(result.outcome).toMatchObject({
      kind: 'failed',
      stage: 'mounts',
      what: 'mount on /volume: it is inside /proc',
    })
  })

  test('cannot lead devices, links or /dev/console out', async () => {
    rmSync(host, { recursive: true, force: true })
    mkdirSync(host)
    const result = await onImage(`ln -s ${host} dev`, 'ls -d /tmp/tsrun-native-escape/null', () => ({
      mounts: defaultMounts.filter(mount => mount.destination === '/proc'),
    }))
    expect(execFileSync('ls', ['-A', host], { encoding: 'utf8' })).toBe('')
    expect(result.stdout).toBe('/tmp/tsrun-native-escape/null\n')
    rmSync(host, { recursive: true })
  })

  test('CVE-2025-52565: cannot give a file as terminal', async () => {
    const mounts = defaultMounts.filter(mount => mount.destination !== '/dev/pts' && mount.destination !== '/dev')
    const result = await onImage('mkdir -p dev/pts; echo > dev/pts/ptmx', 'true', () => ({
      mounts,
      devices: [],
      symlinks: [],
      process: { tty: true },
    }))
    expect(result.outcome).toMatchObject({
      kind: 'failed',
      stage: 'console',
      what: '/dev/pts of the container is not a devpts',
    })
    const linked = await onImage('mkdir -p dev/pts; ln -s /etc/x dev/pts/ptmx', 'true', () => ({
      mounts,
      devices: [],
      symlinks: [],
      process: { tty: true },
    }))
    expect(linked.outcome).toMatchObject({ kind: 'failed', stage: 'console', errno: 40 })
  })
})

describe('sysctls', () => {
  test('are set inside and not outside', async () => {
    const before = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')
    const value = before.trim() === '1' ? '0' : '1'
    const { stdout } = await sh(
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding',
      {
        sysctls: [
          { name: 'net.ipv4.ip_forward', value },
          { name: 'kernel.msgmax', value: '12345' },
          { name: 'net/ipv4/conf/lo/forwarding', value: '1' },
        ],
      },
    )
    expect(stdout).toBe(`${value}\n12345\n1\n`)
    expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')).toBe(before)
  })

  test('that do not exist are named', async () => {
    expect((await sh('true', { sysctls: [{ name: 'net.no.such', value: '1' }] })).outcome).toMatchObject({
      stage: 'sysctls',
      what: 'open /proc/sys/net/no/such',
      errno: 2,
    })
  })

  test.each(['../self/attr/exec', 'net/../../self/comm'])('cannot leave /proc/sys by %s', async name => {
    expect((await sh('true', { sysctls: [{ name, value: 'x' }] })).outcome).toMatchObject({
      kind: 'failed',
      stage: 'sysctls',
    })
  })
})

describe('devices', () => {
  test('have their numbers and modes, links and owners', async () => {
    const { stdout } = await sh(
      'stat -c "%n %A %t:%T %u:%g" /dev/null /dev/own; readlink /dev/fd; readlink /dev/ptmx',
      {
        devices: [
          { path: '/dev/null', type: 'c', major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 },
          { path: '/dev/own', type: 'p', major: 0, minor: 0, mode: 0o640, uid: 7, gid: 8 },
        ],
      },
    )
    expect(stdout).toBe('/dev/null crw-rw-rw- 1:3 0:0\n/dev/own prw-r----- 0:0 7:8\n/proc/self/fd\npts/ptmx\n')
  })
})

describe('propagation', () => {
  // As under systemd: `/` is shared. The monitor stays in that namespace, so what got out would show there.
  test.each(['rprivate', 'rslave', 'rshared'] as const)(
    '%s never brings a mount of the container to the host',
    async propagation => {
      const dir = bench.box()
      const script = 'mkdir /m && mount -t tmpfs x /m && grep -o " /m rw.*" /proc/self/mountinfo; read go'
      const base = bench.config(dir, ['sh', '-c', script], { process: { stdin: true } })
      if (base.rootfs === undefined) throw new Error('no rootfs')
      const session = bench.spawn({ wrapper: ['unshare', '-m', '--propagation', 'shared'] })
      session.send(encodeBootstrap({ ...base, rootfs: { ...base.rootfs, propagation } }))
      expect(await session.first()).toMatchObject({ kind: 'ready' })
      const outside = `/proc/${parentOf(session.pid)}/mountinfo`
      const client = await attach(join(dir, 'attach.sock'))
      session.go()
      await client.until(() => client.stdout.includes('\n'))

      expect(client.stdout.includes('shared:')).toBe(propagation === 'rshared')
      expect(readFileSync(outside, 'utf8')).toContain('shared:')
      expect(readFileSync(outside, 'utf8')).not.toMatch(new RegExp(` /m |${dir}`))
      client.stdin(Buffer.from('go\n'))
      expect(await client.exit()).toBe(0)
    },
  )
})
