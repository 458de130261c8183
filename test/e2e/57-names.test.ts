// Names that containers have for each other: what is answered, to whom, and that it changes at once.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Answer,
  askFrom,
  askOne,
  codes,
  type HostWithResolvConf,
  type Query,
  resolverProcesses,
  serveDns,
  withResolvConf,
} from '../helpers/dns.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, World } from '../helpers/world.ts'

/** A host whose resolver knows nobody. The second server is not asked, and keeps the first from being the only one. */
async function lonelyHost(world: World): Promise<HostWithResolvConf> {
  await serveDns(world.host, 1, ['127.0.0.53'])
  return withResolvConf(world, `nameserver 127.0.0.53\nnameserver ${addresses.host}\n`)
}

const sleeper = ['busybox', 'sleep', '600']

describe('containers on networks', () => {
  let world: World
  let ids: Record<string, string>
  beforeAll(async () => {
    world = await World.create()
    const host = await lonelyHost(world)
    const dual = ['--subnet', '10.57.1.0/24', '--subnet', 'fd00:57:1::/64', 'Dual']
    await world.ok(['network', 'create', ...dual])
    await world.ok(['network', 'create', '--subnet', '10.57.2.0/24', 'plain'])
    const run = (name: string, ...flags: string[]) => host.ok(['run', '-d', '--name', name, ...flags, ...sleeper])
    ids = {
      asker: await run('asker', '--network', 'Dual', '--network', 'plain'),
      web: await run('web', '--network', 'Dual', '--hostname', 'www1', '--network-alias', 'app'),
      web2: await run('Web_2', '--network', 'Dual', '--network-alias', 'app'),
      web3: await run('web3', '--network', 'Dual', '--network-alias', 'app'),
      four: await run('four', '--network', 'plain'),
      far: await run('far', '--network', 'plain', '--network-alias', 'hidden'),
      onlyDual: await run('only-dual', '--network', 'Dual'),
      nobody: await run('nobody'),
    }
  }, 120_000)
  afterAll(() => world.dispose())

  const asker = async (query: Query): Promise<Answer> => askOne(world, 'asker', query)

  test('have A and AAAA records for their name, whatever its case, with a short life', async () => {
    const v4 = await asker({ name: 'WEB' })
    const v6 = await asker({ name: 'web', type: 'AAAA' })

    expect(v4).toMatchObject({ code: codes.ok, values: [await world.addressOf('web')], flags: 'qr aa rd ra', rest: 0 })
    expect(v4.answers[0]?.ttl).toBeLessThanOrEqual(5)
    expect(v4.question?.name).toBe('WEB')
    expect(v6).toMatchObject({ code: codes.ok, values: [expect.stringMatching(/^fd00:57:1:/)] })
    expect((await asker({ name: 'web_2' })).values).toEqual([await world.addressOf('Web_2')])
  })

  test('answer to the short id, the hostname, the name with the network, and to an answer from port 53', async () => {
    const names = [ids.web?.slice(0, 12), 'www1', 'web.dual', 'www1.Dual']
    const answers = await askFrom(
      world,
      'asker',
      names.map(name => ({ name: name ?? '' })),
    )

    const address = await world.addressOf('web')
    expect(answers.map(({ values }) => values)).toEqual(names.map(() => [address]))
    expect(answers[0]?.from).toBe('127.0.0.11:53')
  })

  test('share an alias, and each of them is the first in turn', async () => {
    const all = await Promise.all(['web', 'Web_2', 'web3'].map(name => world.addressOf(name)))
    const answers = await askFrom(
      world,
      'asker',
      Array.from({ length: 6 }, () => ({ name: 'app' })),
    )

    for (const { values } of answers) expect([...values].sort()).toEqual([...all].sort())
    const first = answers.map(({ values }) => values[0])
    for (const address of all) expect(first.filter(value => value === address)).toHaveLength(2)
  })

  test('without an address of the family asked for are known all the same: no records, and no NXDOMAIN', async () => {
    for (const type of ['AAAA', 'MX', 'TXT', 65]) {
      const answer = await asker({ name: 'four', type })
      expect(answer).toMatchObject({ code: codes.ok, values: [], flags: 'qr aa rd ra' })
    }
  })

  test('are found by their addresses, IPv4 and IPv6', async () => {
    const address = await world.addressOf('web')
    const v4 = `${address.split('.').reverse().join('.')}.in-addr.arpa`
    const [{ NetworkSettings }] = await world.json(['inspect', 'web'])
    const v6 = reverse6(NetworkSettings.Networks.Dual.GlobalIPv6Address)

    expect((await asker({ name: v4, type: 'PTR' })).values).toEqual(['web.dual'])
    expect((await asker({ name: v6, type: 'PTR' })).values).toEqual(['web.dual'])
    expect(await world.ok(['exec', 'asker', 'nslookup', address])).toContain('web.dual')
  })

  test('see only the networks that they are on themselves', async () => {
    expect((await askOne(world, 'only-dual', { name: 'web' })).values).toHaveLength(1)
    expect((await askOne(world, 'asker', { name: 'hidden' })).values).toHaveLength(1)
    for (const name of ['far', 'hidden', 'far.plain', 'nobody'])
      expect(await askOne(world, 'only-dual', { name })).toMatchObject({ code: codes.nxdomain, values: [] })
    const far = await world.addressOf('far')
    const reverse = `${far.split('.').reverse().join('.')}.in-addr.arpa`
    expect((await askOne(world, 'only-dual', { name: reverse, type: 'PTR' })).values).toEqual([])
  })

  test('reach the host as host.docker.internal and by the other names for it', async () => {
    for (const name of ['host.docker.internal', 'gateway.docker.internal', 'host.containers.internal']) {
      expect((await asker({ name })).values).toEqual(['10.57.1.1'])
      expect((await asker({ name, type: 'AAAA' })).values).toEqual(['fd00:57:1:0:0:0:0:1'])
    }
    expect((await asker({ name: '1.1.57.10.in-addr.arpa', type: 'PTR' })).values).toEqual(['host.docker.internal'])
  })

  test('get the same over TCP, several queries on one connection', async () => {
    const more = Array.from({ length: 20 }, (_, i) => ({ name: 'web', id: i }))
    const answer = await asker({ name: 'web', tcp: true, id: 99, more })

    const address = await world.addressOf('web')
    expect(answer.all?.map(({ id, values }) => [id, values])).toEqual(
      [99, ...more.map(({ id }) => id)].map(id => [id, [address]]),
    )
  })

  test('get an OPT record for an OPT record', async () => {
    expect(await asker({ name: 'web', edns: 1232 })).toMatchObject({ code: codes.ok, edns: 1232, rest: 0 })
    expect((await asker({ name: 'web' })).edns).toBeUndefined()
    expect(await asker({ name: 'web', edns: 1232, version: 1 })).toMatchObject({ code: codes.badvers, values: [] })
  })

  test('resolve with the tools of an image', async () => {
    expect(await world.ok(['exec', 'asker', 'nslookup', 'web'])).toContain(await world.addressOf('web'))
    expect(await world.ok(['exec', 'asker', 'ping', '-c', '1', '-W', '2', 'four'])).toContain('1 packets received')
    expect(await world.ok(['exec', 'asker', 'cat', '/etc/resolv.conf'])).toMatch(
      /^nameserver 127\.0\.0\.11\n(.*\n)*.*ndots:0/,
    )
  })

  test('on the default network get no resolver, as in docker', async () => {
    expect(await world.ok(['exec', 'nobody', 'cat', '/etc/resolv.conf'])).not.toContain('127.0.0.11')
    expect((await world.tsrun(['exec', 'nobody', 'nslookup', 'asker', '127.0.0.11'])).code).not.toBe(0)
  })

  test('are answered by one unprivileged resolver', () => {
    expect(resolverProcesses(world)).toHaveLength(2)
  })
})

