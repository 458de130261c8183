// The options of bridge networks, each proved by packets, with bridged frames passing the host's packet filter and without.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, pageOf, pageServer, World } from '../helpers/world.ts'

describe.each([0, 1])('with bridge-nf-call-iptables %i', value => {
  let world: World
  const address: Record<string, string> = {}

  const from = async (container: string, url: string) => {
    const { stdout } = await world.tsrun(['exec', container, 'timeout', '1', 'wget', '-q', '-O', '-', url])
    return stdout
  }
  const create = (name: string, ...options: string[]) =>
    world.ok([
      'network',
      'create',
      ...options.flatMap(option => (option.startsWith('-') ? [option] : ['-o', option])),
      name,
    ])
  /** The page of the server outside, which names who has asked. */
  const outsideSees = async (container: string) => (await from(container, `http://${addresses.server}/`)).trim()

  /** What the setting makes no difference to. */
  const testOnce = (title: string, task: () => Promise<void>) => {
    if (value === 0) test(title, task)
  }

  beforeAll(async () => {
    world = await World.create()
    const { host, outside } = world
    await host.sh(`for name in iptables ip6tables; do echo ${value} > /proc/sys/net/bridge/bridge-nf-call-$name; done
      ip address add 198.51.100.11/24 dev eth0`)
    await world.rebase()
    await create('apart', 'com.docker.network.bridge.enable_icc=false', '--ipv6')
    await create('open1', 'isolate=false')
    await create('open2', 'isolate=false')
    await create('closed')
    await world.ok(['network', 'create', '--subnet', '10.77.0.0/24', '-o', 'mode=routed', 'routed'])
    await create('bare', 'com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected')
    await create('keep', 'masquerade=false')
    await create('fixed', 'com.docker.network.host_ipv4=198.51.100.11')
    await create('nohairpin', 'hairpin=false')
    const servers: [string, ...string[]][] = [
      ['web', '--network', 'apart', '-p', '8001:80'],
      ['peer', '--network', 'apart'],
      ['one', '--network', 'open1'],
      ['two', '--network', 'open2'],
      ['shut', '--network', 'closed'],
      ['far', '--network', 'routed', '-p', '8002:80'],
      ['hidden', '--network', 'routed'],
      ['naked', '--network', 'bare'],
      ['kept', '--network', 'keep'],
      ['snat', '--network', 'fixed'],
      ['flat', '--network', 'nohairpin', '-p', '8003:80'],
    ]
    const needed = value === 0 ? servers : servers.filter(([name]) => ['web', 'peer', 'shut', 'flat'].includes(name))
    for (const [name, ...flags] of needed) {
      await world.serve(name, flags)
      address[name] = await world.addressOf(name)
    }
    await outside.sh(`ip route add 10.0.0.0/8 via ${addresses.host}`)
    outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/outside`)])
    await eventually('the outside serves', async () => (await outside.curl('http://127.0.0.1/')).status === 200)
  })
  afterAll(() => world?.dispose({ leakCheck: false }))

  test('icc=false: containers of the network do not reach each other, by neither IP version, nor by ARP', async () => {
    const [{ NetworkSettings }] = await world.json(['inspect', 'web'])
    const v6 = NetworkSettings.Networks.apart.GlobalIPv6Address

    const arping = world.tsrun(['exec', 'peer', 'arping', '-c', '2', '-w', '1', '-I', 'eth0', address.web ?? ''])
    expect(await Promise.all([from('peer', `http://${address.web}/`), from('peer', `http://[${v6}]/`)])).toEqual([
      '',
      '',
    ])
    expect((await arping).stdout).toContain('Received 0')
    // A route through the gateway is no way round it.
    const sneak = `ip route add ${address.web} via ${gatewayOf(address.web)}; timeout 1 wget -q -O - http://${address.web}/`
    expect((await world.tsrun(['exec', '--privileged', 'peer', 'sh', '-c', sneak])).stdout).toBe('')
    await world.tsrun(['exec', '--privileged', 'peer', 'ip', 'route', 'del', address.web ?? ''])
  })

  test('icc=false: the gateway, the world outside, and published ports are reached as ever', async () => {
    // Often enough for neighbours to be known: br_netfilter takes another way then.
    for (let i = 0; i < 3; i++) {
      expect(await from('peer', `http://${addresses.host}:8001/`)).toMatch(/^web sees /)
      expect(await from('web', `http://${addresses.host}:8001/`)).toMatch(/^web sees /)
    }
    expect(await outsideSees('peer')).toBe(`outside sees ${addresses.host}`)
    expect((await world.host.curl(`http://${address.web}/`)).body).toMatch(/^web sees /)
    expect((await world.outside.curl(`http://${addresses.host}:8001/`, { from: addresses.client })).body).toBe(
      pageOf('web', addresses.client),
    )
  })

  testOnce('isolate=false: two networks that both say so reach each other, and no other does', async () => {
    expect(await from('one', `http://${address.two}/`)).toBe(pageOf('two', address.one ?? ''))
    expect(await from('two', `http://${address.one}/`)).toBe(pageOf('one', address.two ?? ''))
    const refused = [
      from('shut', `http://${address.one}/`),
      from('one', `http://${address.shut}/`),
      from('one', `http://${address.peer}/`),
    ]
    expect(await Promise.all(refused)).toEqual(['', '', ''])
  })

  testOnce(
    'mode=routed: own addresses on the way out, and published ports are open on them; the others stay shut',
    async () => {
      expect(await outsideSees('far')).toBe(`outside sees ${address.far}`)
      expect((await world.outside.curl(`http://${address.far}/`, { from: addresses.client })).body).toBe(
        pageOf('far', addresses.client),
      )
      expect(await world.outside.ping(address.far ?? '')).toBe(true)
      const unpublished = world.outside.curl(`http://${address.hidden}/`, { timeoutSeconds: 1 })
      expect(await from('shut', `http://${address.hidden}/`)).toBe('')
      expect((await unpublished).status).toBe(0)
      expect((await world.outside.curl(`http://${addresses.host}:8002/`)).body).toMatch(/^far sees /)
    },
  )

  testOnce('mode=nat-unprotected: whoever has a route reaches every port, and packets leave as the host', async () => {
    expect((await world.outside.curl(`http://${address.naked}/`, { from: addresses.client })).body).toBe(
      pageOf('naked', addresses.client),
    )
    expect(await outsideSees('naked')).toBe(`outside sees ${addresses.host}`)
    expect((await world.outside.curl(`http://${address.one}/`, { timeoutSeconds: 1 })).status).toBe(0)
  })

  testOnce('masquerade: off, or another address of the host', async () => {
    expect(await outsideSees('kept')).toBe(`outside sees ${address.kept}`)
    expect(await outsideSees('snat')).toBe('outside sees 198.51.100.11')
    const inwards = world.outside.curl(`http://${address.kept}/`, { timeoutSeconds: 1 })
    expect(await world.outside.ping(address.kept ?? '')).toBe(false)
    expect((await inwards).status).toBe(0)
  })

  test('hairpin=false: containers of the network do not reach its ports through the host, everybody else does', async () => {
    expect(await from('flat', `http://${addresses.host}:8003/`)).toBe('')
    expect(await from('shut', `http://${addresses.host}:8003/`)).toMatch(/^flat sees /)
    expect((await world.host.curl('http://127.0.0.1:8003/')).body).toMatch(/^flat sees /)
  })

  testOnce('the rules of icc=false go with the last network that needs them', async () => {
    const tables = async () => (await world.host.sh('nft list tables')).includes('table bridge')
    expect(await tables()).toBe(true)
    await world.ok(['rm', '-f', 'web', 'peer'])
    await world.ok(['network', 'rm', 'apart'])
    expect(await tables()).toBe(false)
  })
})

