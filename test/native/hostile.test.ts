import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { BOOTSTRAP, encodeBootstrap, type InitMessage, TAG } from '../../src/kernel/init-protocol.ts'
import fc from '../helpers/property.ts'
import { attach, eventually, isAlive, parentOf, type Session, Workbench } from './harness.ts'

// The sanitizers turn any read or write out of bounds, and any undefined arithmetic, into an exit code of its own.
let bench: Workbench
beforeAll(() => {
  bench = new Workbench({ sanitize: true })
})
afterEach(() => expect(bench.findings()).toEqual([]))
afterAll(() => bench.dispose())

/** Sends `bytes`, closes, and returns what came back. A crash would be an end without a word. */
async function answerTo(bytes: Uint8Array): Promise<InitMessage | undefined> {
  const session = bench.spawn()
  session.send(bytes)
  session.control.end()
  await session.first()
  const [message] = session.messages
  session.vanish()
  await session.closed()
  return message
}

describe('a bootstrap', () => {
  let good: Buffer
  beforeAll(() => {
    const dir = bench.box()
    const config = bench.config(dir, ['true'], {
      process: { rlimits: [{ resource: 7, soft: 10n, hard: 10n }], seccomp: Buffer.from('0600000000000000', 'hex') },
      sysctls: [{ name: 'net.a', value: '1' }],
      monitor: {
        log: { path: join(dir, 'log'), maxBytes: 0, maxFiles: 0 },
        reservedPorts: [],
        exitCommand: ['/bin/true'],
        exitEnv: ['A=b'],
      },
    })
    good = encodeBootstrap(config)
  })

  test('that is cut short anywhere is refused', async () => {
    const cuts = new Set([0, 1, 4, 15, 16, 17, 20, 24, good.length - 1])
    for (let at = 16; at < good.length; at += 97) cuts.add(at)
    for (const at of cuts) {
      const message = await answerTo(good.subarray(0, at))
      expect(message).toMatchObject({ kind: 'failed', stage: 'bootstrap', phase: 'setup' })
    }
  })

  test('whose last attributes are missing but whose length agrees is refused or complete', async () => {
    for (let at = 16; at < good.length; at += 61) {
      const cut = Buffer.from(good.subarray(0, at))
      cut.writeUInt32LE(cut.length, 8)
      const message = await answerTo(cut)
      expect(['failed', 'ready']).toContain(message?.kind)
    }
  })

  test.each([
    ['that is empty', 0, 1],
    ['that ends behind 65535', 65_536 - 9000 + 1, 1],
    ['that there are too many of', 50_000, 6],
  ])('with a range of ports %s is refused', async (_, count, times) => {
    const config = bench.config(bench.box(), ['true'], {
      monitor: {
        reservedPorts: Array.from({ length: times }, () => ({
          protocol: 'tcp' as const,
          address: Buffer.from([0, 0, 0, 0]),
          port: 9000,
          count,
        })),
      },
    })
    expect(await answerTo(encodeBootstrap(config))).toMatchObject({
      kind: 'failed',
      stage: 'bootstrap',
      what: expect.stringMatching(/ports from 9000/),
    })
  })

  test.each([
    ['another magic', 0, 1, /not one/],
    ['another version', 4, 99, /version 99/],
    ['a length of nothing', 8, 3, /length of 3/],
    ['a length of 4 GiB', 8, 0xffffffff, /length of/],
    ['an attribute longer than the rest', 16, 0xfffffff0, /truncated/],
    ['an unknown tag', 20, 9999, /attribute 9999 is unknown/],
  ])('with %s is refused', async (_, offset, value, what) => {
    const bytes = Buffer.from(good)
    bytes.writeUInt32LE(value, offset)
    expect(await answerTo(bytes)).toMatchObject({
      kind: 'failed',
      stage: 'bootstrap',
      what: expect.stringMatching(what),
    })
  })

  test('of random attributes never crashes', async () => {
    const tags = Object.values(TAG)
    const attribute = fc.record({ tag: fc.constantFrom(...tags), payload: fc.uint8Array({ maxLength: 64 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(attribute, { maxLength: 12 }), async attributes => {
        const body = Buffer.concat(
          attributes.map(({ tag, payload }) => {
            const head = Buffer.alloc(8)
            head.writeUInt32LE(payload.length, 0)
            head.writeUInt32LE(tag, 4)
            return Buffer.concat([head, payload])
          }),
        )
        expect(await answerTo(framed(body))).toMatchObject({ kind: 'failed', stage: 'bootstrap' })
      }),
      { numRuns: 300 },
    )
  })

  test('with a flipped bit in its numbers never crashes', async () => {
    // Paths stay what they are: a flipped one could name something that exists.
    const numbers = [...good.keys()].filter(at => at >= 16 && (good[at] ?? 0) < 32)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...numbers), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const bytes = Buffer.from(good)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
        const message = await answerTo(bytes)
        expect(message).toBeDefined()
      }),
      { numRuns: 300 },
    )
  })
})

