// Networks with more containers than a bridge holds, paths with a smaller MTU, and settings of the host that change meanwhile.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { addresses, inWorld, type World } from '../helpers/world.ts'

/** Takes ports of a bridge until it has `left` of its 1023, by pairs of veths that are all plugged in. */
async function fillBridge(world: World, bridge: string, left: number): Promise<void> {
  const taken = (await world.host.ipJson('link', 'show', 'master', bridge)).length
  const count = 1023 - taken - left
  const file = join(world.dir, 'batch')
  const lines = Array.from({ length: Math.ceil(count / 2) }, (_, i) => {
    const second = 2 * i + 1 < count ? ` master ${bridge}` : ''
    return `link add ${bridge}${i}a group 999 master ${bridge} type veth peer name ${bridge}${i}b\n${second === '' ? '' : `link set ${bridge}${i}b${second}\n`}`
  })
  writeFileSync(file, lines.join(''))
  await world.host.exec('ip', ['-batch', file], { timeoutMs: 60_000 })
}

test(
  'a network takes more containers than one bridge has ports: they reach each other, the outside, and are reached',
  inWorld(async world => {
    const { host, outside } = world
    await host.sh('echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables')
    await world.rebase()
    await world.ok(['network', 'create', '--subnet', '10.80.0.0/20', 'big'])
    await world.ok(['network', 'create', '-o', 'icc=false', 'strict'])
    await world.serve('first', ['--network', 'big', '-p', '8001:80'])
    await world.serve('lonely', ['--network', 'strict'])
    await fillBridge(world, 'big', 0)
    await fillBridge(world, 'strict', 0)

    await world.serve('second', ['--network', 'big', '-p', '8002:80'])
    await world.serve('third', ['--network', 'big'])
    await world.serve('apart', ['--network', 'strict', '-p', '8003:80'])

    const from = async (container: string, url: string) =>
      (await world.tsrun(['exec', container, 'timeout', '2', 'wget', '-q', '-O', '-', url])).stdout
    const [first, second] = [await world.addressOf('first'), await world.addressOf('second')]
    const check = async () => {
      expect(await from('first', `http://${second}/`)).toMatch(/^second sees/)
      expect(await from('second', `http://${first}/`)).toMatch(/^first sees/)
      expect(await from('third', `http://${second}/`)).toMatch(/^second sees/)
      for (const port of [8001, 8002, 8003])
        expect((await outside.curl(`http://${addresses.host}:${port}/`, { from: addresses.client })).status).toBe(200)
      const pings = ['second', 'apart'].map(name =>
        world.tsrun(['exec', name, 'ping', '-c', '1', '-W', '1', addresses.server]),
      )
      expect((await Promise.all(pings)).map(({ code }) => code)).toEqual([0, 0])
      const kept = [
        from('lonely', `http://${await world.addressOf('apart')}/`),
        from('apart', `http://${await world.addressOf('lonely')}/`),
        from('apart', `http://${first}/`),
      ]
      expect(await Promise.all(kept)).toEqual(['', '', ''])
    }
    await check()
    expect(await from('first', `http://${addresses.host}:8002/`)).toMatch(/^second sees/)
    expect(await from('second', `http://${addresses.host}:8002/`)).toMatch(/^second sees/)
    const bridges = (await host.ipJson('link', 'show', 'type', 'bridge')).length
    expect(bridges).toBe(4)
    const [{ Kernel }] = await world.json(['network', 'inspect', 'big'])
    expect(Kernel.furtherInterfaces).toHaveLength(1)

    // With bridged frames in the packet filter, and after somebody deleted the further bridge.
    await host.sh(
      `echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; ip link delete dev ${Kernel.furtherInterfaces[0]}`,
    )
    await world.ok(['network', 'reload'])
    await check()
    await host.sh('echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; ip link delete group 999')
  }),
)