describe('names follow', () => {
  test(
    'rename, stop, start and a new address, at once; the resolver ends with its last container',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      const host = await lonelyHost(world)
      const run = (name: string) => host.ok(['run', '-d', '--name', name, '--network', 'br', ...sleeper])
      await run('asker')
      await run('web')
      const has = async (name: string) => (await askOne(world, 'asker', { name })).values

      await world.ok(['rename', 'web', 'shop'])
      expect(await has('shop')).toEqual([await world.addressOf('shop')])
      expect(await has('web')).toEqual([])

      await world.ok(['stop', '-t', '0', 'shop'])
      expect(await has('shop')).toEqual([])
      await run('other')
      await world.ok(['start', 'shop'])
      expect(await has('shop')).toEqual([await world.addressOf('shop')])

      await world.ok(['kill', 'shop', 'other'])
      expect(await has('other')).toEqual([])
      await world.ok(['rm', '-f', 'asker', 'shop', 'other'])
      expect(resolverProcesses(world)).toEqual([])
    }),
  )

  test(
    '--network-alias with a blank is refused',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      expectError(await world.tsrun(['run', '--network', 'br', '--network-alias', 'a b', 'busybox']), 125, /"a b"/)
    }),
  )
})

function reverse6(address: string): string {
  const [head = '', tail = ''] = address.split('::')
  const words = (text: string) => (text === '' ? [] : text.split(':'))
  const middle = Array<string>(8 - words(head).length - words(tail).length).fill('0')
  const digits = [...words(head), ...middle, ...words(tail)].map(word => word.padStart(4, '0')).join('')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}