describe('under the sanitizers', () => {
  test('a whole run with everything in it is clean', async () => {
    const result = await bench.run(
      ['sh', '-c', 'cat; seq 1 50000; head -c 40000 /dev/zero | tr "\\0" x; echo err >&2; exit 3'],
      {
        process: { stdin: true, init: true, uid: 1, gid: 1, additionalGids: [2] },
        maskedPaths: ['/proc/keys', '/proc/acpi', '/sys/firmware'],
        readonlyPaths: ['/proc/sys'],
        monitor: { log: { path: join(bench.dir, 'log'), maxBytes: 20000, maxFiles: 3 } },
        input: Buffer.alloc(300000, 'in\n'),
      },
    )
    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result).toMatchObject({ code: 3, stderr: 'err\n' })
    expect(result.stdout.length).toBe(300000 + 288894 + 40000)
  })

  test('random frames from a client only cost that client its connection', async () => {
    const dir = bench.box()
    const session = await bench.start(bench.config(dir, ['cat'], { process: { stdin: true, stdinOnce: false } }))
    session.go()
    await session.outcome()
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 }), async chunks => {
        const client = await attach(join(dir, 'attach.sock'))
        for (const chunk of chunks) client.socket.write(chunk)
        client.socket.end()
        await new Promise(resolve => setTimeout(resolve, 1))
        client.close()
      }),
      { numRuns: 200 },
    )
    expect(isAlive(parentOf(session.pid))).toBe(true)
    process.kill(session.pid, 'SIGKILL')
    await eventually(() => existsSync(join(dir, 'exit.json')))
  })
})

describe('a fault', () => {
  const points = (): string[] => execFileSync(bench.init, ['--fault-points'], { encoding: 'utf8' }).trim().split('\n')
  const afterGo = ['drain', 'exit-record', 'exit-draft', 'exit-frame', 'exit-command']

  async function endOf(session: Session): Promise<void> {
    await session.closed()
    for (const message of session.messages) if (message.kind === 'ready') await eventually(() => !isAlive(message.pid))
  }

  test.each(['fail', 'kill'])('(%s) anywhere leaves no process and no mount', async how => {
    // These two are passed by user namespaces and terminals only.
    for (const point of points().filter(point => point !== 'id-maps' && point !== 'console')) {
      const dir = bench.box()
      const session = await bench.start(
        bench.config(dir, ['true'], { fault: `${point}:${how}`, process: { init: true } }),
      )
      session.go()
      await endOf(session)
      const failure = session.messages.find(message => message.kind === 'failed')
      if (how === 'fail' && !afterGo.includes(point) && point !== 'started')
        expect
          .soft(failure, point)
          .toMatchObject({ stage: expect.stringContaining(point.split('-')[0] ?? ''), errno: 5 })
      if (how === 'fail' && !afterGo.includes(point))
        expect.soft(existsSync(join(dir, 'attach.sock')), point).toBe(false)
    }
    expect(bench.hostMounts()).toEqual([])
  })
})

function framed(body: Buffer): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32LE(BOOTSTRAP.MAGIC, 0)
  header.writeUInt32LE(BOOTSTRAP.VERSION, 4)
  header.writeUInt32LE(16 + body.length, 8)
  return Buffer.concat([header, body])
}
