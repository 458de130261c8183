// A container on a bridge and on the LAN has two ways out: whoever asks it is answered by the interface that was asked, whichever of
// the two is the way out, in both IP versions.

import { describe, expect, test } from 'vitest'
import { eventually, succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, pageOf, pageServer, type World } from '../helpers/world.ts'

const lan4 = '198.51.100.77'
const lan6 = '2001:db8:51::77'
const onLan = `name=lan,ip=${lan4},ip6=${lan6}`

async function createNetworks(world: World): Promise<void> {
  const v4 = ['--subnet', '198.51.100.0/24', '--gateway', addresses.router, '--ip-range', '198.51.100.64/28']
  const v6 = ['--subnet', '2001:db8:51::/64', '--gateway', addresses.router6]
  await world.ok(['network', 'create', '-d', 'macvlan', '-o', 'parent=eth0', ...v4, ...v6, 'lan'])
  await world.ok(['network', 'create', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64', 'br'])
}

/** A program in the container's network namespace, with the machine's own tools. */
async function inside(world: World, name: string, ...command: string[]): Promise<string> {
  const [{ State }] = await world.json(['inspect', name])
  return succeed(['nsenter', '-t', String(State.Pid), '-n', ...command])
}

async function rulesOf(world: World, name: string): Promise<string[]> {
  const both = await Promise.all(
    ['-4', '-6'].map(async family => JSON.parse(await inside(world, name, 'ip', '-j', family, 'rule'))),
  )
  return both.flat().flatMap(rule => (rule.src === 'all' ? [] : `${rule.src} ${rule.priority}`))
}

/** Everybody asks every address of the container, and the host's published port. */
async function expectAnswers(world: World, name: string): Promise<void> {
  const { neighbour, outside, host } = world
  const ask = async (from: typeof neighbour, url: string) => (await from.curl(url)).body
  expect(await ask(outside, `http://${addresses.host}:8080/`), 'outside').toBe(pageOf(name, addresses.router))
  expect(await ask(neighbour, `http://${addresses.host}:8080/`), 'LAN').toBe(pageOf(name, addresses.neighbour))
  expect(await ask(host, `http://${addresses.host}:8080/`), 'host').toMatch(`${name} sees`)
  expect(await ask(host, 'http://127.0.0.1:8080/'), 'loopback').toMatch(`${name} sees`)
  expect(await ask(neighbour, `http://[${addresses.host6}]:8080/`), 'LAN, IPv6').toMatch(`${name} sees`)
  expect(await ask(outside, `http://[${addresses.host6}]:8080/`), 'outside, IPv6').toMatch(`${name} sees`)
  expect(await ask(neighbour, `http://${lan4}/`), 'own address').toBe(pageOf(name, addresses.neighbour))
  expect((await outside.curl(`http://${lan4}/`, { from: addresses.client })).body).toBe(pageOf(name, addresses.client))
  // Under its address on the LAN first: only with that it asks for its neighbour's MAC.
  expect((await outside.curl(`http://[${lan6}]/`)).status, 'own address, IPv6').toBe(200)
  expect((await outside.curl(`http://[${lan6}]/`, { from: addresses.server6 })).status, 'from elsewhere, IPv6').toBe(
    200,
  )
}

/** Under which address the container is seen outside. */
async function seenOutside(world: World, name: string): Promise<string> {
  return world.ok(['exec', name, 'timeout', '3', 'wget', '-q', '-O', '-', `http://${addresses.server}/`])
}

describe('a container on the LAN and on a bridge with a published port', () => {
  test.each([
    ['lan, then br', ['--network', onLan, '--network', 'br'], lan4],
    ['br, then lan', ['--network', 'br', '--network', onLan], addresses.host],
    ['br, then lan with gw-priority', ['--network', 'br', '--network', `${onLan},gw-priority=1`], lan4],
  ])('is reached by everybody on every address: %s', (_order, networks, leavesAs) =>
    inWorld(async world => {
      await createNetworks(world)
      await world.serve('web', [...networks, '-p', '8080:80'])
      world.outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/outside`)])
      await eventually('the outside serves', async () => (await world.outside.curl('http://127.0.0.1/')).status === 200)

      await expectAnswers(world, 'web')
      expect(await seenOutside(world, 'web')).toBe(`outside sees ${leavesAs}`)
      expect((await world.json(['inspect', 'web']))[0].NetworkSettings.Ports['80/tcp'][0].HostPort).toBe('8080')
      await world.ok(['restart', '-t', '0', 'web'])
      await eventually('web serves again', async () => (await world.neighbour.curl(`http://${lan4}/`)).status === 200)
      await expectAnswers(world, 'web')
    })(),
  )

  test(
    'follows connect and disconnect while it runs, and one network alone has no rules',
    inWorld(async world => {
      await createNetworks(world)
      await world.serve('web', ['--network', 'br', '-p', '8080:80'])
      expect(await rulesOf(world, 'web')).toEqual([])

      await world.ok(['network', 'connect', '--ip', lan4, '--ip6', lan6, '--gw-priority', '1', 'lan', 'web'])
      await expectAnswers(world, 'web')
      const own = [lan4, lan6, '10.1.0.2', 'fd00:1::2'].map(address => `${address} 8400`)
      expect((await rulesOf(world, 'web')).sort()).toEqual(own.sort())

      await world.ok(['network', 'disconnect', 'lan', 'web'])
      expect(await rulesOf(world, 'web')).toEqual([])
      expect(await inside(world, 'web', 'ip', 'route', 'show', 'table', 'all')).not.toMatch(/table 84\d+/)
      expect((await world.neighbour.curl(`http://${addresses.host}:8080/`)).body).toBe(
        pageOf('web', addresses.neighbour),
      )

      await world.ok(['network', 'connect', '--ip', lan4, '--ip6', lan6, 'lan', 'web'])
      await world.ok(['network', 'disconnect', 'br', 'web'])
      expect(await rulesOf(world, 'web')).toEqual([])
      expect((await world.neighbour.curl(`http://${lan4}/`)).status).toBe(200)
      // Nobody is left to carry it: the port is free again.
      expect((await world.neighbour.curl(`http://${addresses.host}:8080/`)).code).toBe(7)
      const refused = await world.tsrun(['update', '--publish-add', '81:80', 'web'])
      expectError(
        refused,
        1,
        /cannot publish port 81\/tcp of "web": on the macvlan network "lan".*\n.*join a bridge network/,
      )
    }),
  )

  test(
    'shows its rules in the graph; the doctor sees them gone or overruled, and `network reload` brings them back',
    inWorld(async world => {
      await createNetworks(world)
      await world.serve('web', ['--network', 'br', '--network', onLan, '-p', '8080:80'])
      const before = (await rulesOf(world, 'web')).sort()
      const { networks } = await world.json(['network', 'graph', '--format', 'json', 'br'])
      expect(networks[0].endpoints[0].inside.sourceRoutes).toMatchObject([
        { address: '10.1.0.2', gateway: '10.1.0.1' },
        { address: 'fd00:1::2', gateway: 'fd00:1::1' },
      ])
      expect(await world.ok(['network', 'graph', 'lan'])).toContain(`from ${lan4} via ${addresses.router} (table 84`)
      expect((await world.tsrun(['network', 'doctor', 'web'])).stdout).toContain(
        'answers from 10.1.0.2, fd00:1::2 leave',
      )

      const damages = [
        ['ip rule delete from 10.1.0.2', 'the container has no rule "from 10.1.0.2 lookup'],
        [`ip -6 rule delete from ${lan6}`, `the container has no rule "from ${lan6} lookup`],
        ['ip route flush table 84002; ip route flush table 84003', 'the container has no route 10.1.0.0/24 in table'],
      ] as const
      for (const [damage, found] of damages) {
        await inside(world, 'web', 'sh', '-ec', damage)
        const { stdout, code } = await world.tsrun(['network', 'doctor', 'web'])
        expect({ stdout, code }, damage).toMatchObject({ stdout: expect.stringContaining(found), code: 1 })
        expect(await world.ok(['network', 'graph'])).toMatch(/✗ no (rule|route) .* in the container/)
        await world.ok(['network', 'reload', 'lan'])
        expect((await rulesOf(world, 'web')).sort()).toEqual(before)
        expect((await world.tsrun(['network', 'doctor', 'web'])).code, damage).toBe(0)
      }
      await inside(world, 'web', 'ip', 'rule', 'add', 'pref', '10', 'from', '10.1.0.2', 'blackhole')
      const { stdout } = await world.tsrun(['network', 'doctor', 'web'])
      expect(stdout).toContain(
        'what the container answers from 10.1.0.2 leaves by no interface: another rule comes first',
      )
    }),
  )

  test(
    'internal networks need no rules; networks of other kinds have them as well',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.1.0.0/24', 'br'])
      await world.ok(['network', 'create', '--internal', '--subnet', '10.2.0.0/24', 'back'])
      await world.ok(['network', 'create', '-d', 'ptp', '--subnet', '10.3.0.0/24', 'line'])
      await world.serve('two', ['--network', 'br', '--network', 'back'])
      expect(await rulesOf(world, 'two')).toEqual([])
      await world.serve('web', ['--network', 'br', '--network', 'line', '-p', '8080:80'])
      expect(await inside(world, 'web', 'ip', 'route', 'get', '203.0.113.10', 'from', '10.3.0.2')).toMatch(
        /via 10\.3\.0\.1 dev eth1 table 84\d\d\d/,
      )
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(200)
      expect((await world.host.curl('http://10.3.0.2/')).status).toBe(200)
    }),
  )

  test(
    '--explain prints the rules as commands of ip',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.1.0.0/24', 'br'])
      await world.ok(['network', 'create', '--subnet', '10.2.0.0/24', '--subnet', 'fd00:2::/64', 'other'])
      const { stderr } = await world.tsrun([
        'run',
        '--rm',
        '--explain',
        '--name',
        'web',
        '--network',
        'br',
        '--network',
        'other',
        'busybox',
        'true',
      ])
      expect(stderr).toMatch(/^ip -n web route replace default via 10\.2\.0\.1 dev eth1 proto 84 onlink table 8400\d$/m)
      expect(stderr).toMatch(/^ip -n web rule add from 10\.2\.0\.2\/32 lookup 8400\d pref 8400 protocol 84$/m)
      // One way out alone leads into IPv6.
      expect(stderr).not.toMatch(/-6 rule/)
    }),
  )
})
