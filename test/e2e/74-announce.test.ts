// An address that was another container's until a moment ago: the host and the other containers learn its new MAC address at once,
// without a packet of theirs being lost.

import { expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { inWorld, type World } from '../helpers/world.ts'

const old = '02:42:00:00:00:aa'
const fresh = '02:42:00:00:00:bb'
const v4 = '10.1.0.50'
const v6 = 'fd00:1::50'

async function inside(world: World, name: string, ...command: string[]): Promise<string> {
  const [{ State }] = await world.json(['inspect', name])
  return succeed(['nsenter', '-t', String(State.Pid), '-n', ...command])
}

const start = (world: World, name: string, mac: string) =>
  world.ok(
    `run -d --name ${name} --network br --ip ${v4} --ip6 ${v6} --mac-address ${mac} busybox sleep 1000`.split(' '),
  )

/** What is believed of the two addresses, without a packet being sent. */
const believed = (text: string) =>
  Object.fromEntries(
    [v4, v6].map(address => [address, text.match(new RegExp(`^${address} .*lladdr (\\S+)`, 'm'))?.[1]]),
  )

test.each([
  ['', []],
  [', with icc=false the host alone', ['-o', 'icc=false']],
])('a new container says who has its address now%s', (_which, options) =>
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64', ...options, 'br'])
    await world.ok('run -d --name peer --network br busybox sleep 1000'.split(' '))
    await start(world, 'a', old)
    const ping = async (address: string) => {
      expect(await world.host.ping(address), address).toBe(true)
      if (options.length === 0) await inside(world, 'peer', 'busybox', 'ping', '-c', '1', '-W', '3', address)
    }
    await ping(v4)
    await ping(v6)
    expect(believed(await world.host.sh('ip neigh show dev br'))).toEqual({ [v4]: old, [v6]: old })
    await world.ok(['rm', '-f', 'a'])

    await start(world, 'b', fresh)

    const now = { [v4]: fresh, [v6]: fresh }
    expect(believed(await world.host.sh('ip neigh show dev br')), 'host').toEqual(now)
    if (options.length === 0)
      expect(believed(await inside(world, 'peer', 'ip', 'neigh')), 'another container').toEqual(now)
    await world.host.sh(`busybox ping -c 1 -W 1 ${v4}; busybox ping -c 1 -W 1 ${v6}`)
    await world.ok(['network', 'disconnect', 'br', 'b'])
    await world.ok('network create --subnet 10.2.0.0/24 other'.split(' '))
    await world.ok('run -d --name c --network other busybox sleep 1000'.split(' '))
    await world.ok(`network connect --ip ${v4} --ip6 ${v6} br c`.split(' '))
    const mac = (await world.ok('exec c cat /sys/class/net/eth1/address'.split(' '))).trim()
    expect(believed(await world.host.sh('ip neigh show dev br')), 'live').toEqual({ [v4]: mac, [v6]: mac })
    // Its MAC address is made from the IPv4 address: what went before is the reason to say so.
    if (options.length === 0)
      expect(believed(await inside(world, 'peer', 'ip', 'neigh')), 'another container').toEqual({
        [v4]: mac,
        [v6]: mac,
      })
  })(),
)
