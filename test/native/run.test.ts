import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeResize } from '../../src/kernel/init-protocol.ts'
import { ALL_CAPABILITIES, attach, type Change, eventually, isAlive, type RunResult, Workbench } from './harness.ts'

let bench: Workbench
beforeAll(() => {
  bench = new Workbench()
})
afterAll(() => bench.dispose())

async function sh(script: string, change: Change & { readonly input?: Uint8Array } = {}): Promise<RunResult> {
  const result = await bench.run(['sh', '-c', script], change)
  expect(result.outcome).toEqual({ kind: 'started' })
  return result
}

describe('the exit code', () => {
  test.each([
    [['true'], 0, 0],
    [['false'], 1, 0],
    [['sh', '-c', 'exit 42'], 42, 0],
    [['sh', '-c', 'ulimit -t 1; while :; do :; done'], 137, 9],
  ])('of %j is %i', async (args, code, signal) => {
    const result = await bench.run(args)

    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.code).toBe(code)
    const record = JSON.parse(readFileSync(join(result.dir, 'exit.json'), 'utf8'))
    expect(record).toMatchObject({ exitCode: code, signal, oomKilled: false })
    expect(record.startedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/)
    expect(record.finishedAt >= record.startedAt).toBe(true)
    expect(Math.abs(Date.parse(record.finishedAt) - Date.now())).toBeLessThan(10_000)
  })

  test('of a container that is killed is 128 + the signal', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '1000']))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await session.outcome()

    process.kill(session.pid, 'SIGKILL')

    expect(await client.exit()).toBe(137)
    expect(JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: 137, signal: 9 })
    client.release()
  })
})

describe('a command that cannot be executed', () => {
  test.each([
    ['is not in PATH', ['nonesuch'], 2],
    ['does not exist', ['/bin/nonesuch'], 2],
    ['is below a file', ['/bin/busybox/x'], 20],
    ['is a directory', ['/tmp'], 13],
    ['is not executable', ['/etc/text'], 13],
    ['has an unknown format', ['/bin/garbage'], 8],
    ['is empty', [''], 2],
  ])('that %s is FAILED with its errno', async (_, args, errno) => {
    const upper = [['sh', '-c', 'echo text > /etc/text; echo garbage > /bin/garbage; chmod 755 /bin/garbage']] as const
    execFileSync('sh', ['-c', upper[0][2].replaceAll(' /', ` ${bench.lower}/`)])
    const { outcome, dir } = await bench.run(args)

    expect(outcome).toEqual({ kind: 'failed', stage: 'exec', what: `exec ${args[0]}`, errno, phase: 'exec' })
    expect(readdirSync(dir).sort()).toEqual(['rootfs', 'upper', 'work'])
  })

  test('for its missing interpreter says so', async () => {
    execFileSync('sh', [
      '-c',
      `printf '#!/no/such\\n' > ${bench.lower}/bin/script; chmod 755 ${bench.lower}/bin/script`,
    ])
    const { outcome } = await bench.run(['script'])

    expect(outcome).toMatchObject({
      errno: 2,
      phase: 'exec',
      what: 'exec /bin/script: its interpreter or loader is missing',
    })
  })

  test('is searched for in the container PATH, past what may not be executed', async () => {
    execFileSync('sh', ['-c', `mkdir -p ${bench.lower}/a; echo x > ${bench.lower}/a/true`])
    const env = { process: { env: ['PATH=/nonesuch:/a:/bin'] } }
    expect((await bench.run(['true'], env)).code).toBe(0)
    expect((await bench.run(['true'], { process: { env: ['PATH=/a'] } })).outcome).toMatchObject({
      errno: 13,
      phase: 'exec',
    })
  })
})

