import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { InitMonitor } from '../../src/kernel/init-protocol.ts'
import { Namespace, plainEnvironment } from '../helpers/namespace.ts'
import { eventually, isAlive, parentOf, repository, Workbench } from './harness.ts'

// Published ports that the monitor serves itself. Client and server are one program in a namespace of its own
// (proxy-peers.mjs): the client's end is [::1]:8080, the server's 127.0.0.1:9000.
let bench: Workbench
let namespace: Namespace

let monitor: number

const loopback6 = Buffer.from('00000000000000000000000000000001', 'hex')
const any6 = Buffer.alloc(16)
const target = { address: Buffer.from([127, 0, 0, 1]), port: 9000 }
const reservedPorts: InitMonitor['reservedPorts'] = [
  { protocol: 'tcp', address: loopback6, port: 8080, target },
  { protocol: 'udp', address: loopback6, port: 8080, target },
  { protocol: 'udp', address: any6, port: 8053, target },
]

beforeAll(async () => {
  bench = new Workbench({ sanitize: true })
  namespace = await Namespace.create('proxy', join(bench.dir, 'netns'))
  await namespace.sh('ip address add fd00::1/64 dev lo nodad; ip address add fd00::2/64 dev lo nodad')
  ;({ monitor } = await startMonitor(['sleep', '1000'], reservedPorts))
})
afterEach(() => expect(bench.findings()).toEqual([]))
afterAll(async () => {
  await namespace.remove()
  bench.dispose()
})

async function startMonitor(args: readonly string[], ports: InitMonitor['reservedPorts']) {
  const dir = bench.box()
  const log = { path: join(dir, 'log'), maxBytes: 0, maxFiles: 0 }
  const config = bench.config(dir, args, { monitor: { reservedPorts: ports, log } })
  const session = await bench.start(config, { wrapper: ['nsenter', `--net=${namespace.path}`] })
  session.go()
  const outcome = await session.outcome()
  return { dir, session, outcome, monitor: outcome.kind === 'started' ? parentOf(session.pid) : 0 }
}

const peers = join(repository, 'test/native/proxy-peers.mjs')
const environment = (): NodeJS.ProcessEnv => ({ ...plainEnvironment, MONITOR: `${monitor}` })

// biome-ignore lint/suspicious/noExplicitAny: looked into by each test
async function play(...args: string[]): Promise<any> {
  return JSON.parse(await namespace.exec(process.execPath, [peers, ...args], { env: environment(), timeoutMs: 50_000 }))
}

function openFiles(): number {
  return readdirSync(`/proc/${monitor}/fd`).length
}

