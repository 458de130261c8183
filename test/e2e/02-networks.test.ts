// network create, list, inspect, remove, prune.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, World } from '../helpers/world.ts'

const id = /^[0-9a-f]{64}$/

describe('network create', () => {
  test(
    'prints the id, and makes a bridge with the gateway address',
    inWorld(async world => {
      const created = await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])

      expect(created).toMatch(id)
      const [network] = await world.json(['network', 'inspect', 'br'])
      expect(network).toMatchObject({
        Name: 'br',
        Id: created,
        Driver: 'bridge',
        Internal: false,
        IPAM: { Config: [{ Subnet: '192.168.0.0/24', Gateway: '192.168.0.1' }] },
        Containers: {},
      })
      await world.ok(['run', '-net', 'br', 'busybox', 'true'])
      const bridges = await world.host.ipJson('address', 'show', 'type', 'bridge')
      expect(bridges).toHaveLength(1)
      expect(bridges[0].addr_info).toContainEqual(
        expect.objectContaining({ family: 'inet', local: '192.168.0.1', prefixlen: 24 }),
      )
    }),
  )

  test(
    'takes driver, gateway, range, internal, labels and options',
    inWorld(async world => {
      await world.ok(
        'network create --driver bridge --subnet 10.20.0.0/16 --gateway 10.20.0.254 --ip-range 10.20.7.0/24 --internal --label tier=back --label x= -o mtu=1400 back'.split(
          ' ',
        ),
      )

      const [network] = await world.json(['network', 'inspect', 'back'])
      expect(network).toMatchObject({
        Internal: true,
        Labels: { tier: 'back', x: '' },
        IPAM: { Config: [{ Subnet: '10.20.0.0/16', Gateway: '10.20.0.254', IPRange: '10.20.7.0/24' }] },
      })
      const address = await world.ok([
        'run',
        '--rm',
        '-net',
        'back',
        'busybox',
        'ip',
        '-o',
        '-4',
        'addr',
        'show',
        'eth0',
      ])
      expect(address).toMatch(/10\.20\.7\.\d+\/16/)
      const link = await world.ok(['run', '--rm', '-net', 'back', 'busybox', 'ip', 'link', 'show', 'eth0'])
      expect(link).toContain('mtu 1400')
    }),
  )

  test(
    'chooses a subnet that overlaps neither another network nor a route of the host',
    inWorld(async world => {
      await world.host.sh(
        `ip route add 172.16.0.0/12 via ${addresses.router}; ip route add 10.0.0.0/9 via ${addresses.router}`,
      )

      const subnets: string[] = []
      for (const name of ['a', 'b', 'c']) {
        await world.ok(['network', 'create', name])
        const [network] = await world.json(['network', 'inspect', name])
        subnets.push(network.IPAM.Config[0].Subnet)
      }

      expect(new Set(subnets).size).toBe(3)
      await world.host.sh('ip route del 172.16.0.0/12; ip route del 10.0.0.0/9')
      for (const subnet of subnets)
        expect(subnet).not.toMatch(/^(172\.(1[6-9]|2\d|3[01])\.|10\.([0-9]|[1-9]\d|1[01]\d|12[0-7])\.)/)
    }),
  )

  test(
    'chooses no subnet of a VPN, whose routes are in a table of its own, nor one with an address of the host',
    inWorld(async world => {
      await world.host.sh(`ip route add 10.210.0.0/24 via ${addresses.router} table 52; ip rule add pref 5270 lookup 52
        ip address add 10.210.1.7/32 dev lo`)

      await world.ok(['network', 'create', 'free'])
      const vpn = await world.tsrun(['network', 'create', '--subnet', '10.210.0.0/25', 'vpn'])
      const own = await world.tsrun(['network', 'create', '--subnet', '10.210.1.0/24', 'own'])

      expect((await world.json(['network', 'inspect', 'free']))[0].IPAM.Config[0].Subnet).toBe('10.210.2.0/24')
      expectError(vpn, 1, /overlaps the host route 10\.210\.0\.0\/24 dev eth0 table 52/)
      expectError(own, 1, /overlaps the host address 10\.210\.1\.7\/32 dev lo/)
      await world.host.sh('ip rule del pref 5270; ip route flush table 52; ip address del 10.210.1.7/32 dev lo')
    }),
  )

  test(
    'an internal network has no way out and no way in',
    inWorld(async world => {
      await world.ok(['network', 'create', '--internal', '--subnet', '10.30.0.0/24', 'inside'])
      await world.serve('a', ['-net', 'inside'])
      await world.serve('b', ['-net', 'inside'])
      const from = (name: string, address: string) =>
        world.tsrun(['exec', name, 'timeout', '1', 'wget', '-q', '-O', '-', `http://${address}/`])

      expect((await from('a', await world.addressOf('b'))).stdout).toMatch(/^b sees/)
      expect((await world.tsrun(['exec', 'a', 'ping', '-c', '2', '-A', '-W', '1', addresses.server])).code).not.toBe(0)
      await world.outside.sh(`ip route add 10.30.0.0/24 via ${addresses.host}`)
      expect((await world.outside.curl(`http://${await world.addressOf('a')}/`)).status).toBe(0)
    }),
  )
})

