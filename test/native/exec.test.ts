import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NamespaceType } from '../../src/kernel/init-protocol.ts'
import { attach, type Change, type Client, openPidfd, type RunResult, type Session, Workbench } from './harness.ts'

let bench: Workbench
beforeAll(() => {
  bench = new Workbench()
})
afterAll(() => bench.dispose())

/** A container that stays until it is killed. */
class Sleeper {
  readonly session: Session
  readonly owner: Client

  constructor(session: Session, owner: Client) {
    this.session = session
    this.owner = owner
  }

  get pid(): number {
    return this.session.pid
  }

  static async start(change: Change = {}): Promise<Sleeper> {
    const dir = bench.box()
    execFileSync('chmod', ['755', bench.dir])
    execFileSync('chown', ['100000:100000', join(dir, 'upper'), join(dir, 'work')])
    const session = await bench.start(bench.config(dir, ['sh', '-c', 'touch /tmp/inside; exec sleep 1000'], change))
    expect(session.messages).toMatchObject([{ kind: 'ready' }])
    const owner = await attach(join(dir, 'attach.sock'))
    owner.own()
    session.go()
    expect(await session.outcome()).toEqual({ kind: 'started' })
    return new Sleeper(session, owner)
  }

  async end(): Promise<void> {
    process.kill(this.pid, 'SIGKILL')
    await this.owner.exit()
    this.owner.release()
  }
}

describe('exec', () => {
  let sleeper: Sleeper
  beforeAll(async () => {
    sleeper = await Sleeper.start({ process: { init: true } })
  })
  afterAll(() => sleeper.end())

  async function sh(script: string, change: Change & { readonly input?: Uint8Array } = {}): Promise<RunResult> {
    const result = await bench.exec(sleeper.pid, ['sh', '-c', script], change)
    expect(result.outcome).toEqual({ kind: 'started' })
    return result
  }

  test('sees the processes, files and host name of the container', async () => {
    expect(await sh('hostname; ls /tmp; ps -o comm | grep -c ^sleep')).toMatchObject({
      code: 0,
      stdout: 'box\ninside\n1\n',
    })
  })

  test('is in every namespace of the container', async () => {
    const names = ['pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net']
    const { stdout } = await sh(names.map(name => `readlink /proc/self/ns/${name}`).join(';'))
    expect(stdout.trim().split('\n')).toEqual(names.map(name => readlinkSync(`/proc/${sleeper.pid}/ns/${name}`)))
  })

  test('gives its own exit code, streams and environment', async () => {
    const result = await sh('cat; echo $A >&2; exit 5', {
      process: { stdin: true, env: ['A=1', 'PATH=/bin'] },
      input: Buffer.from('in'),
    })
    expect(result).toMatchObject({ code: 5, stdout: 'in', stderr: '1\n' })
  })

  test('runs as the user, with the capabilities, asked for', async () => {
    const none = { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n }
    const { stdout } = await sh('id -u; grep CapBnd /proc/self/status; pwd', {
      process: { uid: 77, gid: 77, cwd: '/tmp', capabilities: none },
    })
    expect(stdout).toBe('77\nCapBnd:\t0000000000000000\n/tmp\n')
  })

  test('has a terminal of the container', async () => {
    const { stdout } = await sh('tty; stty size', {
      process: { tty: true, stdin: true, consoleSize: { rows: 4, columns: 5 } },
    })
    expect(stdout).toBe('/dev/pts/0\r\n4 5\r\n')
  })

  test('has no descriptor but the three it needs', async () => {
    expect((await sh('exec ls /proc/self/fd')).stdout).toBe('0\n1\n2\n3\n')
  })

  test('fails in a working directory that does not exist', async () => {
    const { outcome } = await bench.exec(sleeper.pid, ['true'], { process: { cwd: '/nonesuch' } })
    expect(outcome).toEqual({ kind: 'failed', stage: 'cwd', what: 'chdir to /nonesuch', errno: 2, phase: 'setup' })
  })

  test('CVE-2024-21626: is refused in a descriptor of the host', async () => {
    for (let fd = 0; fd < 12; fd++) {
      const { outcome } = await bench.exec(sleeper.pid, ['true'], { process: { cwd: `/proc/self/fd/${fd}` } })
      expect(outcome).toMatchObject({ kind: 'failed', stage: 'cwd' })
    }
  })

  test('fails when the command does not exist', async () => {
    expect((await bench.exec(sleeper.pid, ['nonesuch'])).outcome).toMatchObject({ errno: 2, phase: 'exec' })
  })

  test('cannot be looked into by the container before it has executed its command', async () => {
    // Waits for GO inside the container: this is as far as it gets with descriptors of the host still open.
    const dir = bench.box()
    const pidfd = openPidfd(sleeper.pid)
    const { rootfs, hostname, ...config } = bench.execConfig(dir, ['true'])
    const waiting = await bench.start(config, { fd5: pidfd })
    closeSync(pidfd)
    const few = { bounding: 0xfn, effective: 0xfn, permitted: 0xfn, inheritable: 0n, ambient: 0n }
    const script =
      'for p in /proc/[0-9]*; do grep -q tsrun.setup $p/comm && { ls $p/fd | wc -l; readlink $p/fd/0 || echo closed; readlink $p/root || echo closed; }; done'
    const { stdout } = await sh(script, { process: { capabilities: few } })
    waiting.vanish()
    // Standard streams, the channel and two pipes; nothing of the monitor, and none of it can be followed.
    expect(stdout).toBe('6\nclosed\nclosed\n')
  })

  test('moves into the cgroups it is told, v1 and v2', async () => {
    const cgroups = makeCgroups()
    const before = cgroups.v2Dir === undefined ? {} : { v2Dir: cgroups.v2Dir }
    const result = await bench.exec(sleeper.pid, ['cat', '/proc/self/cgroup'], {
      cgroup: { ...before, procsFiles: cgroups.procsFiles },
      namespaces: { create: [], join: (['pid', 'mnt', 'uts', 'ipc', 'net'] as const).map(type => ({ type })) },
    })
    cgroups.remove()
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout.split('\n').filter(line => line.endsWith(cgroups.name))).toHaveLength(cgroups.count)
  })
})

