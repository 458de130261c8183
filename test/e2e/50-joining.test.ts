// Several networks at once, in the order and with the settings that the user gave, also while a container runs.

import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

/** Networks `a` (IPv4) and `b` (both families). */
async function makeNetworks(world: World): Promise<void> {
  await world.ok(['network', 'create', '--subnet', '10.61.0.0/24', 'a'])
  await world.ok(['network', 'create', '--subnet', '10.62.0.0/24', '--subnet', 'fd00:62::/64', 'b'])
}

/** What busybox's `ip` says inside the container. */
const ip = (world: World, container: string, ...words: string[]) => world.ok(['exec', container, 'ip', ...words])

const interfaces = async (world: World, container: string) =>
  [...(await ip(world, container, '-4', 'address')).matchAll(/inet (\S+) .* (\S+)$/gm)]
    .map(([, address, name]) => `${name} ${address}`)
    .filter(line => !line.startsWith('lo '))

const defaultRoute = async (world: World, container: string) =>
  /^default via (\S+)/m.exec(await ip(world, container, 'route'))?.[1]

const sleeper = ['busybox', 'sleep', '1000']

describe('run --network', () => {
  test(
    'joins networks in the order given, the first having the way out, also after a restart',
    inWorld(async world => {
      await makeNetworks(world)
      await world.ok(['run', '-d', '--name', 'c', '--network', 'b', '--network', 'a', ...sleeper])

      const before = await interfaces(world, 'c')
      expect(before.map(line => line.slice(0, 10))).toEqual(['eth0 10.62', 'eth1 10.61'])
      expect(await defaultRoute(world, 'c')).toBe('10.62.0.1')
      expect(await ip(world, 'c', '-6', 'route')).toContain('default via fd00:62::1')

      await world.ok(['restart', '-t', '0', 'c'])
      expect(await interfaces(world, 'c')).toEqual(before)
      expect(await defaultRoute(world, 'c')).toBe('10.62.0.1')
    }),
  )

  test(
    'takes address, MAC, interface name, aliases and gateway priority for each network',
    inWorld(async world => {
      await makeNetworks(world)
      const settings =
        'name=b,ip=10.62.0.9,ip6=fd00:62::9,mac-address=02:42:00:00:00:09,alias=db,interface=lan0,gw-priority=5'
      await world.ok(['run', '-d', '--name', 'c', '--network', 'a:ip=10.61.0.7', '--network', settings, ...sleeper])

      expect(await interfaces(world, 'c')).toEqual(['eth0 10.61.0.7/24', 'lan0 10.62.0.9/24'])
      expect(await ip(world, 'c', 'link', 'show', 'lan0')).toContain('02:42:00:00:00:09')
      expect(await ip(world, 'c', '-6', 'address')).toContain('fd00:62::9/64')
      expect(await defaultRoute(world, 'c')).toBe('10.62.0.1')
      const [{ NetworkSettings }] = await world.json(['inspect', 'c'])
      expect(NetworkSettings.Networks.b).toMatchObject({
        IPAddress: '10.62.0.9',
        IPPrefixLen: 24,
        GlobalIPv6Address: 'fd00:62::9',
        MacAddress: '02:42:00:00:00:09',
        Aliases: ['db'],
        Gateway: '10.62.0.1',
      })
      expect(NetworkSettings.Networks.b.DNSNames).toEqual(expect.arrayContaining(['c', 'db']))
      expect(NetworkSettings.Networks.a.Gateway).toBe('10.61.0.1')
    }),
  )

  test.each([
    [
      'an interface name twice',
      ['--network', 'name=a,interface=x0', '--network', 'name=b,interface=x0'],
      /two interfaces the name "x0"/,
    ],
    ['an impossible interface name', ['--network', 'name=a,interface=a/b'], /cannot call an interface "a\/b"/],
    ['an alias that is no name', ['--network', 'name=a,alias=not a name'], /it is no host name/],
    ['a MAC address of a group', ['--network', 'name=a,mac=01:00:00:00:00:01'], /01:00:00:00:00:01.*means a group/],
    ['no MAC address', ['--network', 'a', '--mac-address', '00:00:00:00:00:00'], /zero is none/],
    [
      'an option that no driver knows',
      ['--network', 'name=a,driver-opt=speed=9'],
      /cannot join network "a": its driver "bridge" knows no driver-opt "speed"\n {2}hint: .*sysctls/,
    ],
    [
      'a sysctl of another interface',
      ['--network', 'name=a,driver-opt=sysctls=net.ipv4.conf.all.arp_ignore=1'],
      /cannot set/,
    ],
    [
      'a sysctl of the host',
      ['--network', 'name=a,driver-opt=sysctls=net.ipv4.conf.IFNAME.../../ip_forward=1'],
      /cannot set/,
    ],
    [
      'a sysctl that the kernel has not',
      ['--network', 'name=a,driver-opt=sysctls=net.ipv4.conf.IFNAME.no_such=1'],
      /cannot connect ".*" to network "a": cannot set net\.ipv4\.conf\.eth0\.no_such to "1"/,
    ],
    [
      'an option where there is no interface',
      ['--network', 'name=host,driver-opt=sysctls=x'],
      /--network host gives no/,
    ],
    ['a network twice', ['--network', 'a', '--network', 'a'], /cannot join network "a" twice/],
    ['an address of another subnet', ['--network', 'a', '--ip', '10.99.0.1'], /it is not in 10\.61\.0\.0\/24/],
    ['host beside another', ['--network', 'a', '--network', 'host'], /together with other networks/],
    ['a namespace that is none', ['--network', 'ns:/etc/passwd'], /\/etc\/passwd is no namespace/],
  ])('refuses %s, and leaves nothing', (_, flags, message) =>
    inWorld(async world => {
      await makeNetworks(world)
      const result = await world.tsrun(['run', '--rm', ...flags, ...sleeper])
      expectError(result, 125, message as RegExp)
    })(),
  )

  test(
    'driver-opt: sysctls of the interface, and its name in docker’s way, at run, at restart and live',
    inWorld(async world => {
      await makeNetworks(world)
      const docker = 'com.docker.network.endpoint'
      const sysctls = 'net.ipv4.conf.IFNAME.arp_ignore=2,net.ipv6.neigh.IFNAME.gc_stale_time=77'
      const network = `name=b,"driver-opt=${docker}.sysctls=${sysctls}",driver-opt=${docker}.ifname=lan7`
      await world.ok(['run', '-d', '--name', 'c', '--network', 'a', '--network', network, ...sleeper])
      const read = (path: string) => world.ok(['exec', 'c', 'cat', `/proc/sys/net/${path}`])
      const all = () =>
        Promise.all(
          ['ipv4/conf/lan7/arp_ignore', 'ipv6/neigh/lan7/gc_stale_time', 'ipv4/conf/eth0/arp_ignore'].map(read),
        )

      expect(await all()).toEqual(['2', '77', '0'])
      await world.ok(['restart', '-t', '0', 'c'])
      expect(await all()).toEqual(['2', '77', '0'])
      await world.ok(['network', 'disconnect', 'a', 'c'])
      await world.ok(['network', 'connect', '--driver-opt', 'sysctls=net.ipv4.conf.IFNAME.arp_ignore=1', 'a', 'c'])
      expect(await all()).toEqual(['2', '77', '1'])
      const plan = await world.tsrun(['run', '--rm', '--dry-run', '--network', network, ...sleeper])
      expect(plan.stderr).toMatch(/sysctl -w net\.ipv4\.conf\.lan7\.arp_ignore=2/)
    }),
  )

  test(
    'driver-opt that nobody knows is refused where it is given: at create, live, and for a container that is stopped',
    inWorld(async world => {
      await makeNetworks(world)
      await world.ok('network create --driver ptp --subnet 10.63.0.0/24 p'.split(' '))
      await world.ok(['create', '--name', 'stopped', '--network', 'b', ...sleeper])
      const before = await world.settled()
      const strange = /cannot join network "(a|p)": its driver "(bridge|ptp)" knows no driver-opt "speed"/
      for (const network of ['a', 'p'])
        expectError(
          await world.tsrun(['create', '--name', 'c', '--network', `name=${network},driver-opt=speed=9`, ...sleeper]),
          1,
          strange,
        )
      expect(await world.changesSince(before)).toEqual([])

      const connect = async (name: string) => {
        for (const network of ['a', 'p'])
          expectError(await world.tsrun(['network', 'connect', '--driver-opt', 'speed=9', network, name]), 1, strange)
        const [{ NetworkSettings }] = await world.json(['inspect', name])
        expect(Object.keys(NetworkSettings.Networks)).toEqual(['b'])
      }
      await connect('stopped')
      await world.ok(['run', '-d', '--name', 'live', '--network', 'b', ...sleeper])
      await connect('live')
      // A network that comes later: the start finds it.
      await world.ok(['create', '--name', 'early', '--network', 'name=later,driver-opt=speed=9', ...sleeper])
      await world.ok(['network', 'create', 'later'])
      expectError(await world.tsrun(['start', 'early']), 1, /its driver "bridge" knows no driver-opt "speed"/)
    }),
  )

  test(
    'a MAC address that another container of the network has is refused',
    inWorld(async world => {
      await makeNetworks(world)
      const mac = '02:00:00:00:00:07'
      await world.ok(['run', '-d', '--name', 'first', '--network', `name=a,mac=${mac}`, ...sleeper])
      await world.ok(['run', '-d', '--name', 'second', '--network', `name=b,mac=${mac}`, ...sleeper])

      const third = await world.tsrun(['run', '--rm', '--network', `name=a,mac=${mac}`, ...sleeper])
      expectError(third, 125, /02:00:00:00:00:07 for ".*": "first" has it on network "a"/)
      await world.ok(['restart', '-t', '0', 'first'])
      await world.ok(['rm', '-f', 'first'])
      await world.ok(['run', '--rm', '--network', `name=a,mac=${mac}`, 'busybox', 'true'])
    }),
  )

  test(
    'ns:PATH joins a namespace that somebody else made',
    inWorld(async world => {
      await world.host.sh(
        'ip netns add blue && ip -n blue link set lo up && ip -n blue address add 10.77.7.7/32 dev lo',
      )
      try {
        expect(
          await world.ok(['run', '--rm', '--network', 'ns:/run/netns/blue', 'busybox', 'ip', 'address']),
        ).toContain('10.77.7.7')
      } finally {
        await world.host.sh('ip netns del blue')
      }
    }),
  )
})

