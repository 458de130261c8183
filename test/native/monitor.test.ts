import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeBootstrap, encodeFrame, FRAME, SUBSCRIPTION } from '../../src/kernel/init-protocol.ts'
import { attach, type Change, eventually, isAlive, parentOf, Workbench } from './harness.ts'

let bench: Workbench
beforeAll(() => {
  bench = new Workbench()
})
afterAll(() => bench.dispose())

describe('the log', () => {
  const record = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) /

  async function logged(
    script: string,
    options: { readonly maxBytes?: number; readonly maxFiles?: number } = {},
  ): Promise<string> {
    const log = join(bench.dir, 'log')
    execFileSync('sh', ['-c', `rm -f ${log}*`])
    await bench.run(['sh', '-c', script], { monitor: { log: { path: log, maxBytes: 0, maxFiles: 0, ...options } } })
    return readFileSync(log, 'latin1')
  }

  /** What the container wrote to `stream`, put together again. */
  function content(log: string, stream: string): string {
    return log
      .split('\n')
      .slice(0, -1)
      .map(line => {
        const [prefix, name, tag] = record.exec(line) ?? []
        if (prefix === undefined) throw new Error(`not a record: ${JSON.stringify(line)}`)
        return name === stream ? line.slice(prefix.length) + (tag === 'F' ? '\n' : '') : ''
      })
      .join('')
  }

  test('has one record a line, with time, stream and tag', async () => {
    const log = await logged('echo one; echo two >&2; echo; printf three')
    expect(log.replace(/^\S+ /gm, '').split('\n').sort()).toEqual([
      '',
      'stderr F two',
      'stdout F ',
      'stdout F one',
      'stdout P three',
    ])
    for (const line of log.split('\n').slice(0, -1)) expect(line).toMatch(record)
  })

  test('keeps a line together that is written in pieces', async () => {
    const log = await logged('printf a; sleep 0.05; printf b; sleep 0.05; echo c')
    expect(log.replace(/^\S+ /gm, '')).toBe('stdout F abc\n')
  })

  test.each([16383, 16384, 16385, 32768, 100000])('splits a line of %i bytes at 16 KiB', async length => {
    const log = await logged(`head -c ${length} /dev/zero | tr '\\0' x; echo; echo end`)
    expect(content(log, 'stdout')).toBe(`${'x'.repeat(length)}\nend\n`)
    expect(log.split(' P ').length - 1).toBe(Math.ceil(length / 16384) - 1)
  })

  test('is byte exact', async () => {
    const script = 'i=0; while [ $i -lt 256 ]; do printf "\\\\x$(printf %x $i)"; i=$((i+1)); done'
    const log = await logged(`bytes() { ${script}; }; bytes; bytes; bytes >&2`)
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1')
    expect(content(log, 'stdout')).toBe(all + all)
    expect(content(log, 'stderr')).toBe(all)
  })

  test('rotates by size and keeps so many files', async () => {
    const log = await logged('seq 1 2000', { maxBytes: 10000, maxFiles: 3 })
    const files = ['log.2', 'log.1', 'log'].map(name => readFileSync(join(bench.dir, name), 'latin1'))
    expect(existsSync(join(bench.dir, 'log.3'))).toBe(false)
    expect(log).toBe(files[2])
    for (const file of files) expect(file.length).toBeLessThanOrEqual(10000)
    const numbers = content(files.join(''), 'stdout').trim().split('\n').map(Number)
    expect(numbers.at(-1)).toBe(2000)
    expect(numbers.every((n, i) => i === 0 || n === (numbers[i - 1] ?? 0) + 1)).toBe(true)
  })

  test('keeps everything with maxFiles 0, and starts over with maxFiles 1', async () => {
    await logged('seq 1 2000', { maxBytes: 10000 })
    const old = readdirSync(bench.dir).filter(name => name.startsWith('log.'))
    const all = old
      .sort((a, b) => Number(b.slice(4)) - Number(a.slice(4)))
      .map(name => readFileSync(join(bench.dir, name), 'latin1'))
    all.push(readFileSync(join(bench.dir, 'log'), 'latin1'))
    expect(content(all.join(''), 'stdout').trim().split('\n')).toHaveLength(2000)

    const log = await logged('seq 1 2000', { maxBytes: 10000, maxFiles: 1 })
    expect(readdirSync(bench.dir).filter(name => name.startsWith('log'))).toEqual(['log'])
    expect(content(log, 'stdout').trim().split('\n').at(-1)).toBe('2000')
  })
})

