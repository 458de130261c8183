// The host and its containers on a bridge know each other from the start: nobody asks for a MAC address, and no frame goes to all
// ports. What they were told is a hint, and gives way to what is so.

import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { addresses, inWorld, pageOf, pageServer, type World } from '../helpers/world.ts'

/** The host's hints on the bridge, as `address mac`. */
async function hints(world: World, bridge = 'br'): Promise<string[]> {
  const entries = await world.host.ipJson('neighbour', 'show', 'dev', bridge)
  return entries.filter(entry => 'extern_learn' in entry).map(({ dst, lladdr }) => `${dst} ${lladdr}`)
}

async function macOf(world: World, name: string): Promise<string> {
  return (await world.ok(['exec', name, 'cat', '/sys/class/net/eth0/address'])).trim()
}

/** The host's end of a container's veth. */
async function portOf(world: World, name: string): Promise<string> {
  const index = (await world.ok(['exec', name, 'cat', '/sys/class/net/eth0/iflink'])).trim()
  const [link] = (await world.host.ipJson('link')).filter(({ ifindex }) => String(ifindex) === index)
  return link.ifname
}

const fetchAt = (world: World, address: string) => world.host.curl(`http://${address}/`, { timeoutSeconds: 2 })

/** A network with a container on it already: the first one brings the bridge its carrier, which makes the kernel forget. */
async function withNetwork(world: World, ...flags: string[]): Promise<void> {
  await world.ok(['network', 'create', '--subnet', '10.60.0.0/24', ...flags, 'br'])
  await world.ok(['run', '-d', '--name', 'bystander', '-net', 'br', 'busybox', 'sleep', '1000'])
}

test(
  'first packets from the host, from outside and to the gateway: no question, and nothing at the ports of others',
  inWorld(async world => {
    await withNetwork(world)
    const seen = world.host.start('tcpdump', [
      '-lni',
      await portOf(world, 'bystander'),
      'arp or (ip and not ip multicast)',
    ])
    await seen.waitFor(/listening/, 10_000)
    await world.serve('web', ['-net', 'br', '-p', '8080:80'])
    const web = await world.addressOf('web')
    expect(await hints(world)).toContain(`${web} ${await macOf(world, 'web')}`)

    expect((await fetchAt(world, web)).body).toBe(pageOf('web', '10.60.0.1'))
    expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(200)
    await world.ok(['exec', 'web', 'ping', '-c', '1', '-W', '2', addresses.server])
    // The watch works: this one has to be asked for.
    await world.tsrun(['exec', 'web', 'ping', '-c', '1', '-W', '1', '10.60.0.77'])
    await seen.waitFor(/who-has 10\.60\.0\.77/, 10_000)
    const heard = seen
      .stdout()
      .split('\n')
      .filter(line => /who-has|IP /.test(line))
    expect(heard.filter(line => !line.includes('10.60.0.77'))).toEqual([])
    const inside = await world.ok(['exec', 'web', 'ip', 'neigh'])
    expect(inside).toMatch(/^10\.60\.0\.1 dev eth0 lladdr 02:42:/m)
  }),
)

test(
  'in both address families, on internal networks, and by live connection; gone with a stop, a kill, a disconnect and a failure',
  inWorld(async world => {
    await withNetwork(world, '--ipv6', '--subnet', 'fd60::/64', '--internal')
    const run = (name: string) => world.ok(['run', '-d', '--name', name, '-net', 'br', 'busybox', 'sleep', '1000'])
    const of = async (name: string) => {
      const [{ NetworkSettings }] = await world.json(['inspect', name])
      const { IPAddress, GlobalIPv6Address, MacAddress } = NetworkSettings.Networks.br
      return [`${IPAddress} ${MacAddress}`, `${GlobalIPv6Address} ${MacAddress}`]
    }
    const bystander = await of('bystander')
    await run('stopped')
    await run('killed')
    await world.ok(['run', '-d', '--name', 'moved', '-net', 'none', 'busybox', 'sleep', '1000'])
    await world.ok(['run', '-d', '--name', 'joins', 'busybox', 'sleep', '1000'])
    await world.ok(['network', 'connect', 'br', 'joins'])
    const all = [...bystander, ...(await of('stopped')), ...(await of('killed')), ...(await of('joins'))]
    expect((await hints(world)).sort()).toEqual(all.sort())

    await world.ok(['stop', '-t', '0', 'stopped'])
    await world.ok(['network', 'disconnect', 'br', 'joins'])
    const killed = (await world.json(['inspect', 'killed']))[0].State.Pid
    await world.host.sh(`kill -9 ${killed}`)
    const failed = ['run', '--name', 'failed', '-net', 'br', 'busybox', 'sh']
    await world.tsrun(failed, { env: { ...world.env, TSRUN_FAULT: 'tell neighbours:fail' } })
    await world.tsrun(['rm', '-f', 'failed'])
    await eventually('the hints of those that ended are gone', async () => (await hints(world)).length === 2)
    expect((await hints(world)).sort()).toEqual(bystander.sort())
  }),
)