test(
  'host-binding, publish-mode=proxy and interface-prefix are defaults of a network that `run` can override',
  inWorld(async world => {
    const { host, outside } = world
    await world.ok(['network', 'create', '-o', 'host-binding=127.0.0.1', '-o', 'interface-prefix=net', 'local'])
    await world.ok(['network', 'create', '-o', 'publish-mode=proxy', 'guarded'])
    await world.serve('here', ['--network', 'local', '-p', '8001:80', '-p', `${addresses.host}:8002:80`])
    await world.serve('proxied', ['--network', 'guarded', '-p', '8003:80'])
    await world.serve('nat', ['--network', 'guarded', '--publish-mode', 'nat', '-p', '8004:80'])
    await world.serve('flag', ['--publish-mode=proxy', '-p', '8005:80'])
    const answers = async (port: number) =>
      (await outside.curl(`http://${addresses.host}:${port}/`, { timeoutSeconds: 1 })).status

    expect(await world.ok(['exec', 'here', 'ls', '/sys/class/net'])).toContain('net0')
    expect((await host.curl('http://127.0.0.1:8001/')).status).toBe(200)
    expect(await answers(8001)).toBe(0)
    expect(await answers(8002)).toBe(200)
    expect([await answers(8003), await answers(8004), await answers(8005)]).toEqual([200, 200, 200])

    // What a host's own firewall does; a port that the kernel translates never comes by there.
    await host.sh('iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT')
    expect(await Promise.all([8003, 8004, 8005].map(answers))).toEqual([0, 200, 0])
    await host.sh(
      'iptables-nft -I INPUT -p tcp --dport 8003 -j ACCEPT; iptables-nft -I INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT',
    )
    expect(await Promise.all([8003, 8005].map(answers))).toEqual([200, 0])
    await host.sh('nft delete table ip filter')

    const clash = await world.tsrun(['run', '--rm', '--publish-mode', 'proxy', '-p', '8003:80', 'busybox', 'true'])
    expectError(clash, 125, /8003.*(published by|in use)/)
    await world.ok(['rm', '-f', 'proxied'])
    expect(await answers(8003)).toBe(0)
  }),
)