describe('the container', () => {
  test('has namespaces of its own', async () => {
    const names = ['pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net']
    const { stdout } = await sh(names.map(name => `readlink /proc/self/ns/${name}`).join(';'))

    const inside = stdout.trim().split('\n')
    names.forEach((name, i) => {
      expect(inside[i]).toMatch(new RegExp(`^${name}:`))
      expect(inside[i]).not.toBe(readlinkSync(`/proc/self/ns/${name}`))
    })
  })

  test('leaves the mounts and the host name of the host alone', async () => {
    const before = bench.hostMounts()
    const { stdout } = await sh('hostname other && hostname && mount -t tmpfs x /tmp && umount /tmp')

    expect(stdout).toBe('other\n')
    expect(hostname()).not.toBe('other')
    expect(bench.hostMounts()).toEqual(before)
  })

  test('is pid 1, a session of its own, and sees nobody else', async () => {
    const { stdout } = await sh('echo $$; cut -d" " -f 5,6 /proc/self/stat; ls /proc | grep -c "^[0-9]"')
    const [pid, session, processes] = stdout.trim().split('\n')
    expect([pid, session]).toEqual(['1', '1 1'])
    expect(Number(processes)).toBeLessThanOrEqual(3)
  })

  test('has no descriptor but the three it needs', async () => {
    // The fourth is ls's own, of the directory.
    const { stdout } = await sh('exec ls /proc/self/fd')
    expect(stdout).toBe('0\n1\n2\n3\n')
  })

  test('has exactly the environment it was given', async () => {
    const { stdout } = await bench.run(['env'], { process: { env: ['PATH=/bin', 'A=b c'] } })
    expect(stdout).toBe('PATH=/bin\nA=b c\n')
  })

  test('has no blocked or ignored signals', async () => {
    const { stdout } = await bench.run(['grep', '-E', 'SigBlk|SigIgn', '/proc/self/status'])
    expect(stdout).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n')
  })

  test('gets the host limit of open files back, and the limits asked for', async () => {
    const { stdout } = await sh('ulimit -n; ulimit -Hc', {
      process: { rlimits: [{ resource: 4, soft: 0n, hard: 12345n * 512n }] },
    })
    expect(stdout).toBe(`${execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()}\n12345\n`)
  })

  test('dies with its monitor', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '1000']))
    session.go()
    await session.outcome()
    const stat = readFileSync(`/proc/${session.pid}/stat`, 'utf8')
    const monitor = Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2])
    expect(readFileSync(`/proc/${monitor}/cmdline`, 'latin1')).toMatch(/^tsrun-monitor feedfacecafe\0/)

    process.kill(monitor, 'SIGKILL')

    await eventually(() => !isAlive(session.pid))
  })

  test('keeps nothing of the engine environment in any process', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '1000'], { process: { init: true } }))
    session.go()
    await session.outcome()
    const stat = readFileSync(`/proc/${session.pid}/stat`, 'utf8')
    const monitor = Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2])

    for (const pid of [session.pid, monitor]) {
      expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toContain('SECRET')
      expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).not.toContain('SECRET')
    }
    process.kill(session.pid, 'SIGKILL')
  })
})

describe('the working directory', () => {
  test('is made when it is missing', async () => {
    expect((await bench.run(['pwd'], { process: { cwd: '/a/b/c' } })).stdout).toBe('/a/b/c\n')
  })

  test('may be closed to the user', async () => {
    const change = { process: { cwd: '/root/closed', uid: 1000 } }
    execFileSync('sh', ['-c', `mkdir -p ${bench.lower}/root/closed; chmod 700 ${bench.lower}/root`])
    expect((await bench.run(['true'], change)).outcome).toEqual({ kind: 'started' })
  })

  test('CVE-2024-21626: is never a descriptor of the host', async () => {
    for (const base of ['/proc/self/fd', '/proc/1/fd', '/proc/thread-self/fd'])
      for (let fd = 3; fd < 16; fd++) {
        const { outcome } = await bench.run(['true'], { process: { cwd: `${base}/${fd}` } })
        expect(outcome).toMatchObject({ kind: 'failed', stage: 'cwd' })
      }
  })
})

describe('standard streams', () => {
  test('are passed byte for byte, 64 MiB through cat', async () => {
    const input = Buffer.alloc(64 << 20)
    for (let i = 0; i < input.length; i += 4) input.writeUInt32LE((i * 2654435761) >>> 0, i)
    const { stdoutBytes, code } = await bench.run(['cat'], { process: { stdin: true }, input })
    expect(code).toBe(0)
    expect(stdoutBytes.equals(input)).toBe(true)
  })

  test('keep stdout and stderr apart', async () => {
    expect(await sh('echo out; echo err >&2')).toMatchObject({ stdout: 'out\n', stderr: 'err\n' })
  })

  test('without stdin read /dev/null', async () => {
    expect((await sh('cat; readlink /proc/self/fd/0')).stdout).toBe('/dev/null\n')
  })

  test('can be opened again by name, by any user', async () => {
    const { stdout, stderr } = await sh('echo out > /dev/stdout; echo err > /dev/stderr', {
      process: { uid: 1000, gid: 1000 },
    })
    expect({ stdout, stderr }).toEqual({ stdout: 'out\n', stderr: 'err\n' })
  })

  test('end when the command closes stdin early', async () => {
    const input = Buffer.alloc(8 << 20)
    expect(await bench.run(['head', '-c', '3'], { process: { stdin: true }, input })).toMatchObject({
      code: 0,
      stdout: '\0\0\0',
    })
  })
})

