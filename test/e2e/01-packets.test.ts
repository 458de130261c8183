// Packets: who reaches a published port, and what a container reaches. Each row of `hosts` is a host with another
// history of firewalls and settings; on all of them the same must hold.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { addresses, pageOf, pageServer, World } from '../helpers/world.ts'

const bridgeNf = (value: number) => `
  for name in iptables ip6tables; do echo ${value} > /proc/sys/net/bridge/bridge-nf-call-$name; done`

const hosts: [string, string][] = [
  ['that nobody has touched: no forwarding, no firewall', 'test "$(cat /proc/sys/net/ipv4/ip_forward)" = 0'],
  ['with bridge-nf-call-iptables 1', bridgeNf(1)],
  ['with bridge-nf-call-iptables 0', bridgeNf(0)],
  ['whose FORWARD policy is DROP (iptables-nft)', `iptables-nft -P FORWARD DROP; ${bridgeNf(1)}`],
  ['whose FORWARD policy is DROP (iptables-nft), bridge-nf-call 0', `iptables-nft -P FORWARD DROP; ${bridgeNf(0)}`],
  ['whose FORWARD policy is DROP (iptables-legacy)', `iptables-legacy -P FORWARD DROP; ${bridgeNf(1)}`],
  [
    'whose FORWARD policy is DROP (iptables-legacy), bridge-nf-call 0',
    `iptables-legacy -P FORWARD DROP; ${bridgeNf(0)}`,
  ],
  [
    'where Docker lives',
    `echo 1 > /proc/sys/net/ipv4/ip_forward; ${bridgeNf(1)}
     iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN
     iptables-nft -N DOCKER; iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -o docker0 -j DOCKER
     iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`,
  ],
  [
    'with an nftables table that drops what it forwards',
    "nft 'add table inet filter; add chain inet filter forward { type filter hook forward priority 0; policy drop; }'",
  ],
  [
    'with strict reverse path filtering',
    'for name in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$name/rp_filter; done',
  ],
]