describe('a static address', () => {
  test(
    'stays with a container that is stopped, and is free once it is removed',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.63.0.0/29', 'small'])
      await world.ok(['create', '--name', 'owner', '--network', 'small', '--ip', '10.63.0.2', ...sleeper])
      const others = ['x1', 'x2', 'x3', 'x4']
      for (const name of others) await world.ok(['run', '-d', '--name', name, '--network', 'small', ...sleeper])
      const given = await Promise.all(others.map(name => world.addressOf(name)))
      expect(given.sort()).toEqual(['10.63.0.3', '10.63.0.4', '10.63.0.5', '10.63.0.6'])
      const taken = await world.tsrun(['run', '--rm', '--network', 'small', '--ip', '10.63.0.2', ...sleeper])
      expectError(taken, 125, /10\.63\.0\.2.*held by "owner"/)
      expectError(
        await world.tsrun(['run', '--rm', '--network', 'small', ...sleeper]),
        125,
        /cannot give out an address/,
      )

      await world.ok(['start', 'owner'])
      expect(await world.addressOf('owner')).toBe('10.63.0.2')
      await world.ok(['stop', '-t', '0', 'owner'])
      await world.ok(['system', 'prune', '-f']).catch(() => {})
      await world.tsrun(['rm', 'owner'])
      await world.ok(['run', '-d', '--name', 'heir', '--network', 'small', '--ip', '10.63.0.2', ...sleeper])
      expect(await world.addressOf('heir')).toBe('10.63.0.2')
    }),
  )
})