test(
  'MSS follows a path that is smaller than the network, both ways: no message that a router might lose is needed',
  inWorld(async world => {
    const { host, outside } = world
    const page = 'head -c 1000000 /dev/zero > $0/big; exec httpd -f -p 80 -h $0'
    await world.ok(['run', '-d', '--name', 'web', '-p', '8080:80', 'busybox', 'sh', '-c', page, '/tmp'])
    outside.start('busybox', ['sh', '-c', page, world.dir])
    // What is agreed on with a larger segment size never arrives: so is a tunnel whose messages are filtered.
    const limit = (bytes: number) =>
      outside.sh(`nft 'add table ip tunnel; delete table ip tunnel; add table ip tunnel
        add chain ip tunnel in { type filter hook prerouting priority -400; }
        add rule ip tunnel in tcp option maxseg size > ${bytes} drop'`)
    const bothWays = async () => {
      const script = `wget -q -O - http://${addresses.server}/big | wc -c`
      const down = world.tsrun(['exec', 'web', 'timeout', '5', 'sh', '-c', script])
      const up = outside.sh(`curl -s --max-time 5 http://${addresses.host}:8080/big | wc -c`)
      return [(await down).stdout.trim(), (await up).trim()]
    }
    expect(await bothWays()).toEqual(['1000000', '1000000'])

    await host.sh('ip link set eth0 mtu 1300')
    await limit(1260)
    expect(await bothWays()).toEqual(['1000000', '1000000'])

    await host.sh(`ip link set eth0 mtu 1500; ip route change default via ${addresses.router} mtu lock 1200
      ip route add 198.51.100.1/32 dev eth0 mtu lock 1200; ip route flush cache`)
    await limit(1160)
    expect(await bothWays()).toEqual(['1000000', '1000000'])
    await host.sh(`ip route change default via ${addresses.router}; ip route del 198.51.100.1/32 dev eth0`)
  }),
)

test.each(['bridge', 'ptp', 'macvlan'])('an MTU that is too small for IPv6 carries IPv4, with driver %s', driver =>
  inWorld(async world => {
    const parent = driver === 'macvlan' ? ['-o', 'parent=eth0'] : []
    await world.ok(['network', 'create', '-d', driver, '--subnet', '10.68.0.0/24', '-o', 'mtu=576', ...parent, 'small'])
    await world.serve('a', ['--network', 'small'])
    await world.serve('b', ['--network', 'small'])

    const to = await world.addressOf('b')
    expect(await world.ok(['exec', 'a', 'cat', '/sys/class/net/eth0/mtu'])).toBe('576')
    expect(await world.ok(['exec', 'a', 'ping', '-c', '1', '-s', '2000', '-W', '2', to])).toContain(
      '1 packets received',
    )
    expect(await world.ok(['exec', 'a', 'wget', '-q', '-O', '-', `http://${to}/`])).toMatch(/^b sees/)
    await world.ok(['network', 'reload'])
  })(),
)

test(
  'the MTU comes from the way out, and the option decides',
  inWorld(async world => {
    await world.host.sh('ip link set eth0 mtu 1400')
    await world.ok(['network', 'create', 'taken'])
    await world.ok(['network', 'create', '-o', 'com.docker.network.driver.mtu=1350', 'given'])
    const mtuOn = (network: string) =>
      world.ok(['run', '--rm', '--network', network, 'busybox', 'cat', '/sys/class/net/eth0/mtu'])

    expect(await Promise.all([mtuOn('taken'), mtuOn('given')])).toEqual(['1400', '1350'])
    const links = await world.host.ipJson('link', 'show', 'type', 'bridge')
    expect(links.map(({ mtu }) => mtu).sort()).toEqual([1350, 1400])
    await world.host.sh('ip link set eth0 mtu 1500')
  }),
)

test(
  'strict reverse path filters and forwarding that is set off meanwhile are no obstacle',
  inWorld(async world => {
    const { host, outside } = world
    await host.sh('for name in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$name/rp_filter; done')
    await world.rebase()
    await world.ok(['network', 'create', 'one'])
    await world.ok(['network', 'create', 'two'])
    await world.serve('web', ['--network', 'one', '--network', 'two', '-p', '8080:80'])
    await host.sh('echo 0 > /proc/sys/net/ipv4/ip_forward')
    await world.ok(['run', '--rm', '--network', 'two', 'busybox', 'true'])

    expect((await outside.curl(`http://${addresses.host}:8080/`)).status).toBe(200)
    // The host reaches both ends, and each answers through its own interface or the other.
    for (const network of ['one', 'two'])
      expect((await host.curl(`http://${await world.addressOf('web', network)}/`)).status).toBe(200)
    expect((await host.sh('cat /proc/sys/net/ipv4/conf/eth0/rp_filter')).trim()).toBe('1')
  }),
)
