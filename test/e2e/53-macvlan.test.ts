// macvlan: containers on the LAN of a host interface, each with an address of its own. ipvlan and VLANs need kernel modules
// that not every machine has: test/vm runs them on Debian's kernel; here is what tsrun says where they are missing.

import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import type { Snapshot } from '../helpers/snapshot.ts'
import { addresses, inWorld, pageOf, World } from '../helpers/world.ts'

const lan = ['--subnet', '198.51.100.0/24', '--gateway', addresses.router, '--ip-range', '198.51.100.64/28']
const create = (...more: string[]) => ['network', 'create', '-d', 'macvlan', ...lan, '-o', 'parent=eth0', ...more]

/** Links of the host and of the given container, by name. */
async function linksOf(world: World, container: string): Promise<string[]> {
  const shown = await world.ok(['exec', container, 'ip', '-o', 'link'])
  return [...shown.matchAll(/^\d+: ([^:@]+)/gm)].map(match => match[1] ?? '')
}

describe('a macvlan network', () => {
  test(
    'puts containers on the LAN: neighbour, router and each other, but nothing on the host',
    inWorld(async world => {
      await world.ok(create('lan'))
      await world.serve('a', ['-net', 'lan'])
      await world.serve('b', ['-net', 'lan', '--ip', '198.51.100.77'])
      const a = await world.addressOf('a')

      expect(a).toMatch(/^198\.51\.100\.(6[4-9]|7\d)$/)
      expect((await world.neighbour.curl(`http://${a}/`)).body).toBe(pageOf('a', addresses.neighbour))
      expect((await world.outside.curl('http://198.51.100.77/')).body).toBe(pageOf('b', addresses.router))
      const page = await world.ok(['exec', 'a', 'timeout', '2', 'wget', '-q', '-O', '-', 'http://198.51.100.77/'])
      expect(`${page}\n`).toBe(pageOf('b', a))
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server])
      expect((await world.host.ipJson('link')).map(link => link.ifname).sort()).toEqual(['eth0', 'lo'])
      expect(await world.host.nftJson()).toEqual([])
      // The kernel keeps a parent and its macvlans apart.
      expect(await world.host.ping(a)).toBe(false)
    }),
  )

  test(
    'keeps its address, MAC and place through stop, start, restart and kill -9 of the monitor',
    inWorld(async world => {
      await world.ok(create('lan'))
      await world.serve('a', ['-net', 'lan', '--restart', 'no', '--ip', '198.51.100.70'])
      const mac = async () => (await world.ok(['exec', 'a', 'cat', '/sys/class/net/eth0/address'])).trim()
      const before = await mac()
      // The neighbour remembers another MAC for the address: it is told better.
      await world.neighbour.sh('ip neigh replace 198.51.100.70 lladdr 02:00:00:00:00:99 dev eth0 nud stale')

      await world.ok(['restart', '-t', '0', 'a'])
      await world.ok(['restart', '-t', '0', 'a'])

      expect(await mac()).toBe(before)
      await eventually('the neighbour has been told', async () =>
        (await world.neighbour.sh('ip neigh show 198.51.100.70')).includes(before),
      )
      const [{ State, Id }] = await world.json(['inspect', 'a'])
      const monitor = readFileSync(`/proc/${State.Pid}/stat`, 'utf8').match(/\) \S (\d+)/)?.[1]
      process.kill(Number(monitor), 'SIGKILL')
      await eventually('the container is gone', () => !existsSync(`/proc/${State.Pid}`))
      await world.ok(['start', 'a'])
      await eventually(
        'the page is back',
        async () => (await world.neighbour.curl('http://198.51.100.70/')).status === 200,
      )
      expect(Id).toMatch(/^[0-9a-f]{64}$/)
    }),
  )

  test.each(['private', 'vepa'])('-o mode=%s: containers reach the LAN but not each other', mode =>
    inWorld(async world => {
      await world.ok(create('-o', `mode=${mode}`, 'lan'))
      await world.serve('a', ['-net', 'lan'])
      await world.serve('b', ['-net', 'lan'])
      const b = await world.addressOf('b')

      expect((await world.neighbour.curl(`http://${b}/`)).status).toBe(200)
      expect((await world.tsrun(['exec', 'a', 'ping', '-c', '1', '-W', '1', b])).code).not.toBe(0)
      const [{ Kernel }] = await world.json(['network', 'inspect', 'lan'])
      expect(Kernel).toMatchObject({ parent: 'eth0', mode: `macvlan ${mode}`, state: 'up', madeBy: 'host' })
    })(),
  )

  test(
    '-o mode=passthru gives the parent to one container, with the MAC of the parent, and excludes other networks',
    inWorld(async world => {
      await world.host.sh('ip link add spare type veth peer name far; ip link set spare up; ip link set far up')
      const [spare] = await world.host.ipJson('link', 'show', 'dev', 'spare')
      const flags = ['-d', 'macvlan', '-o', 'parent=spare']
      await world.ok(['network', 'create', ...flags, '-o', 'mode=passthru', '--subnet', '10.77.0.0/24', 'one'])
      await world.ok(['run', '-d', '--name', 'a', '-net', 'one', 'busybox', 'sleep', '1000'])

      expect(await world.ok(['exec', 'a', 'cat', '/sys/class/net/eth0/address'])).toBe(spare.address)
      const [{ NetworkSettings }] = await world.json(['inspect', 'a'])
      expect(NetworkSettings.Networks.one.MacAddress).toBe(spare.address)
      expectError(
        await world.tsrun(['run', '--rm', '-net', 'one', 'busybox', 'true']),
        125,
        /the kernel refuses macvlan passthru on "spare"\n {2}hint: a passthru parent takes one container alone/,
      )
      expectError(
        await world.tsrun(['network', 'create', ...flags, '--subnet', '10.78.0.0/24', 'two']),
        1,
        /network "one" has "spare" in mode macvlan passthru, which excludes macvlan bridge/,
      )
      await world.ok(['rm', '-f', 'a'])
      await world.host.sh('ip link del spare')
    }),
  )

  test(
    'carries IPv6 too, on its own or beside IPv4',
    inWorld(async world => {
      const six = [
        '--subnet',
        '2001:db8:51::/64',
        '--gateway',
        addresses.router6,
        '--ip-range',
        '2001:db8:51::c0:0/112',
      ]
      await world.ok(create(...six, 'both'))
      await world.serve('a', ['-net', 'both'])
      const [{ NetworkSettings }] = await world.json(['inspect', 'a'])
      const { GlobalIPv6Address: address6 } = NetworkSettings.Networks.both

      expect(address6).toMatch(/^2001:db8:51::c0:/)
      expect((await world.neighbour.curl(`http://[${address6}]/`)).body).toContain(addresses.neighbour6)
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server6])
    }),
  )

  test(
    'stands beside another network on the same parent and beside a bridge in one container',
    inWorld(async world => {
      await world.ok(create('lan'))
      const second = ['-d', 'macvlan', '-o', 'parent=eth0', '--subnet', '10.88.0.0/24', 'second']
      await world.ok(['network', 'create', ...second])
      await world.ok(['network', 'create', 'br'])
      await world.ok(
        'run -d --name a --network br -p 8080:80 --network lan --network second busybox httpd -f -p 80'.split(' '),
      )
      const lanAddress = await world.addressOf('a', 'lan')
      const secondAddress = await world.addressOf('a', 'second')

      expect(await linksOf(world, 'a')).toEqual(expect.arrayContaining(['lo', 'eth0', 'eth1', 'eth2']))
      expect(await world.neighbour.ping(lanAddress)).toBe(true)
      await world.neighbour.sh('ip address add 10.88.0.200/24 dev eth0')
      expect(await world.neighbour.ping(secondAddress)).toBe(true)
      // From beyond the LAN: clients on it are answered through the container's own interface there.
      const page = await world.outside.curl(`http://${addresses.host}:8080/`, { from: addresses.client })
      expect(page.status).toBe(404)
    }),
  )

  test(
    'is not given addresses of the host, and says who holds one',
    inWorld(async world => {
      const few = ['--subnet', '198.51.100.0/24', '--ip-range', '198.51.100.8/30']
      await world.ok(['network', 'create', '-d', 'macvlan', '-o', 'parent=eth0', ...few, 'lan'])
      const given: string[] = []
      for (let n = 0; n < 3; n++) {
        await world.ok(['run', '-d', '--name', `c${n}`, '-net', 'lan', 'busybox', 'sleep', '1000'])
        given.push(await world.addressOf(`c${n}`))
      }

      expect(given).toEqual(['198.51.100.8', '198.51.100.9', '198.51.100.11'])
      expectError(
        await world.tsrun(['run', '--rm', '-net', 'lan', 'busybox', 'true']),
        125,
        /cannot give out an address of 198\.51\.100\.8\/30: all \d+ are taken/,
      )
      expectError(
        await world.tsrun(['run', '--rm', '-net', 'lan', '--ip', addresses.host, 'busybox', 'true']),
        125,
        /cannot use address 198\.51\.100\.10: it is held by "the host"/,
      )
    }),
  )

  test(
    'a parent that goes away takes the interface along, and nothing else',
    inWorld(async world => {
      await world.host.sh('ip link add spare type veth peer name far; ip link set spare up; ip link set far up')
      await world.ok('network create -d macvlan -o parent=spare --subnet 10.77.0.0/24 lan'.split(' '))
      await world.ok('run -d --name a -net lan busybox sleep 1000'.split(' '))
      expectError(
        await world.tsrun(['network', 'rm', 'lan']),
        1,
        /cannot remove network "lan": a container is on it: a/,
      )

      await world.host.sh('ip link del spare')

      expect(await linksOf(world, 'a')).toEqual(['lo'])
      const [{ Kernel }] = await world.json(['network', 'inspect', 'lan'])
      expect(Kernel).toMatchObject({ parent: 'spare', state: 'missing' })
      await world.ok(['stop', '-t', '0', 'a'])
      expectError(
        await world.tsrun(['start', 'a']),
        1,
        /cannot connect "a" to network "lan": there is no interface "spare"/,
      )
      await world.host.sh('ip link add spare type veth peer name far; ip link set far up')
      expectError(
        await world.tsrun(['start', 'a']),
        1,
        /its parent interface "spare" is down\n {2}hint: .*ip link set spare up/,
      )
      await world.host.sh('ip link set spare up')
      await world.ok(['start', 'a'])
      expect(await linksOf(world, 'a')).toContain('eth0')
      await world.ok(['rm', '-f', 'a'])
      await world.host.sh('ip link del spare')
    }),
  )

  test(
    'a start that fails or is killed at any step leaves nothing',
    inWorld(async world => {
      await world.ok(create('lan'))
      await world.ok(['run', '--rm', '-net', 'lan', 'busybox', 'true'])
      const before = await world.snapshot()
      for (const fault of [
        'add macvlan:fail',
        'configure sandbox:fail',
        'add macvlan:kill',
        'configure sandbox:kill',
      ]) {
        const { code } = await world.tsrun(['run', '--rm', '--name', 'a', '-net', 'lan', 'busybox', 'true'], {
          env: { ...world.env, TSRUN_FAULT: fault },
        })
        expect(code, fault).not.toBe(0)
        await world.ok(['rm', '-f', 'a']).catch(() => {})
        await world.ok(['ps', '-a'])
        expect(await world.changesSince(before), fault).toEqual([])
      }
      await world.ok(['run', '--rm', '-net', 'lan', 'busybox', 'true'])
    }),
  )

  test(
    'joined while the container runs: made to fail or killed at any step, it leaves the interface and the record, or neither',
    inWorld(async world => {
      await world.ok(create('lan'))
      await world.ok(['run', '-d', '--name', 'a', 'busybox', 'sleep', '1000'])
      const connect = ['network', 'connect', 'lan', 'a']
      const { stderr } = await world.tsrun(connect, { env: { ...world.env, TSRUN_FAULT: '*' } })
      const steps = new Set([...stderr.matchAll(/^fault point: (.*)$/gm)].map(([, step = '']) => step))
      await world.ok(['network', 'disconnect', 'lan', 'a'])
      expect([...steps]).toContain('connection record')

      const isRecorded = async () => (await world.json(['inspect', 'a']))[0].NetworkSettings.Networks.lan !== undefined
      for (const step of steps) {
        for (const kind of ['fail', 'kill']) {
          const { code } = await world.tsrun(connect, { env: { ...world.env, TSRUN_FAULT: `${step}:${kind}` } })
          await world.ok(['ps'])
          const links = await linksOf(world, 'a')
          expect(links, `${step}:${kind}`).toEqual((await isRecorded()) ? ['lo', 'eth0', 'eth1'] : ['lo', 'eth0'])
          if (kind === 'fail' && code !== 0) expect(links, step).toEqual(['lo', 'eth0'])
          await world.tsrun(['network', 'disconnect', '-f', 'lan', 'a'])
        }
      }
    }),
  )
})