describe('network create refuses, and changes nothing', () => {
  let world: World

  beforeAll(async () => {
    world = await World.create()
    await world.ok(['network', 'create', '--subnet', '10.50.0.0/24', 'taken'])
    await world.host.sh(`ip link add foreign type bridge; ip address add 10.60.0.1/24 dev foreign; ip link set foreign up
      ip route add 10.70.0.0/16 via ${addresses.router}`)
  })
  afterAll(async () => {
    await world.host.sh('ip link del foreign; ip route del 10.70.0.0/16')
    await world.dispose()
  })

  const refused: [string, string[], RegExp][] = [
    ['no name', [], /name|argument/i],
    ['a name that is taken', ['--subnet', '10.51.0.0/24', 'taken'], /"taken".*(exists|taken|network of that name)/],
    ['an impossible name', ['--subnet', '10.51.0.0/24', 'a/b'], /"a\/b"/],
    ['a name that starts with a dash', ['--subnet', '10.51.0.0/24', '--', '-x'], /"-x"/],
    ['an empty name', ['--subnet', '10.51.0.0/24', ''], /name/],
    ['a name of predefined meaning', ['host'], /"host"/],
    ['a name of predefined meaning', ['none'], /"none"/],
    ['nonsense for a subnet', ['--subnet', 'nonsense', 'n'], /nonsense/],
    ['a subnet without its length', ['--subnet', '10.51.0.0', 'n'], /10\.51\.0\.0/],
    ['a subnet with a length that is none', ['--subnet', '10.51.0.0/33', 'n'], /10\.51\.0\.0\/33/],
    ['an octet over 255', ['--subnet', '10.256.0.0/24', 'n'], /10\.256\.0\.0\/24/],
    ['a subnet without room for a container', ['--subnet', '10.51.0.0/32', 'n'], /room/],
    ['a subnet with host bits', ['--subnet', '10.51.0.7/24', 'n'], /10\.51\.0\.[07]/],
    ['the loopback range', ['--subnet', '127.0.0.0/8', 'n'], /127\.0\.0\.0\/8/],
    ['a multicast range', ['--subnet', '224.0.0.0/24', 'n'], /multicast/],
    ['the subnet of another network', ['--subnet', '10.50.0.0/24', 'n'], /overlaps.*taken/],
    ['a subnet inside that of another network', ['--subnet', '10.50.0.128/25', 'n'], /overlaps.*taken/],
    ['a subnet around that of another network', ['--subnet', '10.0.0.0/8', 'n'], /overlaps/],
    ['the subnet of a link of the host', ['--subnet', '198.51.100.0/25', 'n'], /overlaps.*198\.51\.100\.0\/24/],
    ['the subnet of a route of the host', ['--subnet', '10.70.5.0/24', 'n'], /overlaps.*10\.70\.0\.0\/16/],
    ['a gateway outside the subnet', ['--subnet', '10.51.0.0/24', '--gateway', '10.52.0.1', 'n'], /10\.52\.0\.1/],
    ['the network address as gateway', ['--subnet', '10.51.0.0/24', '--gateway', '10.51.0.0', 'n'], /10\.51\.0\.0/],
    [
      'the broadcast address as gateway',
      ['--subnet', '10.51.0.0/24', '--gateway', '10.51.0.255', 'n'],
      /10\.51\.0\.255/,
    ],
    ['a gateway that is no address', ['--subnet', '10.51.0.0/24', '--gateway', 'x', 'n'], /"x"/],
    ['a range outside the subnet', ['--subnet', '10.51.0.0/24', '--ip-range', '10.52.0.0/25', 'n'], /10\.52\.0\.0\/25/],
    ['an unknown driver', ['--driver', 'teleport', 'n'], /teleport/],
    ['an unknown option', ['-o', 'colour=red', 'n'], /colour/],
    ['an impossible mtu', ['-o', 'mtu=12', 'n'], /mtu.*12|12.*mtu/i],
    ['an unknown flag', ['--nonsense', 'n'], /--nonsense/],
    ['two names', ['n', 'm'], /m|argument/],
  ]
  test.each(refused)('%s: %j', async (_, args, message) => {
    const before = await world.settled()

    const result = await world.tsrun(['network', 'create', ...args])

    // A command line that cannot be read is another kind of error than one that cannot be done, as with docker.
    expectError(result, args[0] === '--nonsense' ? 125 : 1, message)
    expect(await world.changesSince(before, { timeoutMs: 500 })).toEqual([])
  })

  test(
    'a bridge name that belongs to somebody else',
    inWorld(async world => {
      await world.host.sh('ip link add br0 type bridge; ip address add 10.61.0.1/24 dev br0')
      const before = await world.settled()

      const results = [
        await world.tsrun([
          'network',
          'create',
          '--subnet',
          '10.51.0.0/24',
          '-o',
          'com.docker.network.bridge.name=br0',
          'n',
        ]),
        await world.tsrun([
          'network',
          'create',
          '--subnet',
          '10.51.0.0/24',
          '-o',
          'com.docker.network.bridge.name=eth0',
          'm',
        ]),
      ]

      for (const result of results) expectError(result, 1, /(br0|eth0).*(exists|not ours|belongs|in use)/)
      expect(await world.changesSince(before, { timeoutMs: 500 })).toEqual([])
      await world.host.sh('ip link del br0')
    }),
  )

  test(
    'a network called like an interface that belongs to somebody else',
    inWorld(async world => {
      const before = await world.settled()

      const result = await world.tsrun(['network', 'create', '--subnet', '10.51.0.0/24', 'eth0'])

      expectError(result, 1, /eth0/)
      expect(await world.changesSince(before, { timeoutMs: 500 })).toEqual([])
      expect(await world.host.ping(addresses.router)).toBe(true)
    }),
  )
})