describe('network connect and disconnect', () => {
  test(
    'join a running container at once, by packets, and take it out again',
    inWorld(async world => {
      await makeNetworks(world)
      await world.serve('web', ['--network', 'a'])
      await world.ok(['run', '-d', '--name', 'peer', '--network', 'b', ...sleeper])
      await world.ok(['network', 'connect', '--ip', '10.62.0.9', '--ip6', 'fd00:62::9', '--alias', 'www', 'b', 'web'])

      expect(await world.ok(['exec', 'peer', 'wget', '-qO-', 'http://10.62.0.9/'])).toMatch(/^web sees 10\.62\.0\./)
      await world.ok(['exec', 'peer', 'ping', '-c1', '-W5', 'fd00:62::9'])
      expect(await world.ok(['exec', 'web', 'cat', '/etc/hosts'])).toContain('10.62.0.9')
      const [{ Containers }] = await world.json(['network', 'inspect', 'b'])
      expect(Object.values(Containers)).toContainEqual(
        expect.objectContaining({ Name: 'web', IPv4Address: '10.62.0.9/24' }),
      )
      const again = await world.tsrun(['network', 'connect', 'b', 'web'])
      expectError(again, 1, /it is on it already/)

      await world.ok(['network', 'disconnect', 'b', 'web'])
      expect(await interfaces(world, 'web')).toHaveLength(1)
      expect(await world.ok(['exec', 'web', 'cat', '/etc/hosts'])).not.toContain('10.62.0.9')
      expect((await world.tsrun(['exec', 'peer', 'ping', '-c1', '-W1', '10.62.0.9'])).code).not.toBe(0)
      expectError(await world.tsrun(['network', 'disconnect', 'b', 'web']), 1, /it is not on it/)
      await world.ok(['network', 'disconnect', '-f', 'b', 'web'])
      // Given back: somebody else may have it now.
      await world.ok(['run', '--rm', '--network', 'b', '--ip', '10.62.0.9', 'busybox', 'true'])
    }),
  )

  test(
    'move the way out and the published ports with the first network',
    inWorld(async world => {
      await makeNetworks(world)
      await world.serve('web', ['--network', 'a', '-p', '8080:80'])
      await world.ok(['network', 'connect', 'b', 'web'])
      expect(await defaultRoute(world, 'web')).toBe('10.61.0.1')
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees/)

      await world.ok(['network', 'disconnect', 'a', 'web'])
      expect(await defaultRoute(world, 'web')).toBe('10.62.0.1')
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees 198\.51\.100\.1\n/)
      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)

      await world.ok(['network', 'connect', '--gw-priority', '1', 'a', 'web'])
      expect(await defaultRoute(world, 'web')).toBe('10.61.0.1')
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees 198\.51\.100\.1\n/)
      const before = await interfaces(world, 'web')
      await world.ok(['restart', '-t', '0', 'web'])
      expect((await interfaces(world, 'web')).sort()).toEqual(before.sort())
      expect(await defaultRoute(world, 'web')).toBe('10.61.0.1')
    }),
  )

  test(
    'change the record of one that is stopped, for its next start',
    inWorld(async world => {
      await makeNetworks(world)
      await world.ok(['create', '--name', 'c', '--network', 'a', ...sleeper])
      await world.ok(['network', 'connect', '--ip', '10.62.0.20', 'b', 'c'])
      await world.ok(['network', 'disconnect', 'a', 'c'])
      const taken = await world.tsrun(['run', '--rm', '--network', 'b', '--ip', '10.62.0.20', 'busybox', 'true'])
      expectError(taken, 125, /held by "c"/)

      await world.ok(['start', 'c'])
      expect(await interfaces(world, 'c')).toEqual(['eth0 10.62.0.20/24'])
      await world.ok(['network', 'disconnect', 'b', 'c'])
      expect(await interfaces(world, 'c')).toEqual([])
      await world.ok(['network', 'connect', 'a', 'c'])
      expect(await defaultRoute(world, 'c')).toBe('10.61.0.1')
    }),
  )

  test(
    'refuse what cannot be joined',
    inWorld(async world => {
      await makeNetworks(world)
      await world.ok(['run', '-d', '--name', 'h', '--network', 'host', ...sleeper])
      const connect = (...words: string[]) => world.tsrun(['network', 'connect', ...words])
      expectError(await connect('a', 'h'), 1, /created with --network host/)
      expectError(await connect('nowhere', 'h'), 1, /no such network/)
      expectError(await connect('a', 'nobody'), 1, /no such container/)
      expectError(await connect('--ip', 'x', 'a', 'h'), 1, /no IP address/)
    }),
  )
})