describe('a terminal', () => {
  const tty = { process: { tty: true, stdin: true, consoleSize: { rows: 33, columns: 101 } } } as const

  test('is the controlling terminal, of the size asked for, from the container devpts', async () => {
    const dir = bench.box()
    const script = 'tty; stty size; ls -l /dev/console /dev/pts | grep -c "136, *0"; echo x > /dev/tty'
    const session = await bench.start(bench.config(dir, ['sh', '-c', script], tty))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    expect(await session.outcome()).toEqual({ kind: 'started' })
    expect(await client.exit()).toBe(0)
    expect(client.stdout.toString()).toBe('/dev/pts/0\r\n33 101\r\n2\r\nx\r\n')
    client.release()
  })

  test('takes input, resizes, and passes Ctrl-C on', async () => {
    const dir = bench.box()
    const session = await bench.start(
      bench.config(dir, ['sh', '-c', 'stty -echo; echo ready; read a; stty size; echo got $a; cat'], {
        process: { ...tty.process, init: true },
      }),
    )
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await client.until(() => client.stdout.includes('ready'))
    client.socket.write(encodeResize(5, 6))
    client.stdin(Buffer.from('word\n'))
    client.stdin(Buffer.from('cat runs\n'))
    await client.until(() => client.stdout.includes('cat runs'))
    client.stdin(Buffer.from('\x03'))

    expect(await client.exit()).toBe(130)
    expect(client.stdout.toString()).toContain('5 6\r\ngot word\r\n')
    client.release()
  })

  test('delivers everything that was written before the end', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sh', '-c', 'seq 1 20000'], tty))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await client.exit()
    const wanted = Array.from({ length: 20000 }, (_, i) => `${i + 1}\r\n`).join('')
    expect(client.stdout.toString() === wanted).toBe(true)
    client.release()
  })

  test('belongs to the foreground command under --init', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['cat'], { process: { ...tty.process, init: true } }))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await session.outcome()
    client.stdin(Buffer.from('x\n'))
    await client.until(() => client.stdout.toString() === 'x\r\nx\r\n')
    client.stdin(Buffer.from('\x03'))
    expect(await client.exit()).toBe(130)
    client.release()
  })
})

describe('--init', () => {
  test('reaps orphans and exits with the command', async () => {
    const script = '(sleep 0.05 & ) ; sleep 0.2; ps -o stat,args | grep -c "^Z"; exit 7'
    expect(await sh(script, { process: { init: true } })).toMatchObject({ code: 7, stdout: '0\n' })
  })

  test('passes signals on', async () => {
    const dir = bench.box()
    const script = 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.01; done'
    const session = await bench.start(bench.config(dir, ['sh', '-c', script], { process: { init: true } }))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await client.until(() => client.stdout.includes('ready'))

    process.kill(session.pid, 'SIGTERM')

    expect(await client.exit()).toBe(9)
    expect(client.stdout.toString()).toBe('ready\nterm\n')
    client.release()
  })

  test('fails like without it when the command does not exist', async () => {
    expect((await bench.run(['nonesuch'], { process: { init: true } })).outcome).toMatchObject({
      errno: 2,
      phase: 'exec',
    })
  })
})

