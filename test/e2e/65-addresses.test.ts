// IPAM beyond one subnet: ranges of the host's own, reserved addresses, several subnets, none, and how full they are.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { inWorld, type World } from '../helpers/world.ts'

const inspect = async (world: World, network: string) => (await world.json(['network', 'inspect', network]))[0]
const subnetOf = async (world: World, network: string) => (await inspect(world, network)).IPAM.Config[0].Subnet
const shown = (world: World, container: string) => world.ok(['exec', container, 'ip', '-o', 'address', 'show', 'eth0'])

test(
  'networks.json says where subnets come from that nobody chose, and a wrong one is refused by name',
  inWorld(async world => {
    const file = join(world.dir, 'networks.json')
    const env = { ...world.env, TSRUN_NETWORKS: file }
    const write = (pools: unknown) => writeFileSync(file, JSON.stringify({ 'default-address-pools': pools }))
    const create = (...args: string[]) => world.tsrun(['network', 'create', ...args], { env })
    write([
      { base: '10.77.0.0/23', size: 24 },
      { base: '172.30.8.0/28', size: 29 },
      { base: 'fd77::/62', size: 64 },
    ])
    for (const name of ['a', 'b', 'c', 'd']) expect((await create(name)).stderr).toBe('')
    const subnets = await Promise.all(['a', 'b', 'c', 'd'].map(name => subnetOf(world, name)))
    expect(subnets).toEqual(['10.77.0.0/24', '10.77.1.0/24', '172.30.8.0/29', '172.30.8.8/29'])
    expectError(await create('e'), 1, /nothing is free in 10\.77\.0\.0\/23, 172\.30\.8\.0\/28.*\n.*networks\.json/)
    expect((await create('--ipv6', '--ipv4=false', 'six')).stderr).toBe('')
    expect(await subnetOf(world, 'six')).toBe('fd77::/64')

    for (const [pools, why] of [
      [[{ base: '10.77.0.1/24', size: 24 }], /did you mean 10\.77\.0\.0\/24/],
      [[{ base: '10.77.0.0/24', size: 16 }], /prefix length from 24 to 30/],
      [[{ base: 7, size: 16 }], /base 7 is not in CIDR form/],
      [
        [
          { base: '10.0.0.0/8', size: 24 },
          { base: '10.77.0.0/24', size: 24 },
        ],
        /overlap/,
      ],
      [[{ base: '10.0.0.0/8', length: 24 }], /no key "length"/],
      ['10.0.0.0/8', /not a list/],
    ] as const) {
      write(pools)
      expectError(await create('wrong'), 1, why)
    }
  }),
)

test(
  'reserved addresses are never given out, nor by --ip, which says what they are',
  inWorld(async world => {
    await world.ok(
      'network create --subnet 10.51.0.0/28 --ip-range 10.51.0.0/29 --aux-address router=10.51.0.2 --aux-address nas=10.51.0.4 br'.split(
        ' ',
      ),
    )
    const given: string[] = []
    for (let n = 0; n < 4; n++) {
      await world.ok(['run', '-d', '--name', `c${n}`, '-net', 'br', 'busybox', 'sleep', '1000'])
      given.push(await world.addressOf(`c${n}`))
    }
    // Of .0 to .7 without network, gateway and the two.
    expect(given).toEqual(['10.51.0.3', '10.51.0.5', '10.51.0.6', '10.51.0.7'])
    expectError(await world.tsrun(['run', '-net', 'br', 'busybox', 'true']), 125, /all \d+ are taken/)
    const asked = await world.tsrun('run -net br --ip 10.51.0.4 busybox true'.split(' '))
    expectError(asked, 125, /10\.51\.0\.4: it is held by "nas" \(--aux-address\) of network "br"/)
    await world.ok('run --rm -net br --ip 10.51.0.9 busybox true'.split(' '))
    const { IPAM, Status } = await inspect(world, 'br')
    expect(IPAM.Config[0].AuxiliaryAddresses).toEqual({ router: '10.51.0.2', nas: '10.51.0.4' })
    // Four containers, two reserved, gateway, network, broadcast.
    expect(Status.IPAM.Subnets).toEqual({ '10.51.0.0/28': { IPsInUse: 9, DynamicIPsAvailable: 0 } })

    const create = (...flags: string[]) => world.tsrun(['network', 'create', '--subnet', '10.52.0.0/24', ...flags, 'x'])
    expectError(await create('--aux-address', 'r=10.53.0.1'), 1, /"r=10\.53\.0\.1": no --subnet has it/)
    expectError(await create('--aux-address', 'r=10.52.0.1'), 1, /10\.52\.0\.1: it is the gateway/)
    expectError(await create('--aux-address', 'nonsense'), 1, /"nonsense=": no --subnet has it/)
    expect((await create('--aux-address', 'a=10.52.0.9', '--aux-address', 'b=10.52.0.9')).stderr).toBe('')
  }),
)