describe('exec into a user namespace', () => {
  test('is root there and nobody outside', async () => {
    const maps = [{ containerId: 0, hostId: 100000, size: 65536 }]
    const all = ['user', 'pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net'] as const
    const sleeper = await Sleeper.start({ namespaces: { create: all, join: [] }, uidMappings: maps, gidMappings: maps })
    const { stdout, outcome } = await bench.exec(
      sleeper.pid,
      ['sh', '-c', 'id -u; id -g; cat /proc/self/uid_map; touch /made && stat -c %u /made'],
      {
        namespaces: { create: [], join: all.map(type => ({ type })) },
      },
    )
    await sleeper.end()
    expect(outcome).toEqual({ kind: 'started' })
    expect(stdout.replace(/ +/g, ' ')).toBe('0\n0\n 0 100000 65536\n0\n')
  })
})

describe('a container killed while an exec is on its way', () => {
  test('ends, and so does the exec', async () => {
    const sleeper = await Sleeper.start()
    const pidfd = openPidfd(sleeper.pid)
    const { rootfs, hostname, ...config } = bench.execConfig(bench.box(), ['true'])
    const session = await bench.start(config, { fd5: pidfd })
    closeSync(pidfd)
    await sleeper.end()
    expect(await session.outcome()).toMatchObject({
      kind: 'failed',
      what: expect.stringContaining('killed by signal 9'),
    })
  })

  test('is gone for the next one', async () => {
    const sleeper = await Sleeper.start()
    const pidfd = openPidfd(sleeper.pid)
    await sleeper.end()
    const { rootfs, hostname, ...config } = bench.execConfig(bench.box(), ['true'])
    const session = await bench.start(config, { fd5: pidfd })
    closeSync(pidfd)
    expect(await session.outcome()).toMatchObject({ kind: 'failed', stage: 'join-namespaces', errno: 3 })
  })
})

