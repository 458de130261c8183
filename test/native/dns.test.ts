// The resolver alone, built with the sanitizers: a read or write out of bounds ends its answerer, which is then another one.

import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closePidfd, openPidfd } from '../../src/kernel/pidfd.ts'
import {
  openResolverSockets,
  removeDeadFolder,
  startResolver,
  tellResolver,
} from '../../src/kernel/resolver/resolver.ts'
import { eventually, type Running } from '../helpers/command.ts'
import { askIn, codes, floodScript, resolverProcesses } from '../helpers/dns.ts'
import { Namespace } from '../helpers/namespace.ts'
import { Workbench } from './harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'tsrun-dns-'))
const folder = join(dir, 'dns')
const asker = 'a'.repeat(64)
const crowd = 'b'.repeat(64)

let bench: Workbench
let netns: Namespace
let sleeper: Running

const addresses = Array.from({ length: 2000 }, (_, i) => `10.9.${i >> 8}.${i & 255}`)
const crowdText = `forward none\nendpoint net\n${addresses.map(address => `address ${address}\n`).join('')}name crowd\nreverse crowd.net\n`

/** Sockets in the namespace, and a process whose end would take them away. */
function put(id: string, text: string) {
  const fd = openSync(netns.path, 'r')
  const sockets = openResolverSockets(fd, { label: 'test', again: true })
  const pidfd = openPidfd(sleeper.pid)
  try {
    return tellResolver(folder, { type: 'put', id, text, attach: { sockets, pidfd } })
  } finally {
    closePidfd(pidfd)
    sockets.close()
    closeSync(fd)
  }
}

const processes = () => resolverProcesses({ state: dir })

beforeAll(async () => {
  bench = new Workbench({ sanitize: true })
  netns = await Namespace.create('dns', join(dir, 'netns'))
  sleeper = netns.start('sleep', ['600'])
  expect(startResolver({ folder, path: bench.init, title: `tsrun-dns ${dir}` })).toBe(true)
  expect(put(crowd, crowdText)).toBe('done')
  // The second to have sockets there; those of the first are another port's now.
  expect(put(asker, 'forward none\nendpoint net\naddress 10.8.0.1\naddress fd00::1\nname web\nreverse web.net\n')).toBe(
    'done',
  )
}, 120_000)

afterAll(async () => {
  for (const id of [asker, crowd]) tellResolver(folder, { type: 'remove', id })
  await eventually('it has ended', () => removeDeadFolder(folder))
  await netns.remove()
  bench.dispose()
  rmSync(dir, { recursive: true, force: true })
})

describe('tsrun-dns under the sanitizers', () => {
  test('cuts what does not fit into a datagram, and gives all of it over TCP', async () => {
    const [small, large, tcp] = await askIn(netns.path, [
      { name: 'crowd' },
      { name: 'crowd', edns: 4096 },
      { name: 'crowd', tcp: true },
    ])

    expect(small).toMatchObject({ code: codes.ok, flags: expect.stringContaining('tc'), rest: 0 })
    expect(small?.length).toBeLessThanOrEqual(512)
    expect(large).toMatchObject({ flags: expect.stringContaining('tc'), edns: 1232, rest: 0 })
    expect(large?.length).toBeLessThanOrEqual(4096)
    expect(new Set(tcp?.values)).toEqual(new Set(addresses))
    expect(tcp?.flags).not.toContain('tc')
  })

  test('answers names, addresses and what it does not know', async () => {
    const [v4, v6, pointer, other, internal] = await askIn(netns.path, [
      { name: 'WeB' },
      { name: 'web', type: 'AAAA' },
      { name: '1.0.8.10.in-addr.arpa', type: 'PTR' },
      { name: 'web', type: 'MX' },
      { name: 'example.test' },
    ])

    expect([v4, v6, pointer, other].map(answer => answer?.values)).toEqual([
      ['10.8.0.1'],
      ['fd00:0:0:0:0:0:0:1'],
      ['web.net'],
      [],
    ])
    expect(other?.code).toBe(codes.ok)
    expect(internal?.code).toBe(codes.nxdomain)
  })

  test('survives random packets', async () => {
    const before = processes()
    await netns.exec(process.execPath, ['-e', floodScript()], { timeoutMs: 60_000 })

    await eventually('it answers', async () => (await askIn(netns.path, [{ name: 'web' }]))[0]?.code === codes.ok)
    expect(processes()).toEqual(before)
  })

  test('refuses lines that make no sense, and keeps what it had', async () => {
    const before = processes()
    const bad = [
      'nonsense',
      'name early\n',
      'endpoint n\naddress 1.2.3\n',
      'forward away\n',
      'endpoint\n',
      'endpoint n\nname a',
    ]
    for (const text of bad)
      expect([text, tellResolver(folder, { type: 'put', id: asker, text })]).toEqual([text, 'bad'])
    expect(tellResolver(folder, { type: 'put', id: 'c'.repeat(64), text: 'forward none\n' })).toBe('unknown')

    expect((await askIn(netns.path, [{ name: 'web' }]))[0]?.values).toEqual(['10.8.0.1'])
    expect(processes()).toEqual(before)
  })
})