test(
  'a network of several subnets gives an address of each, and --ip the one of its subnet',
  inWorld(async world => {
    await world.ok('network create --subnet 10.51.0.0/24 --subnet 10.61.0.0/24 --subnet fd00:61::/64 br'.split(' '))
    await world.serve('a', ['-net', 'br'])
    await world.serve('b', ['-net', 'br', '--ip', '10.61.0.77'])
    const of = await shown(world, 'b')
    for (const address of ['10.51.0.3/24', '10.61.0.77/24', 'fd00:61::3/64']) expect(of).toContain(` ${address} `)
    for (const address of ['10.51.0.2', '10.61.0.2', '[fd00:61::2]'])
      expect(await world.ok(['exec', 'b', 'timeout', '5', 'wget', '-qO-', `http://${address}/`])).toMatch(/^a sees/)
    const taken = await world.tsrun('run -net br --ip 10.61.0.77 busybox true'.split(' '))
    expectError(taken, 125, /10\.61\.0\.77: it is held by "b"/)
    expectError(await world.tsrun('run -net br --ip 10.71.0.1 busybox true'.split(' ')), 125, /not in 10\.51\.0\.0\/24/)
    await world.ok(['restart', '-t', '0', 'b'])
    expect((await shown(world, 'b')).match(/inet6? \S+/g)).toEqual(of.match(/inet6? \S+/g))
    expect((await inspect(world, 'br')).Status.IPAM.Subnets).toMatchObject({
      '10.51.0.0/24': { IPsInUse: 5, DynamicIPsAvailable: 251 },
      '10.61.0.0/24': { IPsInUse: 5, DynamicIPsAvailable: 251 },
      'fd00:61::/64': { IPsInUse: 4, DynamicIPsAvailable: '18446744073709551612' },
    })
    await world.ok(['rm', '-f', 'a', 'b'])
    expect((await inspect(world, 'br')).Status.IPAM.Subnets['10.61.0.0/24'].IPsInUse).toBe(3)
  }),
)

test(
  '--ipam-driver null: a bridge, and no addresses but those that containers give themselves',
  inWorld(async world => {
    await world.ok('network create --ipam-driver null wire'.split(' '))
    for (const name of ['a', 'b'])
      await world.ok([
        'run',
        '-d',
        '--name',
        name,
        '-net',
        'wire',
        '--cap-add',
        'NET_ADMIN',
        'busybox',
        'sleep',
        '1000',
      ])
    expect(await shown(world, 'a')).not.toContain('inet')
    expect(await world.host.sh('ip -o address show dev wire')).not.toContain('inet')
    await world.ok(['exec', 'a', 'ip', 'address', 'add', '10.9.0.1/24', 'dev', 'eth0'])
    await world.ok(['exec', 'b', 'ip', 'address', 'add', '10.9.0.2/24', 'dev', 'eth0'])
    await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '5', '10.9.0.2'])
    const { IPAM, Status } = await inspect(world, 'wire')
    expect(IPAM).toEqual({ Driver: 'null', Config: [] })
    expect(Status.IPAM.Subnets).toEqual({})

    const refused = await world.tsrun('network create --ipam-driver null --subnet 10.1.0.0/24 x'.split(' '))
    expectError(refused, 1, /an IPAM driver that gives none/)
    expectError(await world.tsrun('network create --ipam-driver infoblox x'.split(' ')), 1, /no IPAM driver "infoblox"/)
  }),
)

test(
  'an address of the choice of the user that the network cannot give is refused, not left out',
  inWorld(async world => {
    await world.ok(['network', 'create', '--ipam-driver', 'null', 'wire'])
    await world.ok(['network', 'create', '--subnet', '10.61.0.0/24', 'four'])
    await world.ok(['run', '-d', '--name', 'box', '-net', 'four', 'busybox', 'sleep', '1000'])
    await world.ok(['create', '--name', 'still', '-net', 'four', 'busybox', 'true'])
    const none = (family: string) => new RegExp(`cannot use address .*: network ".*" has no ${family} addresses`)
    const refusals: [string, number, RegExp][] = [
      ['run --rm -net wire --ip 10.1.1.1 busybox true', 125, none('IPv4')],
      ['run --rm -net four --ip6 fd00:61::1 busybox true', 125, none('IPv6')],
      ['run --rm --ip6 fd00:61::1 busybox true', 125, none('IPv6')],
      ['create -net four --ip6 fd00:61::1 busybox true', 1, none('IPv6')],
      ['run --rm -net none --ip 10.1.1.1 busybox true', 125, /cannot use address 10.1.1.1: --network none gives none/],
      ['run --rm -net host --ip 10.1.1.1 busybox true', 125, /cannot use address 10.1.1.1: --network host gives none/],
      ['run --rm -net container:box --ip 10.1.1.1 busybox true', 125, /--network container:box gives none/],
      ['network connect --ip 10.1.1.1 wire box', 1, none('IPv4')],
      ['network connect --ip 10.1.1.1 wire still', 1, none('IPv4')],
    ]
    for (const [line, code, message] of refusals) expectError(await world.tsrun(line.split(' ')), code, message)

    expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('still\nbox')
    expect(await shown(world, 'box')).not.toContain('eth1')
    await world.ok(['rm', '-f', 'box', 'still'])
  }),
  60_000,
)