describe('attached clients', () => {
  async function running(args: readonly string[], change: Change = {}) {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, args, change))
    return { dir, session, socket: join(dir, 'attach.sock') }
  }

  test('that connected before GO miss nothing, and each gets everything', async () => {
    const { session, socket } = await running(['seq', '1', '100000'])
    const clients = await Promise.all([attach(socket), attach(socket), attach(socket)])
    clients[0]?.own()
    session.go()

    for (const client of clients) expect(await client.exit()).toBe(0)
    const wanted = Array.from({ length: 100000 }, (_, i) => `${i + 1}\n`).join('')
    for (const client of clients) expect(client.stdout.toString() === wanted).toBe(true)
    clients[0]?.release()
  })

  test('get only what they subscribed to', async () => {
    const { session, socket } = await running(['sh', '-c', 'echo out; echo err >&2'])
    const [out, err] = await Promise.all([attach(socket), attach(socket)])
    out.send(FRAME.SUBSCRIBE, Buffer.from([SUBSCRIPTION.STDOUT]))
    err.send(FRAME.SUBSCRIBE, Buffer.from([SUBSCRIPTION.STDERR]))
    session.go()
    await Promise.all([out.exit(), err.exit()])

    expect([out.stdout.toString(), out.stderr.toString()]).toEqual(['out\n', ''])
    expect([err.stdout.toString(), err.stderr.toString()]).toEqual(['', 'err\n'])
  })

  test.each([
    ['an unknown type', Buffer.from([99, 0, 0, 0, 0, 0, 0, 0])],
    ['a huge stdin frame', Buffer.from([0, 0, 0, 0, 255, 255, 255, 255])],
    ['a huge control frame', Buffer.from([4, 0, 0, 0, 0, 0, 1, 0])],
    ['a short resize', encodeFrame(FRAME.RESIZE, Buffer.from([1]))],
    ['an output frame', encodeFrame(FRAME.EXIT, Buffer.from([1, 2, 3, 4]))],
  ])('that send %s are dropped, and nobody else', async (_, bytes) => {
    const { session, socket } = await running(['cat'], { process: { stdin: true } })
    const [good, bad] = await Promise.all([attach(socket), attach(socket)])
    good.own()
    session.go()
    await session.outcome()
    bad.socket.write(bytes)

    await bad.ended()
    good.stdin(Buffer.from('still here'))
    good.eof()
    expect(await good.exit()).toBe(0)
    expect(good.stdout.toString()).toBe('still here')
    good.release()
  })

  test('that stop reading stop the container, and lose nothing', async () => {
    const { session, socket } = await running(['sh', '-c', 'head -c 20000000 /dev/zero; echo done >&2'])
    const client = await attach(socket)
    client.own()
    client.socket.pause()
    session.go()
    await session.outcome()
    const monitor = parentOf(session.pid)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(isAlive(session.pid)).toBe(true)
    const rss = /VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${monitor}/status`, 'utf8'))?.[1]
    expect(Number(rss)).toBeLessThan(2048)

    client.socket.resume()
    expect(await client.exit()).toBe(0)
    expect(client.stdout.length).toBe(20000000)
    client.release()
  })

  test('that vanish do not disturb the container', async () => {
    const { dir, session, socket } = await running(['sh', '-c', 'seq 1 300000; exit 5'])
    const clients = await Promise.all([attach(socket), attach(socket)])
    session.go()
    for (const client of clients) {
      await client.until(() => client.stdout.length > 0)
      client.close()
    }
    await eventually(() => existsSync(join(dir, 'exit.json')))
    expect(JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: 5 })
  })

  test('that come late get the exit code, and after the end there is no socket', async () => {
    const { session, socket } = await running(['sh', '-c', 'sleep 0.2; exit 4'])
    session.go()
    await session.outcome()
    const late = await attach(socket)
    expect(await late.exit()).toBe(4)
    await late.ended()
    expect(existsSync(socket)).toBe(false)
  })

  test('close stdin by leaving when it is theirs alone (stdinOnce), and not otherwise', async () => {
    const once = await running(['sh', '-c', 'cat; echo end'], { process: { stdin: true, stdinOnce: true } })
    const client = await attach(once.socket)
    once.session.go()
    client.stdin(Buffer.from('x'))
    await client.until(() => client.stdout.length > 0)
    const watcher = await attach(once.socket)
    client.close()
    expect(await watcher.exit()).toBe(0)
    expect(watcher.stdout.toString()).toBe('end\n')

    const open = await running(['sh', '-c', 'read a; read b; echo $a $b'], {
      process: { stdin: true, stdinOnce: false },
    })
    open.session.go()
    const first = await attach(open.socket)
    first.stdin(Buffer.from('one\n'))
    first.eof()
    first.close()
    const second = await attach(open.socket)
    second.stdin(Buffer.from('two\n'))
    expect(await second.exit()).toBe(0)
    expect(second.stdout.toString()).toBe('one two\n')
  })

  test.each([false, true])('are let go although stdin was never read (tty %s)', async tty => {
    const { session, socket } = await running(['sh', '-c', 'test -t 0 && stty raw -echo; sleep 0.3'], {
      process: { stdin: true, tty },
    })
    const client = await attach(socket)
    client.own()
    session.go()
    await session.outcome()
    const monitor = parentOf(session.pid)
    client.stdin(Buffer.alloc(4 << 20, 'x'))
    expect(await client.exit()).toBe(0)
    client.release()
    await eventually(() => !isAlive(monitor))
  })

  test('may close their sending side and still get the output', async () => {
    const { session, socket } = await running(['sh', '-c', 'cat; sleep 0.1; echo end; exit 3'], {
      process: { stdin: true },
    })
    const client = await attach(socket)
    session.go()
    client.stdin(Buffer.from('in '))
    client.socket.end()
    expect(await client.exit()).toBe(3)
    expect(client.stdout.toString()).toBe('in end\n')
  })
})

describe('the end', () => {
  const note = (dir: string): Change => ({
    monitor: {
      exitCommand: [
        '/bin/sh',
        '-c',
        `{ env; ls /proc/self/fd | wc -l; } > ${dir}/note.tmp; mv ${dir}/note.tmp ${dir}/note`,
      ],
      exitEnv: ['A=1'],
    },
  })

  test('runs the exit command when nobody owns the teardown', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sh', '-c', 'exit 6'], note(dir)))
    session.go()
    await eventually(() => existsSync(join(dir, 'note')))

    expect(readFileSync(join(dir, 'note'), 'utf8').replace(/^PWD=.*\n/m, '')).toBe('A=1\n4\n')
    expect(JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: 6 })
    expect(execFileSync('stat', ['-c', '%a', join(dir, 'exit.json')], { encoding: 'utf8' })).toBe('600\n')
  })

  test('runs the exit command when the owner goes without having released', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['true'], note(dir)))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await client.exit()
    expect(existsSync(join(dir, 'note'))).toBe(false)
    client.close()
    await eventually(() => existsSync(join(dir, 'note')))
  })

  test('leaves it to the owner who released', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '0.1'], note(dir)))
    const client = await attach(join(dir, 'attach.sock'))
    client.own()
    session.go()
    await session.outcome()
    const monitor = parentOf(session.pid)
    await client.exit()
    client.release()
    await eventually(() => !isAlive(monitor))
    expect(existsSync(join(dir, 'note'))).toBe(false)
  })

  test('finds an OOM kill in the files it was told', async () => {
    const file = join(bench.dir, 'memory.events')
    for (const [text, killed] of [
      ['oom 1\noom_kill 0\n', false],
      ['low 0\noom 1\noom_kill 2\n', true],
      ['oom_kill_disable 0\nunder_oom 0\noom_kill 1\n', true],
    ] as const) {
      writeFileSync(file, text)
      const { dir } = await bench.run(['true'], { monitor: { oomFiles: ['/nonesuch', file] } })
      expect(JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8')).oomKilled).toBe(killed)
    }
  })

  test('does not wait for those who share the pid namespace of the host and hold on to the output', async () => {
    const { code, stdout } = await bench.run(['sh', '-c', 'sleep 3 & echo parent; exit 8'], {
      namespaces: { create: ['mnt', 'uts', 'ipc'], join: [] },
      mounts: [],
      devices: [],
      symlinks: [],
    })
    expect({ code, stdout }).toEqual({ code: 8, stdout: 'parent\n' })
  })
})

describe('an engine that vanishes', () => {
  test('before GO leaves no process, no socket, no record and no exit command', async () => {
    const dir = bench.box()
    const change = {
      monitor: {
        exitCommand: ['/bin/touch', join(dir, 'note')],
        log: { path: join(dir, 'log'), maxBytes: 0, maxFiles: 0 },
      },
    }
    const session = await bench.start(bench.config(dir, ['touch', '/ran'], change))
    const monitor = parentOf(session.pid)
    expect(existsSync(join(dir, 'attach.sock'))).toBe(true)

    session.vanish()

    await eventually(() => !isAlive(monitor) && !isAlive(session.pid))
    expect(readdirSync(dir).sort()).toEqual(['rootfs', 'upper', 'work'])
    expect(existsSync(join(dir, 'upper/ran'))).toBe(false)
  })

  test('after GO changes nothing', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sh', '-c', 'sleep 0.1; exit 3']))
    session.go()
    session.vanish()
    await eventually(() => existsSync(join(dir, 'exit.json')))
    expect(JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: 3 })
  })

  test('in the middle of the bootstrap leaves nothing', async () => {
    const dir = bench.box()
    const bytes = encodeBootstrap(bench.config(dir, ['true']))
    const session = bench.spawn()
    session.send(bytes.subarray(0, bytes.length - 10))
    await new Promise(resolve => setTimeout(resolve, 20))
    session.vanish()
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(readdirSync(dir).sort()).toEqual(['rootfs', 'upper', 'work'])
  })
})

describe('a container that is killed before GO', () => {
  test('is reaped and reported', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['true']))
    process.kill(session.pid, 'SIGKILL')
    expect(await session.outcome()).toMatchObject({
      kind: 'failed',
      phase: 'setup',
      what: expect.stringContaining('killed by signal 9'),
    })
  })
})

describe('reserved ports', () => {
  const any = Buffer.from([0, 0, 0, 0])
  const loopback6 = Buffer.from('00000000000000000000000000000001', 'hex')

  test('are held from READY to the end, against containers and programs', async () => {
    const reservedPorts = [
      { protocol: 'tcp', address: any, port: 45171 },
      { protocol: 'udp', address: any, port: 45171 },
      { protocol: 'tcp', address: loopback6, port: 45171 },
    ] as const
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '1000'], { monitor: { reservedPorts } }))
    session.go()
    await session.outcome()

    for (const [i, what] of ['tcp 0.0.0.0:45171', 'udp 0.0.0.0:45171', 'tcp [::1]:45171'].entries()) {
      const { outcome } = await bench.run(['true'], { monitor: { reservedPorts: reservedPorts.slice(i, i + 1) } })
      expect(outcome).toEqual({ kind: 'failed', stage: 'reserve-port', what, errno: 98, phase: 'setup' })
    }
    await expect(listen(45171)).rejects.toMatchObject({ code: 'EADDRINUSE' })
    const monitor = parentOf(session.pid)
    process.kill(session.pid, 'SIGKILL')
    await eventually(() => !isAlive(monitor))
    ;(await listen(45171))()
  })

  test('name the port that a program of the host listens on', async () => {
    const close = await listen(45172)
    const { outcome } = await bench.run(['true'], {
      monitor: { reservedPorts: [{ protocol: 'tcp', address: Buffer.from([127, 0, 0, 1]), port: 45172 }] },
    })
    close()
    expect(outcome).toMatchObject({ what: 'tcp 127.0.0.1:45172', errno: 98 })
  })

  test('are held as a range, of which one that is taken is named', async () => {
    const range = [{ protocol: 'tcp', address: any, port: 45181, count: 4 }] as const
    const session = await bench.start(
      bench.config(bench.box(), ['sleep', '1000'], { monitor: { reservedPorts: range } }),
    )
    expect(session.messages[0]).toMatchObject({ kind: 'ready' })
    for (let port = 45181; port < 45185; port++)
      await expect(listen(port)).rejects.toMatchObject({ code: 'EADDRINUSE' })
    for (const port of [45180, 45185]) (await listen(port))()
    const overlapping = [{ protocol: 'tcp', address: any, port: 45179, count: 5 }] as const
    const { outcome } = await bench.run(['true'], { monitor: { reservedPorts: overlapping } })
    expect(outcome).toMatchObject({ what: 'tcp 0.0.0.0:45181', errno: 98 })
    session.vanish()
  })

  test('are not refused for connections in TIME_WAIT, and then still exclude each other', async () => {
    await leaveTimeWait(45173)
    const reservedPorts = [{ protocol: 'tcp', address: any, port: 45173 }] as const
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['sleep', '1000'], { monitor: { reservedPorts } }))
    expect(session.messages[0]).toMatchObject({ kind: 'ready' })
    expect((await bench.run(['true'], { monitor: { reservedPorts } })).outcome).toMatchObject({ errno: 98 })
    session.vanish()
  })
})

async function listen(port: number): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '0.0.0.0', () => resolve(() => server.close()))
  })
}

/** The side that closes first, here the server's, is left in TIME_WAIT. */
async function leaveTimeWait(port: number): Promise<void> {
  const server = createServer(socket => socket.end())
  await new Promise<void>(resolve => server.listen(port, '0.0.0.0', resolve))
  const { connect } = await import('node:net')
  await new Promise<void>(resolve => {
    const client = connect(port, '127.0.0.1')
    client.on('end', () => client.end())
    client.on('close', () => resolve())
    client.resume()
  })
  await new Promise<void>(resolve => server.close(() => resolve()))
  expect(execFileSync('ss', ['-tan', 'state', 'time-wait'], { encoding: 'utf8' })).toContain(`:${port}`)
}