test(
  'an address that comes to another container, with another MAC, is reached there at once',
  inWorld(async world => {
    await withNetwork(world)
    for (const mac of ['02:42:00:00:00:01', '02:42:00:00:00:02', '02:42:00:00:00:01']) {
      const name = `n${mac.slice(-1)}`
      await world.serve(name, ['-net', 'br', '--ip', '10.60.0.9', '--mac-address', mac])
      expect(await hints(world)).toContain(`10.60.0.9 ${mac}`)
      expect((await fetchAt(world, '10.60.0.9')).body).toBe(pageOf(name, '10.60.0.1'))
      await world.ok(['rm', '-f', name])
      expect((await hints(world)).filter(hint => hint.startsWith('10.60.0.9 '))).toEqual([])
    }
  }),
)

test(
  'a container that takes another MAC, or gives its address to another, is believed',
  inWorld(async world => {
    await withNetwork(world)
    await world.serve('web', ['-net', 'br', '--cap-add', 'NET_ADMIN'])
    await world.serve('heir', ['-net', 'br', '--cap-add', 'NET_ADMIN'])
    const web = await world.addressOf('web')
    const inside = (name: string, script: string) => world.ok(['exec', name, 'sh', '-c', script])
    expect((await fetchAt(world, web)).body).toBe(pageOf('web', '10.60.0.1'))

    // Within a second of the last word on an entry the kernel believes no other (locktime).
    await inside('web', 'sleep 2; ip link set eth0 down; ip link set eth0 address 02:42:99:99:99:99 up')
    await inside('web', 'ip route replace default via 10.60.0.1; ping -c 1 -W 2 10.60.0.1')
    await eventually('the host has noticed', async () => (await fetchAt(world, web)).status === 200, 30_000)
    expect(await hints(world)).toContain(`${web} 02:42:99:99:99:99`)

    await inside('web', `ip address del ${web}/24 dev eth0`)
    await inside('heir', `ip address add ${web}/24 dev eth0; arping -U -c 2 -I eth0 ${web}`)
    await eventually(
      'the host has noticed',
      async () => (await fetchAt(world, web)).body.startsWith('heir sees'),
      30_000,
    )
  }),
)

test(
  'a reload gives back what was lost, corrects what is wrong, and takes away what is nobody’s',
  inWorld(async world => {
    await withNetwork(world)
    await world.serve('web', ['-net', 'br'])
    const web = await world.addressOf('web')
    const [mac, port] = [await macOf(world, 'web'), await portOf(world, 'web')]
    const right = (await hints(world)).sort()
    const isKnown = async () =>
      (await world.host.exec('bridge', ['fdb', 'show', 'br', 'br'])).includes(`${mac} dev ${port}`)
    for (const damage of [
      `ip neighbour delete ${web} dev br`,
      `ip neighbour replace ${web} lladdr 02:00:00:00:00:99 dev br nud permanent`,
      `ip neighbour replace 10.60.0.200 lladdr 02:00:00:00:00:99 dev br nud stale extern_learn`,
      `bridge fdb delete ${mac} dev ${port} master`,
      'ip link delete dev br',
    ]) {
      await world.host.sh(damage)
      await world.ok(['network', 'reload', 'br'])
      expect((await hints(world)).sort(), damage).toEqual(right)
      expect(await isKnown(), damage).toBe(true)
      expect((await fetchAt(world, web)).status, damage).toBe(200)
    }
    // What is right is not made again.
    const told = (await world.tsrun(['network', 'reload', '--explain', 'br'])).stderr
    expect(told).not.toMatch(/neighbour|fdb/)
  }),
)

test(
  'explained as commands, and the container is served before it has sent a packet',
  inWorld(async world => {
    await withNetwork(world)
    const args = ['run', '-d', '--explain', '--name', 'web', '-net', 'br', 'busybox', 'sh', '-c', pageServer('web')]
    const { stderr } = await world.tsrun(args)
    const address = await world.addressOf('web')
    const mac = await macOf(world, 'web')
    expect(stderr).toContain(`ip neighbour replace ${address} lladdr ${mac} dev br nud stale extern_learn`)
    expect(stderr).toMatch(new RegExp(`bridge fdb replace ${mac} dev veth\\w+ master static`))
    expect(stderr).toMatch(/ip -n web neighbour replace 10\.60\.0\.1 lladdr \S+ dev eth0 nud stale extern_learn/)
    const { stderr: stop } = await world.tsrun(['rm', '-f', '--explain', 'web'])
    expect(stop).toContain(`ip neighbour delete ${address} dev br`)
  }),
)