describe('network list', () => {
  let world: World
  let created: string

  beforeAll(async () => {
    world = await World.create()
    created = await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
  })
  afterAll(() => world.dispose())

  test.each(['list', 'ls'])('%s shows id, name, driver, scope and subnet', async command => {
    const lines = (await world.ok(['network', command])).split('\n')

    expect(lines[0]).toMatch(/^NETWORK ID +NAME +DRIVER +SCOPE +SUBNET *$/)
    expect(lines.slice(1)).toContainEqual(
      expect.stringMatching(new RegExp(`^${created.slice(0, 12)} +br +bridge +local +192\\.168\\.0\\.0/24 *$`)),
    )
  })

  test('-q shows ids', async () => {
    expect((await world.ok(['network', 'ls', '-q'])).split('\n')).toContain(created.slice(0, 12))
    expect((await world.ok(['network', 'ls', '-q', '--no-trunc'])).split('\n')).toContain(created)
  })

  test('--format takes a template and json', async () => {
    const names = await world.ok(['network', 'ls', '--format', '{{.Name}} {{.Driver}}'])
    const json = (await world.ok(['network', 'ls', '--format', 'json'])).split('\n').map(line => JSON.parse(line))

    expect(names.split('\n')).toContain('br bridge')
    expect(json).toContainEqual(expect.objectContaining({ Name: 'br', Driver: 'bridge' }))
  })

  test('--filter name chooses', async () => {
    expect(await world.ok(['network', 'ls', '--filter', 'name=nobody', '-q'])).toBe('')
    expect(await world.ok(['network', 'ls', '--filter', 'name=br', '--format', '{{.Name}}'])).toContain('br')
  })
})

describe('network inspect', () => {
  test(
    'shows the containers of the network, found by name, id and short id',
    inWorld(async world => {
      const network = await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
      const container = await world.serve('web', ['-net', 'br'])

      for (const reference of ['br', network, network.slice(0, 12)]) {
        const [found] = await world.json(['network', 'inspect', reference])
        expect(found.Containers[container]).toMatchObject({ Name: 'web', IPv4Address: '192.168.0.2/24' })
      }
    }),
  )

  test(
    'says which networks are unknown, after showing the others',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])

      const { stdout, stderr, code } = await world.tsrun(['network', 'inspect', 'br', 'nobody'])

      expect(code).toBe(1)
      expect(JSON.parse(stdout)).toHaveLength(1)
      expect(stderr).toMatch(/tsrun: .*"nobody"/)
    }),
  )
})