describe('privileges', () => {
  const ids = { uid: 1000, gid: 1001, additionalGids: [5, 7] }

  test('are the user, group and groups asked for', async () => {
    expect((await sh('id -u; id -g; id -G; umask', { process: { ...ids, umask: 0o27 } })).stdout).toBe(
      '1000\n1001\n1001 5 7\n0027\n',
    )
  })

  test('hold the capabilities asked for, in every set', async () => {
    const capabilities = {
      bounding: 0x5fbn,
      effective: 0x3n,
      permitted: 0x7n & 0x5fbn,
      inheritable: 0x3n,
      ambient: 0x1n,
    }
    const { stdout } = await sh('grep Cap /proc/self/status', { process: { ...ids, capabilities } })
    expect(stdout).toBe(
      [
        'CapInh:\t0000000000000003',
        'CapPrm:\t0000000000000001',
        'CapEff:\t0000000000000001',
        'CapBnd:\t00000000000005fb',
        'CapAmb:\t0000000000000001',
        '',
      ].join('\n'),
    )
  })

  test('of root are cut down to the bounding set by the exec', async () => {
    const chown = { bounding: 1n, effective: 1n, permitted: 1n, inheritable: 0n, ambient: 0n }
    const { stdout } = await sh('grep CapEff /proc/self/status; mknod /tmp/x c 1 3 || echo no', {
      process: { capabilities: chown },
    })
    expect(stdout).toBe('CapEff:\t0000000000000001\nno\n')
  })

  test.each([false, true])('include the seccomp program (no_new_privs %s)', async noNewPrivileges => {
    const none = { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n }
    const { stdout } = await sh('mkdir /tmp/x; echo $?; grep -E "NoNewPrivs|^Seccomp:" /proc/self/status', {
      process: { noNewPrivileges, capabilities: none, seccomp: denyMkdir() },
    })
    expect(stdout).toBe(`1\nNoNewPrivs:\t${noNewPrivileges ? 1 : 0}\nSeccomp:\t2\n`)
  })

  test('set the OOM score', async () => {
    expect((await sh('cat /proc/self/oom_score_adj', { process: { oomScoreAdj: 500 } })).stdout).toBe('500\n')
  })

  test('leave /proc/1 of --init closed to the command', async () => {
    const few = { bounding: 0x3n, effective: 0x3n, permitted: 0x3n, inheritable: 0n, ambient: 0n }
    const { stdout } = await sh('cat /proc/1/environ || echo closed; readlink /proc/1/exe || echo closed', {
      process: { init: true, capabilities: few },
    })
    expect(stdout).toBe('closed\nclosed\n')
  })
})

describe('a user namespace', () => {
  const maps = [{ containerId: 0, hostId: 100000, size: 65536 }]

  test('maps root to nobody of importance', async () => {
    const dir = bench.box()
    execFileSync('chown', ['100000:100000', join(dir, 'upper'), join(dir, 'work'), join(dir, 'rootfs')])
    const session = await bench.start(
      bench.config(dir, ['sh', '-c', 'id -u; cat /proc/self/uid_map; echo x > /dev/null && echo null; touch /new'], {
        namespaces: { create: ['user', 'pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net'], join: [] },
        uidMappings: maps,
        gidMappings: maps,
      }),
    )
    const result = await bench.finish(dir, session, {})

    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.stdout.replace(/ +/g, ' ')).toBe('0\n 0 100000 65536\nnull\n')
    expect(execFileSync('stat', ['-c', '%u', join(dir, 'upper/new')], { encoding: 'utf8' })).toBe('100000\n')
  })
})

/** Refuses mkdir and mkdirat with EPERM, on x86_64 and aarch64. */
function denyMkdir(): Uint8Array {
  const numbers = process.arch === 'x64' ? [83, 258] : [34, 34]
  const instructions: [number, number, number, number][] = [
    [0x20, 0, 0, 0],
    [0x15, 2, 0, numbers[0] ?? 0],
    [0x15, 1, 0, numbers[1] ?? 0],
    [0x06, 0, 0, 0x7fff0000],
    [0x06, 0, 0, 0x00050001],
  ]
  const bytes = Buffer.alloc(instructions.length * 8)
  instructions.forEach(([code, jt, jf, k], i) => {
    bytes.writeUInt16LE(code, i * 8)
    bytes.writeUInt8(jt, i * 8 + 2)
    bytes.writeUInt8(jf, i * 8 + 3)
    bytes.writeUInt32LE(k, i * 8 + 4)
  })
  return bytes
}

test('a full set of capabilities is what this host has', async () => {
  const { stdout } = await sh('grep CapEff /proc/self/status')
  const own = /CapEff:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  expect(stdout).toContain(own)
  expect(ALL_CAPABILITIES).toBeGreaterThan(0n)
})
