// Addresses that a DHCP server on the LAN leases to containers: taken, renewed, changed, given back; and when nobody answers.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { inLan, messagesOf, serveDhcp, serveStrictDhcp, stopDhcp, watchDhcp } from '../helpers/dhcp.ts'
import { askOne, pidOf, serveDns } from '../helpers/dns.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, pageOf, type World } from '../helpers/world.ts'

const pool = { first: '198.51.100.100', last: '198.51.100.103' }
const create = (...more: string[]) => [
  ...'network create -d macvlan -o parent=eth0 --ipam-driver dhcp'.split(' '),
  ...more,
  'lan',
]
const createOther = (...more: string[]) => [...create(...more).slice(0, -1), 'other']
const run = (name: string, ...more: string[]) => ['run', '-d', '--name', name, '-net', 'lan', ...more, 'busybox']
const idle = ['sleep', '1000']

/** IPv4 addresses and routes inside, as `ip` sees them. */
async function inside(
  world: World,
  container: string,
): Promise<{ addresses: string[]; routes: string[]; mtu: number }> {
  const pid = await pidOf(world, container)
  const ip = (words: string) => world.host.exec('nsenter', ['-t', String(pid), '-n', 'ip', '-j', ...words.split(' ')])
  const [link] = JSON.parse(await ip('-4 addr show dev eth0'))
  const routes: { dst: string; gateway?: string; protocol?: string }[] = JSON.parse(await ip('-4 route'))
  return {
    addresses: (link?.addr_info ?? []).map(
      (each: { local: string; prefixlen: number }) => `${each.local}/${each.prefixlen}`,
    ),
    routes: routes
      .filter(({ protocol }) => protocol !== 'kernel')
      .map(({ dst, gateway }) => (gateway === undefined ? dst : `${dst} via ${gateway}`)),
    mtu: link?.mtu ?? 0,
  }
}

/** DHCP clients and their keepers that run for this world. */
function clients(world: World): number[] {
  return world
    .processes()
    .filter(({ command }) => /tsrun-lease|udhcpc/.test(command))
    .map(({ pid }) => pid)
}

const leasesOf = (world: World) => readdirOrEmpty(join(world.state, 'leases'))

function readdirOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

