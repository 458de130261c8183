// ptp: a veth from the host straight into each container, without a bridge. What a bridge network can do it does as well.

import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, pageOf, type World } from '../helpers/world.ts'

const create = (name: string, subnet: string, ...more: string[]) => [
  ...['network', 'create', '-d', 'ptp', '--subnet', subnet],
  ...more,
  name,
]
const wget = (name: string, url: string) => ['exec', name, 'timeout', '2', 'wget', '-q', '-O', '-', url]

/** What a container gets of a page, or nothing. */
async function fetchFrom(world: World, name: string, address: string): Promise<string> {
  return (await world.tsrun(wget(name, `http://${address}/`))).stdout
}

describe('a ptp network', () => {
  test(
    'gives each container a veth and a route of its own, and no bridge',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24'))
      await world.serve('a', ['-net', 'p'])
      await world.serve('b', ['-net', 'p'])
      const [a, b] = [await world.addressOf('a'), await world.addressOf('b')]

      expect(await world.host.ipJson('link', 'show', 'type', 'bridge')).toEqual([])
      const routes = (await world.host.ipJson('route')).map(route => `${route.type} ${route.dst}`)
      expect(routes).toEqual(expect.arrayContaining([`unicast ${a}`, `unicast ${b}`, 'unreachable 10.40.0.0/24']))
      const inside = await world.ok(['exec', 'a', 'ip', '-o', '-4', 'addr', 'show', 'eth0'])
      expect(inside).toContain(`${a}/32`)
      const [{ Kernel }] = await world.json(['network', 'inspect', 'p'])
      expect(Kernel).toMatchObject({ gateways: ['10.40.0.1'], ports: [{ state: 'up' }, { state: 'up' }] })
      // Each other, the gateway, the world; and the world sees the host.
      expect(await fetchFrom(world, 'a', b)).toBe(pageOf('b', a))
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', '10.40.0.1'])
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server])
      expect((await world.host.curl(`http://${a}/`)).body).toBe(pageOf('a', '10.40.0.1'))
      expect((await world.tsrun(['exec', 'a', 'ping', '-c', '1', '-W', '1', '10.40.0.99'])).stdout).toContain(
        '100% packet loss',
      )
    }),
  )

  test(
    'publishes ports: from outside, the LAN, the host on any address, a peer and the container itself',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24'))
      await world.serve('a', ['-net', 'p', '-p', '8080:80', '-p', '127.0.0.1:8081:80'])
      await world.serve('b', ['-net', 'p'])
      const url = `http://${addresses.host}:8080/`

      expect((await world.outside.curl(url, { from: addresses.client })).body).toBe(pageOf('a', addresses.client))
      expect((await world.neighbour.curl(url)).body).toBe(pageOf('a', addresses.neighbour))
      expect((await world.host.curl(url)).status).toBe(200)
      expect((await world.host.curl('http://127.0.0.1:8081/')).status).toBe(200)
      expect(await fetchFrom(world, 'b', `${addresses.host}:8080`)).toMatch(/^a sees/)
      expect(await fetchFrom(world, 'a', `${addresses.host}:8080`)).toMatch(/^a sees/)
      expect((await world.neighbour.curl(`http://${addresses.host}:8081/`)).status).toBe(0)
    }),
  )

  test(
    'keeps others out: neighbours, bridge networks, other ptp networks; internal ones are shut both ways',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24'))
      await world.ok(create('q', '10.41.0.0/24'))
      await world.ok(create('shut', '10.42.0.0/24', '--internal'))
      await world.ok(create('hermits', '10.43.0.0/24', '-o', 'icc=false'))
      await world.ok('network create --subnet 10.44.0.0/24 br'.split(' '))
      const names = { a: 'p', other: 'q', in1: 'shut', in2: 'shut', h1: 'hermits', h2: 'hermits', bridged: 'br' }
      for (const [name, network] of Object.entries(names)) await world.serve(name, ['-net', network])
      const at = Object.fromEntries(
        await Promise.all(Object.keys(names).map(async name => [name, await world.addressOf(name)])),
      )
      await world.neighbour.sh(`for n in 40 41 42 43; do ip route add 10.$n.0.0/24 via ${addresses.host}; done`)

      expect((await world.neighbour.curl(`http://${at.a}/`, { timeoutSeconds: 1 })).status).toBe(0)
      expect((await world.neighbour.curl(`http://${at.in1}/`, { timeoutSeconds: 1 })).status).toBe(0)
      const shut = [
        ['a', 'other'],
        ['a', 'bridged'],
        ['bridged', 'a'],
        ['a', 'in1'],
        ['in1', 'a'],
        ['h1', 'h2'],
      ]
      const got = await Promise.all(shut.map(([from = '', to = '']) => fetchFrom(world, from, at[to])))
      expect(got).toEqual(shut.map(() => ''))
      expect(await fetchFrom(world, 'in1', at.in2)).toBe(pageOf('in2', at.in1))
      expect((await world.tsrun(['exec', 'in1', 'ping', '-c', '1', '-W', '1', addresses.server])).code).not.toBe(0)
      await world.ok(['exec', 'h1', 'ping', '-c', '1', '-W', '2', addresses.server])
    }),
  )

  test(
    'has IPv6 as well, reached at once',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24', '--subnet', 'fd00:40::/64'))
      await world.serve('a', ['-net', 'p', '-p', '8080:80'])
      await world.serve('b', ['-net', 'p'])
      const [{ NetworkSettings }] = await world.json(['inspect', 'b'])
      const { GlobalIPv6Address: b6 } = NetworkSettings.Networks.p

      expect(await fetchFrom(world, 'a', `[${b6}]`)).toMatch(/^b sees \[?fd00:40::/)
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server6])
      expect((await world.neighbour.curl(`http://[${addresses.host6}]:8080/`)).body).toContain(addresses.neighbour6)
    }),
  )

  test(
    'survives restart, an address that changes hands, a flushed rule set and a lost route',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24'))
      await world.serve('a', ['-net', 'p', '--ip', '10.40.0.7'])
      await world.ok(['restart', '-t', '0', 'a'])
      await world.ok(['restart', '-t', '0', 'a'])
      const url = `http://${addresses.host}:8080/`
      const answers = async () => (await world.host.curl('http://10.40.0.7/')).status
      await expect.poll(answers, { timeout: 10_000 }).toBe(200)

      await world.ok(['rm', '-f', 'a'])
      await world.serve('b', ['-net', 'p', '--ip', '10.40.0.7', '-p', '8080:80'])
      expect((await world.neighbour.curl(url)).body).toMatch(/^b sees/)

      await world.host.sh('nft flush ruleset; ip route del unreachable 10.40.0.0/24')
      await world.ok('run --rm -net p busybox true'.split(' '))
      expect((await world.neighbour.curl(url)).body).toMatch(/^b sees/)
      expect(await world.host.sh('ip route')).toContain('unreachable 10.40.0.0/24')
    }),
  )

  test(
    'goes without a trace, and takes forwarding along only with the last network that needs it',
    inWorld(async world => {
      const forwarding = async () => (await world.host.sh('cat /proc/sys/net/ipv4/ip_forward')).trim()
      expect(await forwarding()).toBe('0')
      await world.ok(create('p', '10.40.0.0/24'))
      await world.ok('network create br'.split(' '))
      await world.ok('run -d --name a -net p busybox sleep 1000'.split(' '))
      expectError(await world.tsrun(['network', 'rm', 'p']), 1, /cannot remove network "p": a container is on it: a/)
      await world.ok(['network', 'rm', 'br'])
      expect(await forwarding()).toBe('1')
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server])
      await world.ok(['rm', '-f', 'a'])
      await world.ok(['network', 'rm', 'p'])

      expect(await forwarding()).toBe('0')
      expect(await world.host.nftJson()).toEqual([])
      expect(await world.host.sh('ip route')).not.toContain('10.40')
    }),
  )

  test(
    'a start that fails or is killed at any step leaves nothing',
    inWorld(async world => {
      await world.ok(create('p', '10.40.0.0/24'))
      await world.ok('run --rm -net p -p 8080:80 busybox true'.split(' '))
      const before = await world.settled()
      for (const fault of ['add veth:fail', 'add veth:kill', 'configure sandbox:fail', 'firewall endpoint:kill']) {
        const { code } = await world.tsrun('run --rm --name a -net p -p 8080:80 busybox true'.split(' '), {
          env: { ...world.env, TSRUN_FAULT: fault },
        })
        expect(code, fault).not.toBe(0)
        await world.tsrun(['rm', '-f', 'a'])
        expect(await world.changesSince(before), fault).toEqual([])
      }
    }),
  )

  test(
    'refuses options of a bridge',
    inWorld(async world => {
      const refused = await world.tsrun(create('p', '10.40.0.0/24', '-o', 'bridge=br0'))
      expectError(refused, 1, /a ptp network has no bridge/)
      expectError(await world.tsrun(create('p', '10.40.0.0/24', '-o', 'mtu=20')), 1, /"20" is no MTU/)
    }),
  )
})