describe('network create -d macvlan refuses, and changes nothing', () => {
  let world: World
  let before: Snapshot

  beforeAll(async () => {
    world = await World.create()
    await world.ok(create('taken'))
    before = await world.snapshot()
  })
  afterAll(() => world.dispose())

  const refused: [string, string[], RegExp][] = [
    ['no parent', ['--subnet', '10.1.0.0/24'], /it has no parent interface\n {2}hint: .*-o parent=eth0/],
    ['a parent that is not there', ['-o', 'parent=eth7', '--subnet', '10.1.0.0/24'], /there is no interface "eth7"/],
    [
      'a VLAN of a parent that is not there',
      ['-o', 'parent=eth7.10', '--subnet', '10.1.0.0/24'],
      /there is no interface "eth7\.10" or "eth7"/,
    ],
    ['a parent name of 16 bytes', ['-o', 'parent=abcdefghijklmnop', '--subnet', '10.1.0.0/24'], /is no interface name/],
    ['the loopback', ['-o', 'parent=lo', '--subnet', '10.1.0.0/24'], /"lo" is no interface name/],
    ['a path for a parent', ['-o', 'parent=../eth0', '--subnet', '10.1.0.0/24'], /is no interface name/],
    [
      'no subnet',
      ['-o', 'parent=eth0'],
      /it has no subnet\n {2}hint: .*--subnet 198\.51\.100\.0\/24 --gateway 198\.51\.100\.1 --ip-range/,
    ],
    [
      'an unknown mode',
      ['-o', 'parent=eth0', '-o', 'mode=hub', '--subnet', '10.1.0.0/24'],
      /"hub" is no mode of macvlan/,
    ],
    ['an unknown option', ['-o', 'parent=eth0', '-o', 'icc=no', '--subnet', '10.1.0.0/24'], /unknown option "icc"/],
    ['an inherited name for an option', ['-o', 'constructor=1'], /unknown option "constructor"/],
    [
      'an MTU above that of the parent',
      ['-o', 'parent=eth0', '-o', 'mtu=9000', '--subnet', '10.1.0.0/24'],
      /the MTU 9000 is above that of its parent "eth0", 1500/,
    ],
    ['an internal network with a parent', ['-o', 'parent=eth0', '--internal'], /an internal network has no parent/],
    [
      'the subnet of another network',
      ['-o', 'parent=eth0', '--subnet', '198.51.100.0/25'],
      /the subnet overlaps 198\.51\.100\.0\/24 of network "taken"/,
    ],
  ]

  test.each(refused)('%s', async (_title, flags, message) => {
    expectError(await world.tsrun(['network', 'create', '-d', 'macvlan', ...flags, 'new']), 1, message)
  })

  test('all that, and has changed nothing', async () => {
    expect(await world.changesSince(before)).toEqual([])
  })

  test('a driver that nobody has: the message lists the drivers', async () => {
    const refusal = await world.tsrun(['network', 'create', '-d', 'nonsense', 'new'])

    expectError(
      refusal,
      1,
      /unknown network driver "nonsense"\n {2}hint: the drivers are bridge, ptp, routed, macvlan, ipvlan, phys, host, none; others are npm packages/,
    )
  })

  test('a published port, with the address where it is reached', async () => {
    expectError(
      await world.tsrun('run --rm -net taken --ip 198.51.100.66 -p 80:8000 busybox true'.split(' ')),
      125,
      /cannot publish port 80\/tcp of ".*": .*\n {2}hint: its port 8000 is reached at 198\.51\.100\.66 without -p/,
    )
  })

  test.each([
    ['ipvlan', 'IPVLAN', 'ipvlan', ['-d', 'ipvlan', '-o', 'parent=eth0', '--subnet', '10.1.0.0/24']],
    ['8021q', 'VLAN_8021Q', '8021q', ['-d', 'macvlan', '-o', 'parent=eth0.10', '--subnet', '10.1.0.0/24']],
    ['dummy', 'DUMMY', 'dummy', ['-d', 'macvlan', '--internal']],
  ])('says which kernel option is missing without %s, and works with it', async (_title, option, module, flags) => {
    const { code, stderr } = await world.tsrun(['network', 'create', ...flags, 'new'])

    if (kernelHas(option, module)) {
      expect(code, stderr).toBe(0)
      await world.ok(['network', 'rm', 'new'])
    } else {
      expect(stderr).toMatch(new RegExp(`the kernel has no ${module}\n {2}hint: it needs CONFIG_${option}: try`))
      expect(code).toBe(1)
    }
  })
})

/** By the kernel's own word, not tsrun's. */
function kernelHas(option: string, module: string): boolean {
  if (existsSync(`/sys/module/${module}`)) return true
  const config = existsSync('/proc/config.gz')
    ? gunzipSync(readFileSync('/proc/config.gz')).toString()
    : readFileSync(`/boot/config-${release()}`, 'utf8')
  return new RegExp(`^CONFIG_${option}=[ym]`, 'm').test(config)
}
