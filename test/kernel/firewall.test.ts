// The firewall driver against real packets. Witnesses are curl, nft, iptables and the servers' view of their clients.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Running } from '../helpers/command.ts'
import type { Namespace } from '../helpers/namespace.ts'
import { fetchFrom, makeEndpoint, makeNetwork, makeWorld, publishedPort, type World } from './firewall-world.ts'

const front = makeNetwork(0)
const back = makeNetwork(1)
let world: World

beforeAll(async () => {
  world = await makeWorld('main')
})

afterAll(async () => {
  await world?.remove()
})

afterEach(async () => {
  await world.agent.call('removeNetwork', { network: front, others: [back] })
  await world.agent.call('removeNetwork', { network: back, others: [] })
  await world.agent.call('engine', { engineId: 'tsrun' })
  // `table ip filter` may stay where iptables-nft made it.
  const tables = (await world.host.nftJson()).filter(object => object.table?.name?.startsWith('tsrun'))
  expect(tables).toEqual([])
})

/** Prints the datagrams that come to port 9999. */
async function listen(namespace: Namespace): Promise<Running> {
  const script = `require('node:dgram').createSocket('udp4')
    .on('message', m => console.log('got ' + m)).bind(9999, () => console.log('ready'))`
  const running = namespace.start(process.execPath, ['-e', script])
  await running.waitFor(/ready/)
  return running
}

async function send(from: Namespace, address: string, text: string, port = 9999): Promise<void> {
  const script = `const s = require('node:dgram').createSocket('udp4'); s.send('${text}', ${port}, '${address}', () => s.close())`
  await from.exec(process.execPath, ['-e', script])
}

/** Both networks, and container `web` with its port 8000 published. */
async function publishWeb(hostIp = '0.0.0.0', hostPort = 80) {
  const ports = [publishedPort(hostPort, 8000, hostIp)]
  const endpoint = makeEndpoint(
    front,
    'web',
    2,
    hostIp === '0.0.0.0' ? [...ports, publishedPort(hostPort, 8000, '::')] : ports,
  )
  await world.agent.call('addNetwork', { network: front })
  await world.agent.call('addNetwork', { network: back })
  await world.agent.call('addEndpoint', { network: front, endpoint })
  return endpoint
}