describe('run', () => {
  test('joins namespaces of another container by their paths', async () => {
    const sleeper = await Sleeper.start()
    const shared: NamespaceType[] = ['pid', 'ipc', 'net', 'uts']
    const { stdout, outcome } = await bench.run(
      ['sh', '-c', `${shared.map(name => `readlink /proc/self/ns/${name}`).join(';')}; ps -o comm | grep -c ^sleep`],
      {
        namespaces: {
          create: ['mnt', 'cgroup'],
          join: shared.map(type => ({ type, path: `/proc/${sleeper.pid}/ns/${type}` })),
        },
      },
    )
    const wanted = shared.map(name => readlinkSync(`/proc/${sleeper.pid}/ns/${name}`))
    await sleeper.end()
    expect(outcome).toMatchObject({ kind: 'started' })
    expect(stdout).toBe(`${[...wanted, '1'].join('\n')}\n`)
  })

  test.each([false, true])('enters the network namespace on descriptor 5 (user namespace %s)', async user => {
    const sleeper = await Sleeper.start()
    const wanted = readlinkSync(`/proc/${sleeper.pid}/ns/net`)
    const netns = openSync(`/proc/${sleeper.pid}/ns/net`, 'r')
    const dir = bench.box()
    execFileSync('chown', ['100000:100000', join(dir, 'upper'), join(dir, 'work')])
    const maps = user ? [{ containerId: 0, hostId: 100000, size: 65536 }] : []
    const base = bench.config(dir, ['readlink', '/proc/self/ns/net'], {
      namespaces: { create: user ? ['user', 'pid', 'mnt', 'ipc', 'uts'] : ['pid', 'mnt', 'ipc', 'uts'], join: [] },
      netnsFd: true,
      uidMappings: maps,
      gidMappings: maps,
    })
    // sysfs belongs to the owner of the network namespace, which here is the host.
    const mounts = base.mounts.map(mount => (mount.type === 'sysfs' ? { ...mount, optional: user } : mount))
    const session = await bench.start({ ...base, mounts }, { fd5: netns })
    closeSync(netns)
    const result = await bench.finish(dir, session, {})
    await sleeper.end()
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout).toBe(`${wanted}\n`)
  })

  test('is born in its cgroups, which are the root of what it sees', async () => {
    const cgroups = makeCgroups()
    const v2 = cgroups.v2Dir === undefined ? {} : { v2Dir: cgroups.v2Dir }
    const dir = bench.box()
    const session = await bench.start(
      bench.config(dir, ['sh', '-c', 'cut -d: -f3 /proc/self/cgroup | sort -u'], {
        cgroup: { ...v2, procsFiles: cgroups.procsFiles },
      }),
    )
    const outside = readFileSync(`/proc/${session.pid}/cgroup`, 'utf8')
    const result = await bench.finish(dir, session, {})
    cgroups.remove()
    expect(outside.split('\n').filter(line => line.endsWith(cgroups.name))).toHaveLength(cgroups.count)
    expect(result.stdout).toContain('/\n')
  })

  test('says which namespace or cgroup is not there', async () => {
    const join = [{ type: 'ipc', path: '/proc/nonesuch/ns/ipc' }] as const
    expect((await bench.run(['true'], { namespaces: { create: ['pid', 'mnt'], join } })).outcome).toMatchObject({
      what: 'open the namespace /proc/nonesuch/ns/ipc',
      errno: 2,
    })
    expect(
      (await bench.run(['true'], { cgroup: { procsFiles: ['/sys/fs/cgroup/nonesuch/cgroup.procs'] } })).outcome,
    ).toMatchObject({
      stage: 'cgroup',
      errno: 2,
    })
  })
})

interface Cgroups {
  readonly name: string
  readonly v2Dir?: string
  readonly procsFiles: readonly string[]
  readonly count: number
  remove(): void
}

/** One cgroup in each hierarchy that this host has mounted. */
function makeCgroups(): Cgroups {
  const name = `tsrun-native-${process.pid}`
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap(line => {
      const [left = '', right = ''] = line.split(' - ')
      const point = left.split(' ')[4]
      const type = right.split(' ')[0]
      return point !== undefined && (type === 'cgroup' || type === 'cgroup2') ? [{ dir: join(point, name), type }] : []
    })
  for (const { dir } of mounts) mkdirSync(dir, { recursive: true })
  for (const { dir } of mounts) inherit(dir)
  const v2 = mounts.find(mount => mount.type === 'cgroup2')
  return {
    name,
    ...(v2 === undefined ? {} : { v2Dir: v2.dir }),
    procsFiles: mounts.filter(mount => mount.type === 'cgroup').map(mount => join(mount.dir, 'cgroup.procs')),
    count: mounts.length,
    remove: () => {
      for (const { dir } of mounts) for (let i = 0; existsSync(dir) && i < 100; i++) tryRemove(dir)
    },
  }
}

/** A v1 cpuset takes no process before it has processors and memory. */
function inherit(dir: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    if (readdirSync(dir).includes(file)) writeFileSync(join(dir, file), readFileSync(join(dir, '..', file), 'utf8'))
}

function tryRemove(dir: string): void {
  try {
    rmdirSync(dir)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) throw error
    execFileSync('sleep', ['0.02'])
  }
}
