// Networks over several hosts: routes to the peers' subnets, straight, by a router, or through a vxlan.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { type Machine, type Machines, withMachines } from '../helpers/machines.ts'
import { Namespace } from '../helpers/namespace.ts'
import { addresses, pageOf } from '../helpers/world.ts'

const containerOf = ({ number }: Machine) => `10.${number}.0.2`
const routes = ({ ns }: Machine, ...more: string[]) => ns.ipJson('route', 'show', 'proto', '84', ...more)

/** Makes the network `apps` on a machine, with peers by the addresses given. */
function create(machine: Machine, peers: readonly string[], ...more: string[]): Promise<string> {
  const flags = peers.flatMap(peer => ['--peer', peer])
  return machine.ok(['network', 'create', '-d', 'routed', '--subnet', machine.subnet, ...flags, ...more, 'apps'])
}

const othersOf = (machines: Machines, machine: Machine) => machines.filter(other => other !== machine)

/** Every container reaches every other, which sees its own address. */
async function expectAllReached(machines: readonly Machine[]): Promise<void> {
  for (const from of machines)
    for (const to of machines.filter(other => other !== from))
      expect(await from.fetch(containerOf(to)), `${from.number} to ${to.number}`).toBe(
        pageOf(`c${to.number}`, containerOf(from)),
      )
}