describe.each([0, 1])('with bridge-nf-call-iptables=%i', bridgeNf => {
  beforeAll(async () => {
    await world.host.sh(`
      sysctl -qw net.bridge.bridge-nf-call-iptables=${bridgeNf} net.bridge.bridge-nf-call-ip6tables=${bridgeNf}`)
  })

  test('a port published on all addresses is reached from everywhere, and sees outside clients as they are', async () => {
    await publishWeb()
    const { host, outside, neighbour, web, peer, other } = world

    expect(await fetchFrom(outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
    expect(await fetchFrom(neighbour, 'http://192.0.2.1/')).toBe('web saw 192.0.2.3')
    expect(await fetchFrom(host, 'http://198.51.100.1/')).toBe('web saw 198.51.100.1')
    expect(await fetchFrom(host, 'http://127.0.0.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(host, 'http://10.210.0.2:8000/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(web, 'http://198.51.100.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(web, 'http://10.210.0.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(peer, 'http://198.51.100.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(other, 'http://198.51.100.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(peer, 'http://10.210.0.2:8000/')).toBe('web saw 10.210.0.3')
  })

  test('the same over IPv6, except for the loopback address', async () => {
    await publishWeb()
    const { host, outside, neighbour, web, peer, other } = world

    expect(await fetchFrom(outside, 'http://[2001:db8:1::1]/')).toBe('web saw 2001:db8:1::2')
    expect(await fetchFrom(neighbour, 'http://[2001:db8:2::1]/')).toBe('web saw 2001:db8:2::3')
    expect(await fetchFrom(host, 'http://[2001:db8:1::1]/')).toBe('web saw 2001:db8:1::1')
    expect(await fetchFrom(host, 'http://[::1]/')).toBe('refused')
    expect(await fetchFrom(web, 'http://[2001:db8:1::1]/')).toBe('web saw fd00::1')
    expect(await fetchFrom(peer, 'http://[2001:db8:1::1]/')).toBe('web saw fd00::1')
    expect(await fetchFrom(other, 'http://[2001:db8:1::1]/')).toBe('web saw fd00::1')
    expect(await fetchFrom(peer, 'http://[fd00::2]:8000/')).toBe('web saw fd00::3')
    expect(await fetchFrom(web, 'http://[2001:db8:1::2]:8000/')).toBe('outside saw 2001:db8:1::1')
    expect(await fetchFrom(neighbour, 'http://[fd00::2]:8000/')).toBe('timeout')
    expect(await fetchFrom(neighbour, 'http://[fd00::1]/')).toBe('timeout')
    expect(await fetchFrom(other, 'http://[fd00::2]:8000/')).toBe('timeout')
  })

  test('containers go out under the address of the host', async () => {
    await publishWeb()
    expect(await fetchFrom(world.web, 'http://198.51.100.2:8000/')).toBe('outside saw 198.51.100.1')
  })

  test('networks do not reach each other, nor does a neighbour who routes to the container', async () => {
    await publishWeb()
    expect(await fetchFrom(world.other, 'http://10.210.0.2:8000/')).toBe('timeout')
    expect(await fetchFrom(world.neighbour, 'http://10.210.0.2:8000/')).toBe('timeout')
    expect(await fetchFrom(world.neighbour, 'http://10.210.0.3:8000/')).toBe('timeout')
    expect(await fetchFrom(world.neighbour, 'http://10.210.0.1/')).toBe('timeout')
  })

  test('not a single datagram leaves an internal network or enters it through a rule of somebody else', async () => {
    const { host, outside, web } = world
    await world.agent.call('addNetwork', { network: makeNetwork(0, { internal: true }) })
    const listener = await listen(outside)
    await send(web, '198.51.100.2', 'secret')
    await send(outside, '198.51.100.2', 'own')
    await listener.waitFor(/got own/)
    expect(listener.output()).not.toContain('secret')
    listener.kill()

    const inside = await listen(web)
    const rule = 'udp dport 99 dnat to 10.210.0.2:9999'
    await host.sh(`nft 'table ip somebody { chain pre { type nat hook prerouting priority -110; ${rule}; }; }'`)
    try {
      await send(outside, '198.51.100.1', 'intruder', 99)
      await send(host, '10.210.0.2', 'own')
      await inside.waitFor(/got own/)
      expect(inside.output()).not.toContain('intruder')
    } finally {
      inside.kill()
      await host.exec('nft', ['delete table ip somebody'])
    }
  })

  test('an internal network talks to itself and the gateway alone', async () => {
    const internal = makeNetwork(0, { internal: true })
    await world.agent.call('addNetwork', { network: internal })
    await world.agent.call('addNetwork', { network: back })
    await world.agent.call('addEndpoint', {
      network: back,
      endpoint: makeEndpoint(back, 'other', 2, [publishedPort(80, 8000)]),
    })

    expect(await fetchFrom(world.peer, 'http://10.210.0.2:8000/')).toBe('web saw 10.210.0.3')
    expect(await fetchFrom(world.host, 'http://10.210.0.2:8000/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(world.web, 'http://198.51.100.2:8000/')).toBe('timeout')
    expect(await fetchFrom(world.web, 'http://10.210.1.2:8000/')).toBe('timeout')
    expect(await fetchFrom(world.web, 'http://198.51.100.1/')).toBe('timeout')
    expect(await fetchFrom(world.other, 'http://10.210.0.2:8000/')).toBe('timeout')
    const answer = await world.agent.try('addEndpoint', {
      network: internal,
      endpoint: makeEndpoint(internal, 'web', 2, [publishedPort(81, 8000)]),
    })
    expect(answer.error?.message).toBe('cannot publish 0.0.0.0:81/tcp for "web": network "net0" is internal')
  })

  test('a port published on 127.0.0.1 is for the host alone, whatever frames a neighbour forges', async () => {
    await publishWeb('127.0.0.1')
    const { host, neighbour, peer } = world
    expect(await fetchFrom(host, 'http://127.0.0.1/')).toBe('web saw 10.210.0.1')
    expect(await fetchFrom(host, 'http://192.0.2.1/')).toBe('refused')
    expect(await fetchFrom(neighbour, 'http://192.0.2.1/')).toBe('refused')
    expect(await fetchFrom(peer, 'http://10.210.0.1/')).toBe('refused')

    await host.sh('sysctl -qw net.ipv4.conf.all.route_localnet=1')
    // A machine whose own 127.0.0.0/8 lies behind the host sends to 127.0.0.1 on the wire.
    await neighbour.sh(`sysctl -qw net.ipv4.conf.all.route_localnet=1
      ip rule del pref 0; ip rule add pref 1 lookup 99; ip rule add pref 2 lookup local`)
    try {
      expect(await fetchFrom(neighbour, 'http://127.0.0.1/')).toBe('timeout')
    } finally {
      await neighbour.sh('ip rule add pref 0 lookup local; ip rule del pref 1; ip rule del pref 2')
      await host.sh('sysctl -qw net.ipv4.conf.all.route_localnet=0')
    }
  })

  test('a port published on one address is not there on the others', async () => {
    await publishWeb('192.0.2.1')
    expect(await fetchFrom(world.neighbour, 'http://192.0.2.1/')).toBe('web saw 192.0.2.3')
    expect(await fetchFrom(world.outside, 'http://192.0.2.1/')).toMatch(/^curl failed|timeout|refused/)
    expect(await fetchFrom(world.outside, 'http://198.51.100.1/')).toBe('refused')
    expect(await fetchFrom(world.host, 'http://127.0.0.1/')).toBe('refused')
  })

  test.each(['nft', 'legacy'])(
    'a FORWARD policy of DROP set with iptables-%s stays, and our traffic passes',
    async kind => {
      const { host, outside, web, other, neighbour } = world
      const before = await host.sh(
        `iptables-${kind} -P FORWARD DROP; ip6tables-${kind} -P FORWARD DROP; iptables-${kind} -S`,
      )
      try {
        await publishWeb()
        await world.agent.call('addNetwork', { network: front })
        const rules = await host.sh(`iptables-${kind} -S FORWARD`)
        expect(rules).toContain('-P FORWARD DROP')
        expect(rules.match(/--mark 0x2000000\/0x2000000/g)).toHaveLength(1)
        expect(await fetchFrom(outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
        expect(await fetchFrom(outside, 'http://[2001:db8:1::1]/')).toBe('web saw 2001:db8:1::2')
        expect(await fetchFrom(web, 'http://198.51.100.2:8000/')).toBe('outside saw 198.51.100.1')
        expect(await fetchFrom(web, 'http://198.51.100.1/')).toBe('web saw 10.210.0.1')
        expect(await fetchFrom(other, 'http://10.210.0.2:8000/')).toBe('timeout')
        expect(await fetchFrom(neighbour, 'http://198.51.100.2:8000/')).toMatch(/^curl failed|timeout|refused/)

        await world.agent.call('removeNetwork', { network: front, others: [back] })
        expect(await host.sh(`iptables-${kind} -S FORWARD`)).toContain('--mark 0x2000000/0x2000000')
        await world.agent.call('removeNetwork', { network: back, others: [] })
        expect(await host.sh(`iptables-${kind} -S`)).toBe(before)
      } finally {
        await host.sh(`iptables-${kind} -P FORWARD ACCEPT; ip6tables-${kind} -P FORWARD ACCEPT`)
      }
    },
  )
})

describe('published ports', () => {
  test('of 500 come in one transaction and go in one', async () => {
    await world.agent.call('addNetwork', { network: front })
    const ports = Array.from({ length: 500 }, (_, i) => publishedPort(20000 + i, 8000))
    const endpoint = makeEndpoint(front, 'web', 2, ports)
    const added = await world.agent.call('addEndpoint', { network: front, endpoint })
    expect(await fetchFrom(world.outside, 'http://198.51.100.1:20499/')).toBe('web saw 198.51.100.2')
    const removed = await world.agent.call('removeEndpoint', { network: front, endpoint })
    expect(await fetchFrom(world.outside, 'http://198.51.100.1:20499/')).toBe('refused')
    console.log(
      `500 ports: added in ${added.milliseconds.toFixed(2)} ms, removed in ${removed.milliseconds.toFixed(2)} ms`,
    )
  })

  test.each([
    ['0.0.0.0', '0.0.0.0'],
    ['0.0.0.0', '192.0.2.1'],
    ['192.0.2.1', '0.0.0.0'],
    ['192.0.2.1', '192.0.2.1'],
  ])('on %s clash with %s, and the first one goes on', async (first, second) => {
    const endpoint = await publishWeb(first)
    const before = await world.host.nftJson()
    const rival = makeEndpoint(front, 'rival', 3, [publishedPort(81, 8000), publishedPort(80, 8000, second)])
    const answer = await world.agent.try('addEndpoint', { network: front, endpoint: rival })
    expect(answer.error).toMatchObject({
      code: 'port-taken',
      message: `cannot publish ${second}:80/tcp for "rival": the port is published by container "web"`,
    })
    expect(await world.host.nftJson()).toEqual(before)
    expect(await fetchFrom(world.neighbour, 'http://192.0.2.1/')).toBe('web saw 192.0.2.3')

    await world.agent.call('removeEndpoint', { network: front, endpoint })
    await world.agent.call('addEndpoint', { network: front, endpoint: rival })
    expect(await fetchFrom(world.neighbour, 'http://192.0.2.1/')).toBe('peer saw 192.0.2.3')
  })

  test('on two single addresses agree, and hold off 0.0.0.0 until both are gone', async () => {
    const web = await publishWeb('192.0.2.1')
    const peer = makeEndpoint(front, 'peer', 3, [publishedPort(80, 8000, '198.51.100.1')])
    const all = makeEndpoint(back, 'other', 2, [publishedPort(80, 8000)])
    await world.agent.call('addEndpoint', { network: front, endpoint: peer })
    expect(await fetchFrom(world.neighbour, 'http://192.0.2.1/')).toBe('web saw 192.0.2.3')
    expect(await fetchFrom(world.outside, 'http://198.51.100.1/')).toBe('peer saw 198.51.100.2')
    await world.agent.call('removeEndpoint', { network: front, endpoint: web })
    expect((await world.agent.try('addEndpoint', { network: back, endpoint: all })).error?.message).toMatch(/"peer"$/)
    await world.agent.call('removeEndpoint', { network: front, endpoint: peer })
    await world.agent.call('addEndpoint', { network: back, endpoint: all })
    expect(await fetchFrom(world.outside, 'http://198.51.100.1/')).toBe('other saw 198.51.100.2')
  })

  test('given twice in one container are refused', async () => {
    await world.agent.call('addNetwork', { network: front })
    const endpoint = makeEndpoint(front, 'web', 2, [publishedPort(80, 8000), publishedPort(80, 8001)])
    const answer = await world.agent.try('addEndpoint', { network: front, endpoint })
    expect(answer.error?.message).toBe('cannot publish 0.0.0.0:80/tcp for "web": the port is given twice')
  })

  test('of a successor survive a second removal of the predecessor', async () => {
    const endpoint = await publishWeb()
    await world.agent.call('removeEndpoint', { network: front, endpoint })
    const successor = makeEndpoint(front, 'web', 2, endpoint.ports)
    await world.agent.call('addEndpoint', { network: front, endpoint: successor })
    await world.agent.call('removeEndpoint', { network: front, endpoint })
    expect(await fetchFrom(world.outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
  })

  test('of an earlier life of the container are replaced, and are withdrawn by whoever knows only its id', async () => {
    const { host, outside, neighbour, agent } = world
    await agent.call('addNetwork', { network: front })
    const before = await host.nftJson()
    const first = makeEndpoint(front, 'web', 2, [publishedPort(80, 8000, '192.0.2.1'), publishedPort(90, 8000)])
    const second = { ...first, addresses: ['10.210.0.3/24'], ports: [publishedPort(90, 8000), publishedPort(91, 8000)] }
    await agent.call('addEndpoint', { network: front, endpoint: first })
    await agent.call('addEndpoint', { network: front, endpoint: second })
    expect(await fetchFrom(outside, 'http://198.51.100.1:90/')).toBe('peer saw 198.51.100.2')
    expect(await fetchFrom(outside, 'http://198.51.100.1:91/')).toBe('peer saw 198.51.100.2')
    expect(await fetchFrom(neighbour, 'http://192.0.2.1/')).toBe('refused')
    await agent.call('addEndpoint', { network: front, endpoint: second })
    await agent.call('removeEndpoint', { network: front, endpoint: { ...first, addresses: ['', '10.210.0.3'] } })
    expect(await host.nftJson()).toEqual(before)
  })

  test('are exchanged in one transaction that leaves those in both untouched', async () => {
    const { host, outside, agent } = world
    await agent.call('addNetwork', { network: front })
    const before = await host.nftJson()
    const ports = [publishedPort(80, 8000), publishedPort(81, 8000), publishedPort(90, 8000, '192.0.2.1')]
    const first = makeEndpoint(front, 'web', 2, ports)
    const rival = makeEndpoint(front, 'peer', 3, [publishedPort(99, 8000)])
    const second = { ...first, ports: [publishedPort(80, 8000), publishedPort(82, 8000), publishedPort(90, 8000)] }
    await agent.call('addEndpoint', { network: front, endpoint: first })
    await agent.call('addEndpoint', { network: front, endpoint: rival })
    const monitor = host.start('nft', ['monitor'])
    // Its first line shows that it listens.
    await eventually('nft monitor listens', async () => {
      await host.exec('nft', ['add table inet ready; delete table inet ready'])
      return monitor.stdout().includes('delete table inet ready')
    })
    const heard = monitor.stdout().length
    await agent.call('addEndpoint', { network: front, endpoint: second })
    await host.exec('nft', ['add table inet done; delete table inet done'])
    await monitor.waitFor(/delete table inet done/)
    monitor.kill()
    const [transaction, ...others] = monitor
      .stdout()
      .slice(heard)
      .split(/# new generation.*\n/)
      .filter(text => /tcp/.test(text))
    expect(others).toEqual([])
    expect(transaction).toMatch(/delete element inet tsrun any4 .*tcp \. 81\b/)
    expect(transaction).toMatch(/create element inet tsrun any4 .*tcp \. 82\b/)
    expect(transaction).not.toMatch(/tcp \. 80\b/)
    expect(await fetchFrom(outside, 'http://198.51.100.1:90/')).toBe('web saw 198.51.100.2')

    const clash = { ...first, ports: [publishedPort(83, 8000), publishedPort(99, 8000)] }
    const answer = await agent.try('addEndpoint', { network: front, endpoint: clash })
    expect(answer.error?.message).toMatch(/cannot publish 0\.0\.0\.0:99\/tcp .* published by container "peer"/)
    expect(await fetchFrom(outside, 'http://198.51.100.1:82/')).toBe('web saw 198.51.100.2')
    await agent.call('removeEndpoint', { network: front, endpoint: second })
    await agent.call('removeEndpoint', { network: front, endpoint: rival })
    expect(await host.nftJson()).toEqual(before)
  })

  test('of one container on two networks are published beside each other', async () => {
    const { host, outside, neighbour, agent } = world
    await agent.call('addNetwork', { network: front })
    await agent.call('addNetwork', { network: back })
    const before = await host.nftJson()
    const id = (half: string) => 'c'.repeat(32) + half.repeat(32)
    const one = { ...makeEndpoint(front, 'web', 2, [publishedPort(80, 8000, '198.51.100.1')]), id: id('a') }
    const two = { ...makeEndpoint(back, 'web', 2, [publishedPort(80, 8000, '192.0.2.1')]), id: id('b') }
    const any = makeEndpoint(front, 'peer', 3, [publishedPort(80, 8000)])
    await agent.call('addEndpoint', { network: front, endpoint: one })
    await agent.call('addEndpoint', { network: back, endpoint: two })
    expect(await fetchFrom(outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
    expect(await fetchFrom(neighbour, 'http://192.0.2.1/')).toBe('other saw 192.0.2.3')
    await agent.call('removeEndpoint', { network: front, endpoint: one })
    expect((await agent.try('addEndpoint', { network: front, endpoint: any })).error?.code).toBe('port-taken')
    await agent.call('removeEndpoint', { network: back, endpoint: two })
    expect(await host.nftJson()).toEqual(before)
  })

  test('can be withdrawn after somebody deleted one of them by hand', async () => {
    await world.agent.call('addNetwork', { network: front })
    const endpoint = makeEndpoint(front, 'web', 2, [publishedPort(80, 8000), publishedPort(81, 8000)])
    const before = await world.host.nftJson()
    await world.agent.call('addEndpoint', { network: front, endpoint })
    await world.host.exec('nft', ['delete element inet tsrun any4 { tcp . 80 }'])
    await world.agent.call('removeEndpoint', { network: front, endpoint })
    expect(await world.host.nftJson()).toEqual(before)
  })

  test('over UDP lead to the new container at once, for clients that began before', async () => {
    await world.agent.call('addNetwork', { network: front })
    const port = { protocol: 'udp', hostIp: '0.0.0.0', hostPort: 53, containerPort: 8000 } as const
    const client = world.outside.start(process.execPath, [
      '-e',
      `const s = require('node:dgram').createSocket('udp4')
       s.on('message', m => console.log(String(m))).bind(4444)
       let n = 0
       setInterval(() => s.send(String(n++), 53, '198.51.100.1'), 50)`,
    ])
    await new Promise(resolve => setTimeout(resolve, 300))
    const web = makeEndpoint(front, 'web', 2, [port])
    await world.agent.call('addEndpoint', { network: front, endpoint: web })
    await client.waitFor(/web saw 198.51.100.2/)
    await world.agent.call('removeEndpoint', { network: front, endpoint: web })
    await world.agent.call('addEndpoint', { network: front, endpoint: makeEndpoint(front, 'peer', 3, [port]) })
    await client.waitFor(/peer saw 198.51.100.2/)
    client.kill()
  })
})

/** What bridges of others there are is looked up each time, and not undone. */
function withoutStrangers(ruleset: readonly { readonly set?: { readonly name: string } }[]): unknown[] {
  return ruleset.filter(({ set }) => set?.name !== 'strangers')
}

describe('the rules', () => {
  test('are made anew with everything in them after a flush', async () => {
    const { host, outside, agent } = world
    const endpoint = await publishWeb()
    const before = await host.exec('nft', ['list', 'table', 'inet', 'tsrun'])
    await host.exec('nft', ['flush', 'ruleset'])
    const later = makeEndpoint(front, 'peer', 3, [publishedPort(81, 8000)])
    await agent.call('addEndpoint', { network: front, endpoint: later })
    expect(await fetchFrom(outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
    expect(await fetchFrom(outside, 'http://198.51.100.1:81/')).toBe('peer saw 198.51.100.2')
    await agent.call('removeEndpoint', { network: front, endpoint: later })
    expect(await host.exec('nft', ['list', 'table', 'inet', 'tsrun'])).toBe(before)

    await host.exec('nft', ['flush', 'ruleset'])
    await agent.call('removeEndpoint', { network: front, endpoint })
    await agent.call('removeNetwork', { network: front, others: [back] })
  })

  test('of a reload are those of before, without what nobody owns', async () => {
    const endpoint = await publishWeb()
    const before = await world.host.exec('nft', ['list', 'ruleset'])
    await world.host.exec('nft', ['add element inet tsrun any4 { tcp . 99 : 10.210.0.9 . 99 }'])
    await world.agent.call('reload')
    expect(await world.host.exec('nft', ['list', 'ruleset'])).toBe(before)
    await world.agent.call('removeEndpoint', { network: front, endpoint })
  })

  test('leave what the host sends to itself alone', async () => {
    const { host } = world
    await publishWeb()
    const { body } = await host.curl('http://192.0.2.1:8000/', { from: '10.210.0.1' })
    expect(body).toBe('host saw 10.210.0.1')
  })

  test('leave the rule set as it was when all networks are gone', async () => {
    await world.host.exec('nft', ['add table inet somebody'])
    const before = await world.host.nftJson()
    const endpoint = await publishWeb()
    await world.agent.call('removeEndpoint', { network: front, endpoint })
    await world.agent.call('removeNetwork', { network: front, others: [back] })
    await world.agent.call('removeNetwork', { network: back, others: [] })
    expect(await world.host.nftJson()).toEqual(before)
    await world.agent.call('removeNetwork', { network: back, others: [] })
    await world.host.exec('nft', ['delete table inet somebody'])
  })

  test('of a network that was just added are undone, those of one that stood stay', async () => {
    await world.agent.call('addNetwork', { network: front })
    const before = withoutStrangers(await world.host.nftJson())
    await world.agent.call('addNetwork', { network: back })
    await world.agent.call('undo')
    expect(withoutStrangers(await world.host.nftJson())).toEqual(before)
    await world.agent.call('addNetwork', { network: front })
    await world.agent.call('undo')
    expect(withoutStrangers(await world.host.nftJson())).toEqual(before)
  })

  test.each([
    ['a policy of drop', 'policy drop;', 'ct state established accept'],
    ['a final reject', 'policy accept;', 'ct state established accept; reject with icmpx admin-prohibited'],
  ])('find %s in an nftables chain of somebody else', async (_, policy, rules) => {
    const { host, outside, web } = world
    await host.sh(
      `nft 'table inet fw { chain strict { type filter hook forward priority filter + 10; ${policy} ${rules}; }; }'`,
    )
    try {
      await publishWeb()
      expect(await fetchFrom(outside, 'http://198.51.100.1/')).toBe('web saw 198.51.100.2')
      expect(await fetchFrom(web, 'http://198.51.100.2:8000/')).toBe('outside saw 198.51.100.1')
    } finally {
      await host.exec('nft', ['delete table inet fw'])
    }
  })

  test('of another engine keep the shared accept rule', async () => {
    const { host, agent } = world
    await host.sh('iptables-nft -P FORWARD DROP')
    try {
      await agent.call('addNetwork', { network: front })
      await agent.call('engine', { engineId: 'tsrun-00c0ffee' })
      await agent.call('addNetwork', { network: back })
      expect((await host.sh('iptables-nft -S FORWARD')).match(/--mark/g)).toHaveLength(1)
      await agent.call('removeNetwork', { network: back, others: [] })
      expect((await host.sh('iptables-nft -S FORWARD')).match(/--mark/g)).toHaveLength(1)
      await agent.call('engine', { engineId: 'tsrun' })
      await agent.call('removeNetwork', { network: front, others: [] })
      expect(await host.sh('iptables-nft -S FORWARD')).not.toContain('--mark')
    } finally {
      await host.sh('iptables-nft -P FORWARD ACCEPT')
    }
  })

  test('can be typed as explained', async () => {
    const { host, agent } = world
    const calls = [
      await agent.call('addNetwork', { network: front }),
      await agent.call('addEndpoint', {
        network: front,
        endpoint: makeEndpoint(front, 'web', 2, [publishedPort(80, 8000, '127.0.0.1')]),
      }),
    ]
    const ours = await host.exec('nft', ['list', 'table', 'inet', 'tsrun'])
    await host.exec('nft', ['flush', 'ruleset'])
    for (const command of calls.flatMap(call => call.explained)) await host.sh(command)
    expect(await host.exec('nft', ['list', 'table', 'inet', 'tsrun'])).toBe(ours)
  })
})