describe('a network with --ipam-driver dhcp', () => {
  test(
    'has its containers lease addresses: two different ones, kept by a restart, given back at the end',
    inLan(async world => {
      const said = await watchDhcp(world.neighbour)
      await serveDhcp(world, pool)
      await world.ok(create())
      await world.serve('a', ['-net', 'lan'])
      await world.serve('b', ['-net', 'lan'])
      const [a, b] = [await world.addressOf('a'), await world.addressOf('b')]

      for (const address of [a, b]) expect(address).toMatch(/^198\.51\.100\.10[0-3]$/)
      expect(a).not.toBe(b)
      expect(await inside(world, 'a')).toMatchObject({
        addresses: [`${a}/24`],
        routes: [`default via ${addresses.router}`],
      })
      expect((await world.neighbour.curl(`http://${a}/`)).body).toBe(pageOf('a', addresses.neighbour))
      expect((await world.outside.curl(`http://${b}/`)).body).toBe(pageOf('b', addresses.router))
      await world.ok(['exec', 'a', 'ping', '-c', '1', '-W', '2', addresses.server])
      expect(await world.ok(['exec', 'a', 'wget', '-q', '-O', '-', 'http://b/'])).toBe(pageOf('b', a).trim())
      expect(await world.ok(['exec', 'a', 'cat', '/etc/hosts'])).toMatch(new RegExp(`^${a}\t[0-9a-f]{12}$`, 'm'))
      const [{ NetworkSettings }] = await world.json(['inspect', 'a'])
      expect(NetworkSettings.Networks.lan).toMatchObject({
        IPAddress: a,
        IPPrefixLen: 24,
        Gateway: addresses.router,
        Lease: { Server: addresses.neighbour, Seconds: 600 },
      })
      const [{ IPAM, Containers }] = await world.json(['network', 'inspect', 'lan'])
      expect(IPAM).toEqual({ Driver: 'dhcp', Config: [] })
      expect(
        Object.values<{ IPv4Address: string }>(Containers)
          .map(each => each.IPv4Address)
          .sort(),
      ).toEqual([`${a}/24`, `${b}/24`].sort())

      const mac = NetworkSettings.Networks.lan.MacAddress
      await world.ok(['restart', '-t', '0', 'a'])
      expect(await world.addressOf('a')).toBe(a)
      const [again] = await world.json(['inspect', 'a'])
      expect(again.NetworkSettings.Networks.lan.MacAddress).toBe(mac)

      const released = () => messagesOf(said).filter(({ kind }) => kind === 'Release')
      const before = released().length
      await world.ok(['rm', '-f', 'a', 'b'])
      await eventually('both are given back', () => released().length === before + 2)
      expect(
        released()
          .slice(before)
          .map(({ client }) => client)
          .sort(),
      ).toEqual([a, b].sort())
      expect(clients(world)).toEqual([])
      expect(leasesOf(world)).toEqual([])
    }),
  )

  test(
    'takes over what the server says: MTU, routes, domains, DNS servers, and sends the name',
    inLan(async world => {
      const said = await watchDhcp(world.neighbour)
      const dns = await serveDns(world.neighbour, 7, [addresses.neighbour])
      await serveDhcp(world, {
        ...pool,
        lines: [
          'opt mtu 1400',
          'opt search one.test two.test',
          'opt domain other.test',
          `opt dns ${addresses.neighbour} 127.0.0.1`,
          `opt staticroutes 10.77.0.0/16 198.51.100.9, 0.0.0.0/0 ${addresses.router}`,
        ],
      })
      await world.ok(create())
      await world.ok([...run('web'), ...idle])

      expect(await inside(world, 'web')).toMatchObject({
        routes: expect.arrayContaining([`default via ${addresses.router}`, '10.77.0.0/16 via 198.51.100.9']),
        mtu: 1400,
      })
      expect(await world.ok(['exec', 'web', 'cat', '/etc/resolv.conf'])).toMatch(/^search one\.test two\.test$/m)
      await askOne(world, 'web', { name: 'somewhere.test' })
      expect(dns.names()).toContain('somewhere.test')
      const [{ NetworkSettings }] = await world.json(['inspect', 'web'])
      expect(NetworkSettings.Networks.lan.Lease).toMatchObject({
        DNSServers: [addresses.neighbour],
        SearchDomains: ['one.test', 'two.test'],
        MTU: 1400,
        Routes: [{ Destination: '10.77.0.0/16', Gateway: '198.51.100.9' }],
      })
      expect(said.stdout()).toMatch(/Hostname.*: "web"/)
      // The user's word counts more.
      await world.ok([...run('own', '--dns', '203.0.113.10', '--dns-search', 'mine.test'), ...idle])
      expect(await world.ok(['exec', 'own', 'cat', '/etc/resolv.conf'])).toMatch(/^search mine\.test$/m)
    }),
  )

  test(
    'renews: the lease lives on, changes with the server, runs out without one, and comes back',
    inLan(async world => {
      const said = await watchDhcp(world.neighbour)
      const server = await serveDhcp(world, { ...pool, leaseSeconds: 30 })
      await world.ok(create())
      await world.serve('a', ['-net', 'lan'])
      await world.ok('network create br'.split(' '))
      await world.ok('run -d --name b -net br busybox sleep 1000'.split(' '))
      await world.ok('network connect lan b'.split(' '))
      const first = await world.addressOf('a')
      const acks = () => messagesOf(said).filter(({ kind }) => kind === 'ACK').length
      const start = acks()
      const [{ NetworkSettings }] = await world.json(['inspect', 'a'])
      // At half time: both.
      await eventually('they are renewed', () => acks() >= start + 2, 25_000)
      const renewed = async () => (await world.json(['inspect', 'a']))[0].NetworkSettings.Networks.lan.Lease.ObtainedAt
      await eventually('it is noted', async () => (await renewed()) > NetworkSettings.Networks.lan.Lease.ObtainedAt)
      expect(await inside(world, 'a')).toMatchObject({ addresses: [`${first}/24`] })

      await stopDhcp(server)
      await eventually('it has run out', async () => (await world.addressOf('a')) === '', 40_000)
      expect(await inside(world, 'a')).toMatchObject({ addresses: [], routes: [] })
      expect(await world.ok(['exec', 'a', 'cat', '/etc/hosts'])).not.toContain(first)

      await serveDhcp(world, { first: '198.51.100.110', last: '198.51.100.113', leaseSeconds: 60 })
      await eventually('it has another one', async () => (await world.addressOf('a')) !== '', 30_000)
      const second = await world.addressOf('a')
      expect(second).toMatch(/^198\.51\.100\.11[0-3]$/)
      expect(await inside(world, 'a')).toMatchObject({
        addresses: [`${second}/24`],
        routes: [`default via ${addresses.router}`],
      })
      expect((await world.neighbour.curl(`http://${second}/`)).body).toBe(pageOf('a', addresses.neighbour))
      expect((await askOne(world, 'a', { name: 'a' })).values).toEqual([second])
      expect(await world.ok(['exec', 'a', 'cat', '/etc/hosts'])).toMatch(new RegExp(`^${second}\t`, 'm'))
    }),
    120_000,
  )

  test(
    'asks again where the server refuses (NAK), at the start and at a renewal; then it has another address',
    inLan(async world => {
      const said = await watchDhcp(world.neighbour)
      const { refuse } = await serveStrictDhcp(world, { first: '198.51.100.100', leaseSeconds: 30 })
      await world.ok(create())
      refuse(1)
      await world.serve('a', ['-net', 'lan'])
      const first = await world.addressOf('a')
      const kinds = () => messagesOf(said).map(({ kind }) => kind)
      await eventually('all is seen', () => kinds().includes('ACK'))
      expect(kinds().slice(0, 6)).toEqual(['Discover', 'Offer', 'Request', 'NACK', 'Discover', 'Offer'])
      expect(await inside(world, 'a')).toMatchObject({ addresses: [`${first}/24`] })

      refuse(1)
      await eventually('it has another one', async () => ![first, ''].includes(await world.addressOf('a')), 40_000)

      const second = await world.addressOf('a')
      expect(kinds().filter(kind => kind === 'NACK')).toHaveLength(2)
      expect(await inside(world, 'a')).toMatchObject({
        addresses: [`${second}/24`],
        routes: [`default via ${addresses.router}`],
      })
      expect((await world.neighbour.curl(`http://${second}/`)).body).toBe(pageOf('a', addresses.neighbour))
      expect((await world.neighbour.curl(`http://${first}/`)).status).toBe(0)
      expect((await askOne(world, 'a', { name: 'a' })).values).toEqual([second])
    }),
    120_000,
  )

  test(
    'on a phys network: the interface of the host has a lease while it is away, and its own addresses afterwards',
    inLan(async world => {
      await world.host.sh(`ip link add eth7 type veth peer name eth7 netns ${world.neighbour.path}
        ip address add 192.0.2.7/24 dev eth7; ip link set eth7 up`)
      await world.neighbour.sh('ip address add 192.0.2.1/24 dev eth7; ip link set eth7 up')
      const own = '192.0.2.1'
      const { server } = await serveStrictDhcp(world, { first: '192.0.2.100', leaseSeconds: 600, link: 'eth7', own })
      await world.ok('network create -d phys -o device=eth7 --ipam-driver dhcp nic'.split(' '))
      await world.serve('a', ['--network', 'nic'])

      const leased = await world.addressOf('a')
      expect(leased).toMatch(/^192\.0\.2\.10[0-3]$/)
      expect(await inside(world, 'a')).toMatchObject({
        addresses: [`${leased}/24`],
        routes: [`default via ${own}`],
      })
      expect((await world.neighbour.curl(`http://${leased}/`)).body).toBe(pageOf('a', own))
      await world.ok(['restart', '-t', '0', 'a'])
      expect(await world.addressOf('a')).toBe(leased)

      await world.ok(['rm', '-f', 'a'])

      await eventually('it is given back', () => /RELEASE/.test(server.stdout()))
      await world.ok(['network', 'rm', 'nic'])
      expect(await world.host.sh('ip -4 -o address show dev eth7')).toMatch(/inet 192\.0\.2\.7\/24/)
      await world.host.sh('ip link del eth7')
    }),
    60_000,
  )

  test(
    'without a server that answers, or with one that grants another address, starts nothing and leaves nothing',
    inLan(async world => {
      await world.ok('run --rm --network none busybox true'.split(' '))
      await world.ok(create('--ipam-opt', 'timeout=2'))
      const before = await world.settled()

      expectError(
        await world.tsrun('run --name a -net lan busybox true'.split(' ')),
        125,
        /cannot lease "a" an address on network "lan": no DHCP server answered within 2 s\n {2}hint: .*timeout=SECONDS/,
      )
      expect(await world.changesSince(before)).toEqual([])
      await serveDhcp(world, pool)
      const other = await world.tsrun('run --rm -net lan --ip 198.51.100.77 busybox true'.split(' '))
      expectError(
        other,
        125,
        /the address 198\.51\.100\.77 on network "lan": the server 198\.51\.100\.20 grants 198\.51\.100\.10\d\n {2}hint: leave --ip out/,
      )
      // To udhcpd one that was given back is not free within the same second.
      const wanted = other.stderr.includes('grants 198.51.100.102') ? '198.51.100.103' : '198.51.100.102'
      const shown = await world.ok(`run --rm -net lan --ip ${wanted} busybox ip -4 -o addr show eth0`.split(' '))
      expect(shown).toContain(`inet ${wanted}/24`)
      expect(clients(world)).toEqual([])

      const refused: [string[], RegExp][] = [
        [createOther('--subnet', '198.51.100.0/24'), /a subnet, and an IPAM driver that asks a server/],
        [createOther('--ipv6'), /IPv6, and an IPAM driver that has only IPv4/],
        [
          createOther('--ipam-opt', 'timeout=0'),
          /the timeout "0" is no number of seconds\n {2}hint: a number from 1 to 25/,
        ],
        [createOther('--ipam-opt', 'server=x'), /"dhcp" knows no option "server"/],
        ['network create -d ptp --ipam-driver dhcp x'.split(' '), /a ptp network carries no broadcasts/],
        ['network create -d none --ipam-driver dhcp x'.split(' '), /gives them no interface/],
      ]
      for (const [command, message] of refused) expectError(await world.tsrun(command), 1, message)
      expectError(
        await world.tsrun('run --rm -net lan -p 80:80 busybox true'.split(' ')),
        125,
        /cannot publish ports of .*a server leases its address/,
      )
    }),
  )

  test(
    'on a host without a DHCP client says so, and doctor does',
    inLan(async world => {
      await world.ok('run --rm --network none busybox true'.split(' '))
      const hide =
        'for path in /usr/bin/busybox /usr/sbin/udhcpc; do [ ! -e $path ] || mount --bind /dev/null $path; done'
      const without = (...words: string[]) => {
        const [, ...command] = world.tsrunCommand(words)
        return world.host.tryExec('unshare', ['-m', 'sh', '-c', `${hide}; exec nsenter "$@"`, 'sh', ...command], {
          env: world.env,
        })
      }
      const missing =
        /there is no DHCP client on this host \(udhcpc\)\n {2}hint: install it: apt-get install busybox-static/

      expectError(await without(...create()), 1, missing)
      await world.ok(create())
      const before = await world.settled()
      expectError(await without('run', '--rm', '-net', 'lan', 'busybox', 'true'), 125, missing)
      expect(await world.changesSince(before)).toEqual([])
      expect((await without('doctor')).stdout).toMatch(/DHCP client: no udhcpc/)
      expect((await world.tsrun(['doctor'])).stdout).toMatch(/ok +DHCP client: \S*(busybox )?udhcpc/)
    }),
  )

  test(
    'works for containers on a bridge that the LAN is a port of, beside another network, and while they run',
    inLan(async world => {
      await serveDhcp(world, pool)
      await world.ok('network create --ipam-driver dhcp wire'.split(' '))
      const [{ Kernel }] = await world.json(['network', 'inspect', 'wire'])
      await world.host.sh(`ip -4 address flush dev eth0; ip link set eth0 master ${Kernel.interface}`)
      await world.ok('network create br'.split(' '))
      await world.ok('run -d --name a -net br busybox sleep 1000'.split(' '))

      await world.ok('network connect wire a'.split(' '))
      const leased = await world.addressOf('a', 'wire')
      expect(leased).toMatch(/^198\.51\.100\.10[0-3]$/)
      expect(await world.neighbour.ping(leased)).toBe(true)
      expect(await world.ok('exec a ip route'.split(' '))).not.toContain(`via ${addresses.router}`)
      await world.ok('network disconnect br a'.split(' '))
      // Now the LAN is the way out.
      expect(await world.ok('exec a ip route'.split(' '))).toContain(`default via ${addresses.router}`)
      await world.ok('network disconnect wire a'.split(' '))
      expect(await world.ok('exec a ip -o link'.split(' '))).not.toContain('eth')
      expect(clients(world)).toEqual([])
      await world.ok(['rm', '-f', 'a'])
      await world.host.sh(
        `ip link set eth0 nomaster; ip address add ${addresses.host}/24 dev eth0; ip route add default via ${addresses.router}`,
      )
    }),
  )
})