describe('network remove', () => {
  test.each(['rm', 'remove'])('%s removes networks by name and id, and prints what it removed', command =>
    inWorld(async world => {
      const before = await world.settled()
      await world.ok(['network', 'create', 'a'])
      const b = await world.ok(['network', 'create', 'b'])

      const removed = await world.ok(['network', command, 'a', b.slice(0, 12)])

      expect(removed.split('\n')).toEqual(['a', b.slice(0, 12)])
      expect((await world.changesSince(before)).filter(change => !change.startsWith('file appeared'))).toEqual([])
    })(),
  )

  test(
    'refuses a network that is in use, and names who uses it',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.serve('web', ['-net', 'br'])
      const before = await world.settled()

      const result = await world.tsrun(['network', 'rm', 'br'])

      expectError(result, 1, /"br".*"?web"?/)
      expect(await world.changesSince(before, { timeoutMs: 500 })).toEqual([])
    }),
  )

  test(
    'refuses an unknown network',
    inWorld(async world => {
      expectError(
        await world.tsrun(['network', 'rm', 'nobody']),
        1,
        /"nobody".*(no such|not found|unknown)|no such.*"nobody"/,
      )
    }),
  )

  test(
    'removes what it can when one of several is unknown',
    inWorld(async world => {
      await world.ok(['network', 'create', 'a'])

      const { stdout, code } = await world.tsrun(['network', 'rm', 'nobody', 'a'])

      expect(code).toBe(1)
      expect(stdout).toBe('a\n')
    }),
  )

  test(
    'works when the bridge is gone already',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
      for (const { ifname } of await world.host.ipJson('link', 'show', 'type', 'bridge')) {
        await world.host.exec('ip', ['link', 'del', 'dev', ifname])
      }
      await world.host.exec('nft', ['flush', 'ruleset'])

      expect(await world.ok(['network', 'rm', 'br'])).toBe('br')
    }),
  )
})

describe('network prune', () => {
  test(
    'removes the networks that nobody uses',
    inWorld(async world => {
      await world.ok(['network', 'create', 'used'])
      await world.ok(['network', 'create', 'unused'])
      await world.serve('web', ['-net', 'used'])

      const { stdout, code } = await world.tsrun(['network', 'prune', '-f'])

      expect(code).toBe(0)
      expect(stdout).toContain('unused')
      const names = (await world.ok(['network', 'ls', '--format', '{{.Name}}'])).split('\n')
      expect(names).toContain('used')
      expect(names).not.toContain('unused')
    }),
  )
})

describe('the default network', () => {
  test(
    'is made by the first container that asks for none',
    inWorld(async world => {
      const address = await world.ok(['run', '--rm', 'busybox', 'ip', '-o', '-4', 'addr', 'show', 'eth0'])

      expect(address).toMatch(/inet \d+\.\d+\.\d+\.\d+\//)
      expect(await world.ok(['network', 'ls', '--format', '{{.Driver}}'])).toContain('bridge')
    }),
  )

  test(
    'reaches the outside',
    inWorld(async world => {
      const { code } = await world.tsrun([
        'run',
        '--rm',
        'busybox',
        'ping',
        '-c',
        '3',
        '-A',
        '-W',
        '1',
        addresses.server,
      ])

      expect(code).toBe(0)
    }),
  )
})

describe('a network comes back', () => {
  test(
    'when its bridge and the rules are gone, as after a reboot',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
      await world.ok(['run', '--rm', '-net', 'br', '-p', '8080:80', 'busybox', 'true'])
      for (const { ifname } of await world.host.ipJson('link', 'show', 'type', 'bridge')) {
        await world.host.exec('ip', ['link', 'del', 'dev', ifname])
      }
      await world.host.sh(`nft flush ruleset; rm -rf ${world.state}; echo 0 > /proc/sys/net/ipv4/ip_forward`)

      await world.serve('web', ['-net', 'br', '-p', '8080:80'])

      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees/)
      expect((await world.host.curl('http://127.0.0.1:8080/')).body).toMatch(/^web sees/)
    }),
  )

  test(
    'when somebody flushed the rules while a container runs: the next container heals the network',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.serve('web', ['-net', 'br', '-p', '8080:80'])
      await world.host.exec('nft', ['flush', 'ruleset'])

      await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])

      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees/)
    }),
  )
})

test(
  'two engines side by side know nothing of each other',
  inWorld(async world => {
    const other = ['--root', `${world.dir}/root2`, '--state', `${world.dir}/state2`]
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    await world.ok([...other, 'network', 'create', '--subnet', '10.52.0.0/24', 'br'])
    await world.serve('web', ['-net', 'br', '-p', '8081:80'])
    await world.ok([...other, 'run', '-d', '--name', 'web', '-net', 'br', '-p', '8082:80', 'busybox', 'sleep', '1000'])

    expect(await world.ok([...other, 'ps', '-q'])).not.toBe(await world.ok(['ps', '-q']))
    await world.ok([...other, 'rm', '-f', 'web'])
    await world.ok([...other, 'network', 'rm', 'br'])

    expect((await world.outside.curl(`http://${addresses.host}:8081/`)).body).toMatch(/^web sees/)
    await world.ok(['rm', '-f', 'web'])
    await world.tsrun([...other, 'network', 'prune', '-f'])
  }),
)