describe('a routed network', () => {
  test(
    'joins three hosts, two on a LAN and one behind a router, each seeing the others by their own addresses',
    withMachines(async (machines, world) => {
      const [near, beside, far] = machines
      await world.outside.sh(`
        ip route add ${near.subnet} via ${near.address}
        ip route add ${beside.subnet} via ${beside.address}
        ip route add ${far.subnet} via ${far.address}`)
      await create(near, [`${beside.subnet}=${beside.address}`, `${far.subnet}=${addresses.router}`])
      await create(beside, [`${near.subnet}=${near.address}`, `${far.subnet}=${addresses.router}`])
      await create(far, [`${near.subnet}=10.9.0.1`, `${beside.subnet}=10.9.0.1`])
      for (const machine of machines) await machine.serve('apps')

      await expectAllReached(machines)
      // The hosts themselves too, under their gateways' addresses.
      expect((await near.ns.curl(`http://${containerOf(far)}/`)).body).toBe(pageOf('c3', '10.1.0.1'))
      // Strangers do not, though they have a route.
      expect((await world.outside.curl(`http://${containerOf(near)}/`, { timeoutSeconds: 1 })).status).toBe(0)
      // Nor do containers of another network, nor is that network let in by the peers.
      await near.ok('run -d --name other busybox sleep 1000')
      const asked = ['exec', 'other', 'timeout', '2', 'wget', '-q', '-O', '-', `http://${containerOf(beside)}/`]
      expect((await near.tsrun(asked)).stdout).toBe('')
      expect(await routes(near)).toEqual([
        expect.objectContaining({ dst: beside.subnet, gateway: beside.address, prefsrc: '10.1.0.1', metric: 2084 }),
        expect.objectContaining({ dst: far.subnet, gateway: addresses.router, prefsrc: '10.1.0.1', metric: 2084 }),
      ])
      const [{ Peers, Kernel }] = JSON.parse(await near.ok('network inspect apps'))
      expect(Peers).toHaveLength(2)
      expect(Kernel.peers).toEqual([
        { subnet: beside.subnet, address: beside.address, route: 'up', device: 'eth0' },
        { subnet: far.subnet, address: addresses.router, route: 'up', device: 'eth0' },
      ])
    }),
    180_000,
  )

  test(
    'survives a host that dies, comes back and moves; leaves the routes of others alone; goes without a trace',
    withMachines(async ([near, beside]) => {
      // The same subnet with another metric, our number with another metric, and one of neither.
      await near.ns.sh(`
        ip route add ${beside.subnet} via ${addresses.router} metric 4000
        ip route add 10.77.0.0/24 via ${addresses.router} proto 84
        ip route add 10.78.0.0/24 via ${addresses.router} metric 2084`)
      const foreign = (await near.ns.ipJson('route')).filter(({ dst }) => dst !== near.subnet)
      await create(near, [`${beside.subnet}=${beside.address}`])
      await create(beside, [`${near.subnet}=${near.address}`])
      for (const machine of [near, beside]) await machine.serve('apps')
      const page = pageOf('c2', containerOf(near))
      expect(await near.fetch(containerOf(beside))).toBe(page)
      const graph = async (machine: Machine) =>
        JSON.parse(await machine.ok('network graph --format json apps')).networks[0]
      expect((await graph(near)).peers).toEqual([{ subnet: beside.subnet, address: beside.address, device: 'eth0' }])
      expect(await near.ok('network graph')).toContain(`${beside.subnet} is at ${beside.address}, by eth0\n`)
      expect(await near.ok('network graph --format svg')).toContain(
        `>${beside.subnet} is at ${beside.address}, by eth0<`,
      )

      // The link that goes down takes its routes along.
      await beside.ns.sh('ip link set eth0 down')
      expect(await near.isCutOff(containerOf(beside))).toBe(true)
      expect(await routes(beside)).toEqual([])
      expect(JSON.parse(await beside.ok('network inspect apps'))[0].Kernel.peers[0].route).toBe('missing')
      expect((await beside.tsrun('network doctor')).stdout).toMatch(/no route to 10\.1\.0\.0\/24/)
      expect((await graph(beside)).peers).toEqual([{ subnet: near.subnet, address: near.address }])
      expect((await graph(beside)).problems).toEqual([`no route to ${near.subnet}`])
      await beside.ok('run --rm -net apps busybox true')
      await beside.ns.sh('ip link set eth0 up')
      await beside.ok('network reload apps')
      expect(await routes(beside)).toHaveLength(1)
      await eventually('it is reached again', async () => (await near.fetch(containerOf(beside))) === page, 15_000)
      await beside.ns.sh('ip route flush proto 84; ip link delete dev apps')
      await beside.ok('run --rm -net apps busybox true')
      await eventually('it is reached again', async () => (await near.fetch(containerOf(beside))) === page, 15_000)

      await beside.ns.sh('ip address delete 198.51.100.20/24 dev eth0; ip address add 198.51.100.21/24 dev eth0')
      await beside.ok('network reload apps')
      // As long as it remembers the MAC address, the old one still leads there.
      await near.ns.sh('ip neighbour flush dev eth0')
      expect(await near.isCutOff(containerOf(beside))).toBe(true)
      expect(await near.ok(`network update --peer-add ${beside.subnet}=198.51.100.21 apps`)).toBe('apps')
      expect(await routes(near, 'metric', '2084')).toEqual([expect.objectContaining({ gateway: '198.51.100.21' })])
      await eventually('it is reached again', async () => (await near.fetch(containerOf(beside))) === page, 15_000)

      await near.ok(`network update --peer-rm ${beside.subnet} apps`)
      expect(await routes(near, 'metric', '2084')).toEqual([])
      expect(await beside.isCutOff(containerOf(near))).toBe(true)
      expectError(
        await near.tsrun(`network update --peer-rm ${beside.subnet} apps`),
        1,
        /network "apps" has no peer 10\.2\.0\.0\/24/,
      )
      await near.ok(`network update --peer-add ${beside.subnet}=198.51.100.21 apps`)
      await near.clear()
      expect(await near.ns.ipJson('route')).toEqual(foreign)
      await near.ns.sh(`
        ip route delete ${beside.subnet} metric 4000; ip route delete 10.77.0.0/24; ip route delete 10.78.0.0/24`)
    }),
    180_000,
  )

  test(
    'through a vxlan joins hosts with no layer 2 in common, IPv6 beside IPv4, and follows one that moves',
    withMachines(async (machines, world) => {
      const [near, beside, far] = machines
      for (const machine of machines)
        await create(
          machine,
          othersOf(machines, machine).flatMap(other => [
            `${other.subnet}=${other.address}`,
            `${other.subnet6}=${other.address}`,
          ]),
          '-o',
          'vxlan=42',
          '--subnet',
          machine.subnet6,
        )
      for (const machine of machines) await machine.serve('apps')

      await expectAllReached(machines)
      expect(await near.fetch('[fd00:3::2]')).toMatch(/^c3 sees \[?fd00:1::2/)
      expect(await far.fetch('[fd00:2::2]')).toMatch(/^c2 sees \[?fd00:3::2/)
      expect((await near.ns.curl(`http://${containerOf(far)}/`)).body).toBe(pageOf('c3', '10.1.0.1'))
      // What fits on the way, and no more; and out of it containers are masqueraded, for the router knows no subnet.
      expect(await near.ok('exec c1 cat /sys/class/net/eth0/mtu')).toBe('1450')
      await near.ok(['exec', 'c1', 'ping', '-c', '1', '-W', '5', '-s', '1422', containerOf(far)])
      await near.ok(['exec', 'c1', 'ping', '-c', '1', '-W', '5', addresses.server])
      expect(await world.outside.sh('ip route')).not.toContain('10.1.0')

      await far.ns.sh('ip link set eth0 down')
      expect(await near.isCutOff(containerOf(far))).toBe(true)
      await far.ns.sh(`
        ip address flush dev eth0; ip address add 10.9.0.3/24 dev eth0; ip link set eth0 up; ip route add default via 10.9.0.1`)
      for (const machine of [near, beside])
        await machine.ok(`network update --peer-add ${far.subnet}=10.9.0.3 --peer-add ${far.subnet6}=10.9.0.3 apps`)
      await eventually('it is reached again', async () => (await near.fetch(containerOf(far))) !== '', 15_000)
      await expectAllReached(machines)
      await near.ns.sh('ip link delete dev "$(ip -br link show type vxlan | cut -d" " -f1)"; nft flush ruleset')
      await near.ok('network reload apps')
      await expectAllReached(machines)

      await near.ok(`network update --peer-rm ${far.subnet} --peer-rm ${far.subnet6} apps`)
      expect(await near.isCutOff(containerOf(far))).toBe(true)
      expect(await near.ns.sh('bridge fdb show; ip neighbour show nud permanent')).not.toContain('10.9.0.3')
      await near.clear()
      expect(await near.ns.ipJson('link', 'show', 'type', 'vxlan')).toEqual([])
    }),
    180_000,
  )

  test(
    'joins IPv6 subnets on a LAN, also after the bridge or its address was deleted, which takes the source out of the routes',
    withMachines(async ([near, beside]) => {
      // What the world spares itself: a router asks for its neighbours under this address.
      for (const { ns, number } of [near, beside]) await ns.sh(`ip -6 address add fe80::${number}/64 dev eth0 nodad`)
      const line = 'network create -d routed --ipv4=false'
      await near.ok(`${line} --subnet fd00:1::/64 --peer fd00:2::/64=2001:db8:51::20 apps`)
      await beside.ok(`${line} --subnet fd00:2::/64 --peer fd00:1::/64=2001:db8:51::10 apps`)
      for (const machine of [near, beside]) await machine.serve('apps')
      const sees = /^c2 sees \[?fd00:1::2/
      const six = () => near.ns.sh('ip -6 route show proto 84')
      const reached = async () => sees.test(await near.fetch('[fd00:2::2]'))
      await eventually('it is reached', reached, 15_000)
      const before = await six()
      expect(before).toMatch(/^fd00:2::\/64 via 2001:db8:51::20 dev eth0 src fd00:1::1 metric 2084/)
      await near.ns.sh('ip link delete dev apps')
      await near.ok('run --rm -net apps busybox true')
      expect(await six()).toBe(before)
      await eventually('it is reached again', reached, 15_000)
      await near.ns.sh('ip -6 address delete fd00:1::1/64 dev apps')
      expect(await six()).not.toBe(before)
      await near.ok('network reload apps')
      expect(await six()).toBe(before)
      await eventually('it is reached again', reached, 15_000)
      await near.clear()
      expect(await six()).toBe('')
      await near.ns.sh('ip -6 address delete fe80::1/64 dev eth0')
    }),
    180_000,
  )

  test(
    'wraps IPv4 in IPv6 as well',
    withMachines(async ([near, , far]) => {
      await create(near, [`${far.subnet}=2001:db8:9::2`], '-o', 'vxlan=7', '-o', 'vxlan-port=8472')
      await create(far, [`${near.subnet}=${addresses.host6}`], '-o', 'vxlan=7', '-o', 'vxlan-port=8472')
      for (const machine of [near, far]) await machine.serve('apps')
      await expectAllReached([near, far])
      expect(await near.ok('exec c1 cat /sys/class/net/eth0/mtu')).toBe('1430')
    }),
    180_000,
  )

  test(
    'cut off at any step leaves nothing, or what the next command mends',
    withMachines(async ([near, beside], world) => {
      const line = `network create -d routed --subnet 10.1.0.0/24 -o vxlan=42 --peer ${beside.subnet}=${beside.address} apps`
      // Another one keeps the base rules.
      await near.ok('network create anchor')
      await near.ok(line)
      await near.ok('network rm apps')
      const before = await world.settled()
      const steps = [
        'add bridge',
        'configure bridge',
        'add vxlan',
        'add peer routes',
        'firewall network',
        'network record',
      ]
      for (const step of steps)
        for (const way of ['fail', 'kill']) {
          const { code } = await near.tsrun(line, { env: { ...near.env, TSRUN_FAULT: `${step}:${way}` } })
          expect(code, `${step}:${way}`).not.toBe(0)
          await near.tsrun('network rm -f apps')
          expect(await world.changesSince(before), `${step}:${way}`).toEqual([])
        }
      await near.ok(line)
      const update = 'network update --peer-add 10.5.0.0/24=10.9.0.2 apps'
      const peersOf = async () => JSON.parse(await near.ok('network inspect apps'))[0].Peers.length
      for (const step of ['network record', 'peers', 'add peer routes']) {
        const failed = await near.tsrun(update, { env: { ...near.env, TSRUN_FAULT: `${step}:fail` } })
        expect(failed.code, step).not.toBe(0)
        expect([await peersOf(), (await routes(near)).length], step).toEqual([1, 1])
      }
      await near.tsrun(update, { env: { ...near.env, TSRUN_FAULT: 'peers:kill' } })
      expect(await peersOf()).toBe(2)
      expect(await routes(near)).toHaveLength(2)
      expect(await near.ns.sh('nft list ruleset')).toContain('10.5.0.0/24 . 10.1.0.0/24')
    }),
    180_000,
  )

  test(
    'is explained by commands that, typed on an empty host, give the same',
    withMachines(async ([near, beside], world) => {
      const file = join(world.dir, 'explained')
      const peers = [beside.subnet, beside.subnet6].flatMap(subnet => ['--peer', `${subnet}=${beside.address}`])
      const args = ['network', 'create', '-d', 'routed', '--subnet', near.subnet, '--subnet', near.subnet6, ...peers]
      const env = { ...near.env, TSRUN_EXPLAIN: file }
      expect((await near.tsrun([...args, '-o', 'vxlan=42', 'apps'], { env })).code).toBe(0)
      const replay = await Namespace.create('replay', join(world.dir, 'netns', 'replay'), world.env)
      try {
        await replay.sh(readFileSync(file, 'utf8'))
        const seen = (ns: Namespace) =>
          ns.sh(`
            ip route show proto 84; ip -6 route show proto 84; ip neighbour show nud permanent; bridge fdb show | grep dst
            ip -d -o link show type vxlan | cut -d: -f3-; ip -o address show dev apps scope global | cut -d: -f2-
            sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding; nft list ruleset`)
        const [real, typed] = await Promise.all([near.ns, replay].map(seen))
        expect(real).toMatch(/^10\.2\.0\.0\/24 via/)
        expect(typed).toBe(real)
      } finally {
        await replay.remove()
      }
    }),
    180_000,
  )

  test(
    'refuses what cannot be, by name, and explains each change',
    withMachines(async ([near, beside]) => {
      const make = (peers: string[], ...more: string[]) =>
        near.tsrun([
          ...'network create -d routed --subnet 10.1.0.0/24'.split(' '),
          ...peers.flatMap(peer => ['--peer', peer]),
          ...more,
          'apps',
        ])
      for (const [peer, why] of [
        ['10.2.0.0/24', /invalid value "10\.2\.0\.0\/24" for --peer/],
        ['10.2.0.1/24=198.51.100.20', /host bits.*\n.*10\.2\.0\.0\/24/],
        ['10.2.0.0/24=beside', /"beside" is not an address/],
        ['0.0.0.0/0=198.51.100.20', /"0\.0\.0\.0\/0" is not a subnet/],
        ['10.1.0.0/25=198.51.100.20', /overlaps the network's own subnet, 10\.1\.0\.0\/24/],
        ['10.2.0.0/24=198.51.100.10', /this host's own/],
        ['10.2.0.0/24=10.9.0.2', /on no link of this host.*\n.*vxlan/],
        ['fd00:2::/64=2001:db8:51::20', /has no IPv6/],
        ['10.2.0.0/24=2001:db8:51::20', /not of one IP version/],
        ['198.51.100.0/24=198.51.100.20', /itself in the subnet/],
      ] as const)
        expectError(await make([peer]), 1, why)
      expectError(await make(['10.2.0.0/24=198.51.100.20', '10.2.0.0/25=198.51.100.1']), 1, /overlaps another peer/)
      expectError(await make(['10.2.0.0/24=198.51.100.20'], '--internal'), 1, /no way out/)
      expectError(await make([], '-o', 'vxlan=0'), 1, /"0" is no vxlan.*\n.*16777215/)
      expectError(await make([], '-o', 'local=1.2.3.4'), 1, /local is for a vxlan/)
      expectError(await near.tsrun('network create --peer 10.2.0.0/24=198.51.100.20 br'), 1, /its driver is "bridge"/)
      expect(await near.ns.sh('ip route show proto 84')).toBe('')

      const shown = await make([`${beside.subnet}=${beside.address}`], '-o', 'vxlan=42', '--explain')
      for (const command of [
        /ip link add name vx-\w+ mtu 1450 address 02:54:\S+ type vxlan id 42 dstport 4789 local 0\.0\.0\.0 nolearning/,
        /bridge fdb replace 02:54:\S+ dev vx-\w+ dst 198\.51\.100\.20 self permanent/,
        /ip neighbour replace 10\.2\.0\.1 lladdr 02:54:\S+ dev vx-\w+ nud permanent/,
        /ip route add 10\.2\.0\.0\/24 via 10\.2\.0\.1 dev vx-\w+ metric 2084 proto 84 src 10\.1\.0\.1 onlink/,
      ])
        expect(shown.stderr + shown.stdout).toMatch(command)
      expectError(await near.tsrun('network create -d routed -o vxlan=42 twin'), 1, /network "apps" has vxlan 42/)
    }),
    180_000,
  )
})