test(
  'vlan puts the bridge and its containers into a VLAN, or says what the kernel lacks',
  inWorld(async world => {
    await world.host.exec('ip', ['link', 'add', 'name', 'trial', 'type', 'bridge'])
    const trial = await world.host.tryExec('ip', [
      'link',
      'set',
      'dev',
      'trial',
      'type',
      'bridge',
      'vlan_filtering',
      '1',
    ])
    await world.host.exec('ip', ['link', 'delete', 'dev', 'trial'])

    const created = await world.tsrun(['network', 'create', '-o', 'vlan=10', '--subnet', '192.168.0.0/24', 'tagged'])

    if (trial.code !== 0) {
      expectError(created, 1, /the kernel has no VLANs in bridges\n {2}hint: .*CONFIG_BRIDGE_VLAN_FILTERING/)
      expect(await world.host.ipJson('link', 'show', 'type', 'bridge')).toEqual([])
      return
    }
    expect(created.code).toBe(0)
    await world.serve('web', ['--network', 'tagged'])
    const vlans = JSON.parse(await world.host.exec('bridge', ['-j', 'vlan', 'show']))
    expect(vlans.flatMap((port: { vlans: { vlan: number }[] }) => port.vlans.map(each => each.vlan))).toEqual([10, 10])
    expect((await world.host.curl(`http://${await world.addressOf('web')}/`)).status).toBe(200)
  }),
)

describe('insane options', () => {
  const refused: [string, string[], RegExp][] = [
    ['an unknown one', ['-o', 'colour=red'], /unknown option "colour"/],
    ['an icc that is neither', ['-o', 'icc=maybe'], /"maybe" is no value of "icc"/],
    ['an unknown mode', ['-o', 'mode=bridge'], /"bridge" is no value of "mode"[\s\S]*nat-unprotected/],
    ['no address', ['-o', 'masquerade=300.1.1.1'], /"300.1.1.1" is no value of "masquerade"/],
    ['two of one family', ['-o', 'masquerade=192.0.2.1,192.0.2.2'], /two addresses of one family/],
    ['an IPv6 one without IPv6', ['-o', 'masquerade=2001:db8::1'], /the network has none/],
    ['no address at all', ['-o', 'masquerade=0.0.0.0'], /no address to leave under/],
    ['on and an address', ['-o', 'masquerade=true', '-o', 'com.docker.network.host_ipv4=192.0.2.1'], /given twice/],
    ['a binding that is none', ['-o', 'host-binding=everywhere'], /no value of "host-binding"/],
    ['a prefix that ends in a digit', ['-o', 'interface-prefix=eth1'], /cannot begin interface names/],
    ['a prefix with a slash', ['-o', 'interface-prefix=a/b'], /cannot begin interface names/],
    ['no VLAN', ['-o', 'vlan=4095'], /"4095" is no VLAN/],
    ['no IP version', ['--ipv4=false'], /no IPv4, and no IPv6/],
    [
      'an IPv4 subnet without IPv4',
      ['--ipv4=false', '--ipv6', '--subnet', '10.3.0.0/24'],
      /an IPv4 subnet, and no IPv4/,
    ],
  ]

  test(
    'are refused, and nothing is made',
    inWorld(async world => {
      for (const [, flags, message] of refused) {
        const result = await world.tsrun(['network', 'create', ...flags, 'bad'])
        expect(result).toMatchObject({ stdout: '', code: 1 })
        expect(result.stderr).toMatch(message)
      }
      expect(await world.ok(['network', 'ls', '-q'])).toBe('')
      expectError(await world.tsrun(['run', '--publish-mode', 'magic', 'busybox', 'true']), 125, /--publish-mode/)
    }),
  )
})

function gatewayOf(address = ''): string {
  return address.replace(/\d+$/, '1')
}