describe.each(hosts)('on a host %s', (_, prepare) => {
  let world: World
  let webAddress: string

  const inside = async (container: string, url: string) => {
    const { stdout } = await world.tsrun(['exec', container, 'timeout', '1', 'wget', '-q', '-O', '-', url])
    return stdout
  }
  const pingFrom = async (container: string, address: string) => {
    const { code } = await world.tsrun(['exec', container, 'ping', '-c', '3', '-i', '0.2', '-A', '-W', '1', address])
    return code === 0
  }

  beforeAll(async () => {
    world = await World.create()
    await world.host.sh(prepare)
    await world.rebase()
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
    await world.ok(['network', 'create', '--subnet', '10.99.0.0/24', 'other'])
    await world.serve('web', ['-net', 'br', '-p', '80:80', '-p', '127.0.0.1:8081:80'])
    await world.serve('peer', ['-net', 'br'])
    await world.serve('stranger', ['-net', 'other'])
    webAddress = await world.addressOf('web')
    world.outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/outside`)])
    await eventually('the outside serves', async () => (await world.outside.curl('http://127.0.0.1/')).status === 200)
  })
  afterAll(() => world?.dispose({ leakCheck: false }))

  test('the page comes from the own address of the host', async () => {
    const page = await world.host.curl(`http://${addresses.host}/`)

    expect(page.body).toMatch(/^web sees /)
  })

  test('the page comes from 127.0.0.1', async () => {
    expect((await world.host.curl('http://127.0.0.1/')).body).toMatch(/^web sees /)
  })

  test('the page comes from localhost by name', async () => {
    expect((await world.host.curl('http://localhost/')).body).toMatch(/^web sees /)
  })

  test('the host reaches the address of the container', async () => {
    expect((await world.host.curl(`http://${webAddress}/`)).body).toMatch(/^web sees /)
  })

  test('another container on the network gets the page, from its own address', async () => {
    expect(await inside('peer', `http://${webAddress}/`)).toBe(pageOf('web', await world.addressOf('peer')))
  })

  test('another container on the network gets the page through the address of the host', async () => {
    expect(await inside('peer', `http://${addresses.host}/`)).toMatch(/^web sees /)
  })

  test('a container of another network gets the page through the address of the host', async () => {
    expect(await inside('stranger', `http://${addresses.host}/`)).toMatch(/^web sees /)
  })

  test('the container itself gets the page through the address of the host (hairpin)', async () => {
    expect(await inside('web', `http://${addresses.host}/`)).toMatch(/^web sees /)
  })

  test('the outside gets the page and keeps its source address, in the log of the server too', async () => {
    const page = await world.outside.curl(`http://${addresses.host}/`, { from: addresses.client })

    expect(page.body).toBe(pageOf('web', addresses.client))
    const log = await world.tsrun(['logs', 'web'])
    expect(log.stdout + log.stderr).toContain(addresses.client)
  })

  test('a neighbour on the LAN gets the page and keeps its source address', async () => {
    const page = await world.neighbour.curl(`http://${addresses.host}/`)

    expect(page.body).toBe(pageOf('web', addresses.neighbour))
  })

  test('a container reaches its gateway', async () => {
    expect(await pingFrom('web', '192.168.0.1')).toBe(true)
  })

  test('a container reaches a peer', async () => {
    expect(await pingFrom('web', await world.addressOf('peer'))).toBe(true)
    expect(await inside('web', `http://${await world.addressOf('peer')}/`)).toBe(pageOf('peer', webAddress))
  })

  test('a container reaches the outside, which sees the address of the host', async () => {
    expect(await inside('web', `http://${addresses.server}/`)).toBe(pageOf('outside', addresses.host))
    expect(await pingFrom('stranger', addresses.server)).toBe(true)
  })

  test('two networks do not reach the containers of each other', async () => {
    const strangerAddress = await world.addressOf('stranger')
    expect(
      await Promise.all([
        inside('stranger', `http://${webAddress}/`),
        inside('web', `http://${strangerAddress}/`),
        pingFrom('stranger', webAddress),
      ]),
    ).toEqual(['', '', false])
  })

  test('nobody outside reaches a container by its own address', async () => {
    await world.outside.sh(`ip route replace 192.168.0.0/24 via ${addresses.host}`)
    await world.neighbour.sh(`ip route replace 192.168.0.0/24 via ${addresses.host}`)

    const pages = await Promise.all(
      [world.outside, world.neighbour].map(machine => machine.curl(`http://${webAddress}/`, { timeoutSeconds: 1 })),
    )
    expect(pages.map(({ status }) => status)).toEqual([0, 0])
  })

  test('a port of 127.0.0.1 answers there and nowhere else', async () => {
    expect((await world.host.curl('http://127.0.0.1:8081/')).body).toMatch(/^web sees /)
    expect((await world.host.curl(`http://${addresses.host}:8081/`)).status).toBe(0)
    expect((await world.outside.curl(`http://${addresses.host}:8081/`)).status).toBe(0)
    expect((await world.neighbour.curl(`http://${addresses.host}:8081/`)).status).toBe(0)
  })

  test('a neighbour who forges packets to 127.0.0.1 does not reach a port of 127.0.0.1', async () => {
    await world.neighbour.sh(`
      echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
      ip address del 127.0.0.1/8 dev lo 2>/dev/null || true
      ip route replace 127.0.0.1 via ${addresses.host} dev eth0`)
    const witness = world.host.start('tcpdump', ['-lni', 'eth0', 'dst host 127.0.0.1 and tcp port 8081'])
    await witness.waitFor(/listening on/)

    const page = await world.neighbour.curl('http://127.0.0.1:8081/', { from: addresses.neighbour, timeoutSeconds: 1 })

    expect(page.status).toBe(0)
    // The packets did come this far.
    await witness.waitFor(/127\.0\.0\.1\.8081/)
  })

  test('after rm -f nobody answers on the port', async () => {
    await world.ok(['rm', '-f', 'web'])

    expect((await world.host.curl('http://127.0.0.1/')).status).toBe(0)
    expect((await world.outside.curl(`http://${addresses.host}/`)).status).toBe(0)
  })

  test('after all is removed, the firewall is what it was', async () => {
    expect(await world.leakCheck()).toEqual([])
  })
})
