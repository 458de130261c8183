// A container with a share of the host's table of connections takes no more than that, whatever addresses it sends from, and its
// neighbours on the same network go on.

import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, pageServer, type World } from '../helpers/world.ts'

const limit = 40

/** A world with two containers on a network with the limit, and one on another. */
const inSharedWorld = (test: (world: World) => Promise<void>) =>
  inWorld(async world => {
    world.outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/www`)])
    await eventually('outside serves', async () => (await world.outside.curl('http://127.0.0.1/')).body !== '')
    await world.ok(['network', 'create', '--subnet', '10.60.0.0/24', '-o', `connections=${limit}`, 'shared'])
    await world.ok(['network', 'create', '--subnet', '10.61.0.0/24', 'free'])
    for (const [name, network] of [
      ['greedy', 'shared'],
      ['neighbour', 'shared'],
      ['free', 'free'],
    ] as const)
      await world.ok(['run', '-d', '--name', name, '--network', network, 'busybox', 'sleep', '1000'])
    await test(world)
  })

/** Connections that the host knows. */
const known = async (world: World) => Number(await world.host.sh('cat /proc/sys/net/netfilter/nf_conntrack_count'))

/** A shell command in the container's network: its image has no program that sends datagrams. */
async function inNetworkOf(world: World, container: string, script: string): Promise<void> {
  const [{ State }] = await world.json(['inspect', container])
  await world.host.exec('nsenter', ['-t', String(State.Pid), '-n', 'bash', '-c', script])
}

/** One datagram each to 120 ports: as many connections. */
const spray = (world: World, container: string, to: string) =>
  inNetworkOf(world, container, `for port in {20001..20120}; do echo x > /dev/udp/${to}/$port; done 2>/dev/null; true`)

const page = async (world: World, container: string) =>
  (await world.tsrun(['exec', container, 'timeout', '2', 'wget', '-q', '-O', '-', `http://${addresses.server}/`]))
    .stdout

describe('-o connections', () => {
  test.each([
    ['the world', addresses.server],
    ['the host itself', addresses.host],
  ])('bounds what a container opens to %s; its neighbour gets through, and it too when they are over', (_, to) =>
    inSharedWorld(async world => {
      await world.host.sh('echo 4 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout')
      const before = await known(world)
      await spray(world, 'greedy', to)

      const taken = (await known(world)) - before
      expect(taken).toBeGreaterThan(limit / 2)
      expect(taken).toBeLessThanOrEqual(limit)
      expect(await page(world, 'greedy')).toBe('')
      expect(await page(world, 'neighbour')).toMatch(/^outside sees/)
      await eventually('its connections are over', async () => (await page(world, 'greedy')) !== '', 20_000)
    })(),
  )

  test(
    'gives all addresses that are none of the network one share together',
    inSharedWorld(async world => {
      const before = await known(world)
      await inNetworkOf(
        world,
        'greedy',
        `for i in {1..100}; do
          ip address add 192.0.2.$i/32 dev eth0
          ip route change default via 10.60.0.1 src 192.0.2.$i
          echo x > /dev/udp/${addresses.server}/9
        done
        ip route change default via 10.60.0.1`,
      )

      const taken = (await known(world)) - before
      expect(taken).toBeGreaterThan(limit / 2)
      expect(taken).toBeLessThanOrEqual(limit)
      expect(await page(world, 'neighbour')).toMatch(/^outside sees/)
    }),
  )

  test(
    'is there again after a flush, and goes with the network; without it there is no bound',
    inSharedWorld(async world => {
      await world.host.sh('nft flush ruleset')
      await world.ok(['network', 'reload'])

      const before = await known(world)
      await spray(world, 'free', addresses.server)
      const between = await known(world)
      await spray(world, 'greedy', addresses.server)
      expect(between - before).toBeGreaterThan(limit * 2)
      expect((await known(world)) - between).toBeLessThanOrEqual(limit)

      await world.ok(['rm', '-f', 'greedy', 'neighbour'])
      await world.ok(['network', 'rm', 'shared'])
      expect(await world.host.sh('nft list tables')).not.toContain('share')
    }),
  )

  test(
    'refuses what is no number',
    inWorld(async world => {
      for (const value of ['0', '-1', 'many', '16385', '1e9', '']) {
        const result = await world.tsrun(['network', 'create', '-o', `connections=${value}`, 'wrong'])
        expectError(result, 1, /no number of connections/)
      }
    }),
  )
})