describe('a proxied TCP port', () => {
  test('carries both directions and their ends', async () => {
    expect(await play('echo')).toEqual({ text: 'hello world', ended: true })
  })

  test.each([
    ['client', { heard: 'here', text: 'you said: here' }],
    ['server', { heard: 'still here', text: 'done already' }],
  ])('lets the %s close one direction and go on with the other', async (who, result) => {
    expect(await play('halfClose', who)).toEqual(result)
  })

  test.each(['bulkDown', 'bulkUp'])('carries 64 MiB to a slow reader without gathering them (%s)', async scenario => {
    const { same, bytes, grewKib } = await play(scenario)

    expect({ same, bytes }).toEqual({ same: true, bytes: 64 << 20 })
    expect(grewKib).toBeLessThan(1024)
  })

  test.each([200, 700])('serves %i clients at once', async count => {
    const before = openFiles()

    expect(await play('many', `${count}`)).toEqual({ right: count })

    await eventually(() => openFiles() === before)
  })

  test('closes the connection when nobody listens in the container', async () => {
    expect(await play('refused')).toEqual({ error: 'ECONNRESET', text: '' })
  })

  test('passes a reset on as a reset, after the data before it', async () => {
    expect(await play('reset')).toEqual({ error: 'ECONNRESET', text: 'some' })
  })

  test('gives everything back however connections end', async () => {
    const before = openFiles()

    await play('chaos')

    await eventually(() => openFiles() === before)
    expect(await play('echo')).toEqual({ text: 'hello world', ended: true })
  })

  test('never holds the container up for a client that is stuck', async () => {
    const { dir, monitor } = await startMonitor(['sh', '-c', 'sleep 2; seq 1 100000'], portOf(8081))
    const peer = peerAt(8081, 'stuck')
    await peer.waitFor(/stuck/)

    await eventually(() => !isAlive(monitor), 10_000)

    expect(readFileSync(join(dir, 'log'), 'utf8').trimEnd().split('\n').at(-1)).toMatch(/ F 100000$/)
    peer.kill('SIGKILL')
  })

  test('ends its connections with the container, and nobody listens any more', async () => {
    const { monitor, session } = await startMonitor(['sleep', '1000'], portOf(8082))
    const peer = peerAt(8082, 'hold')
    await peer.waitFor(/held/)

    process.kill(session.pid, 'SIGKILL')

    await eventually(() => !isAlive(monitor))
    await peer.waitFor(/"text":"welcome"/)
    expect(await namespace.sh('ss -Hltn "sport = :8082"')).toBe('')
    const again = await startMonitor(['true'], portOf(8082))
    expect(again.session.messages.at(-1)).toEqual({ kind: 'started' })
  })

  test.each(['0.0.0.0', '::1', '::'])('is taken, also for who would bind to %s', async address => {
    const { outcome } = await startMonitor(['true'], [{ protocol: 'tcp', address: bytesOf(address), port: 8080 }])

    if (address === '0.0.0.0') expect(outcome).toEqual({ kind: 'started' })
    else expect(outcome).toMatchObject({ kind: 'failed', stage: 'reserve-port', errno: 98 })
  })

  test('takes no processor time and no buffer while nothing happens', async () => {
    await play('echo')
    await new Promise(resolve => setTimeout(resolve, 2500))

    const before = readFileSync(`/proc/${monitor}/stat`, 'utf8')
    await new Promise(resolve => setTimeout(resolve, 500))
    expect(ticksOf(readFileSync(`/proc/${monitor}/stat`, 'utf8'))).toBe(ticksOf(before))
  })
})

describe('a proxied UDP port', () => {
  test.each([20, 300])('gives %i clients their own answers', async count => {
    const { sources, ...kept } = await play('udp', `${count}`)

    expect(kept).toEqual({ right: count, kept: 3, large: '60000', empty: '0' })
    // Of 300, those that 256 places have no room for free their port, and the kernel may choose one of these again.
    expect(sources).toBeGreaterThan(count - (count > 256 ? 10 : 1))
    expect(sources).toBeLessThanOrEqual(count)
    expect(openFiles()).toBeLessThan(256 + 30)
  })

  test('drops what comes before the server, and answers from the address that was asked', async () => {
    expect(await play('udpLate')).toEqual({ before: '', after: 'now', fromSecondAddress: 'you there' })
  })
})

describe('a bootstrap with a target', () => {
  test.each<[string, InitMonitor['reservedPorts'][number], RegExp]>([
    ['sctp', { protocol: 'sctp', address: loopback6, port: 80, target }, /protocol 132 cannot be proxied/],
    [
      'a port of 70000',
      { protocol: 'tcp', address: loopback6, port: 80, target: { ...target, port: 70000 } },
      /no port/,
    ],
    [
      'half an address',
      { protocol: 'tcp', address: loopback6, port: 80, target: { ...target, address: any6.subarray(2) } },
      /14 bytes/,
    ],
  ])('of %s is refused', async (_, port, what) => {
    const { outcome } = await startMonitor(['true'], [port])

    expect(outcome).toMatchObject({ kind: 'failed', stage: 'bootstrap', what: expect.stringMatching(what) })
  })
})

function portOf(port: number): InitMonitor['reservedPorts'] {
  return [{ protocol: 'tcp', address: loopback6, port, target }]
}

function peerAt(port: number, ...args: string[]) {
  return namespace.start(process.execPath, [peers, ...args], { env: { ...plainEnvironment, PORT: `${port}` } })
}

function bytesOf(address: string): Uint8Array {
  return address === '::1' ? loopback6 : address === '::' ? any6 : Buffer.alloc(4)
}

/** Processor time, from /proc/PID/stat. */
function ticksOf(stat: string): string {
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .join(' ')
}
