import { closeSync, openSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AF_NETLINK, connect, SOCK_RAW, send, socket } from '../../src/ffi/libc.ts'
import { setExplainer } from '../../src/kernel/explain.ts'
import { addressAdd, addressRemove, listAddresses } from '../../src/kernel/netlink/address.ts'
import { hostRoutes } from '../../src/kernel/netlink/host-routes.ts'
import { getLink, linkAddBridge, linkRemove, linkSet, listLinks } from '../../src/kernel/netlink/link.ts'
import { encodeMessage } from '../../src/kernel/netlink/message.ts'
import { defaultRouteMtu, listRoutes, routeAdd, routeRemove } from '../../src/kernel/netlink/route.ts'
import { listRules, ruleAdd, ruleRemove } from '../../src/kernel/netlink/rule.ts'
import { NetlinkError, NetlinkSocket } from '../../src/kernel/netlink/socket.ts'
import { linkAddVeth } from '../../src/kernel/netlink/veth.ts'
import { runInNetns } from '../../src/kernel/netns.ts'
import { ByteWriter } from '../../src/lib/bytes.ts'
import { describeInNetns, ipJson, linkNames, newBox, run } from './netlink-world.ts'

describeInNetns('netlink', () => {
  let host: NetlinkSocket
  beforeEach(() => {
    host = new NetlinkSocket()
  })
  afterEach(() => {
    host.close()
    setExplainer(undefined)
  })

  const indexOf = (name: string) => getLink(host, name)?.index ?? -1

  test('linkAddBridge() and linkSet() make what ip shows', () => {
    host.apply(linkAddBridge({ name: 'br', mac: '02:42:00:00:00:09' }))
    host.apply(linkSet('br', { alias: "it's ours", mtu: 1400, ipv6AddressMode: 'none', up: true }))

    expect(ipJson('link show dev br')).toMatchObject([
      {
        ifname: 'br',
        address: '02:42:00:00:00:09',
        ifalias: "it's ours",
        mtu: 1400,
        inet6_addr_gen_mode: 'none',
        linkinfo: { info_kind: 'bridge' },
      },
    ])
    expect(ipJson('link show dev br')[0].flags).toContain('UP')
  })

  test('linkAddVeth() makes the peer inside the other namespace and plugs its end into the bridge', () => {
    const box = newBox()
    host.apply(linkAddBridge({ name: 'br' }))

    const peer = { name: 'eth0', mac: '02:42:0a:09:00:02', mtu: 1400, netnsFd: box.fd, netnsLabel: 'web' }
    host.apply([
      linkAddVeth({ name: 'veth1', mtu: 1400, queues: 1, master: { index: indexOf('br'), name: 'br' }, peer }),
      linkSet('veth1', { alias: 'tsrun web/eth0', hairpin: true, ipv6AddressMode: 'none', up: true }),
    ])

    expect(ipJson('link show dev veth1')).toMatchObject([
      {
        master: 'br',
        mtu: 1400,
        ifalias: 'tsrun web/eth0',
        inet6_addr_gen_mode: 'none',
        num_tx_queues: 1,
        num_rx_queues: 1,
        linkinfo: { info_kind: 'veth', info_slave_kind: 'bridge', info_slave_data: { hairpin: true } },
      },
    ])
    expect(ipJson('link show dev eth0', box)).toMatchObject([
      { address: '02:42:0a:09:00:02', mtu: 1400, num_tx_queues: 1, linkinfo: { info_kind: 'veth' } },
    ])
  })

  test('addressAdd() and routeAdd() make what ip shows, in both families', () => {
    run('ip link add name d0 type bridge')
    const at = { index: indexOf('d0'), interfaceName: 'd0' }

    host.apply([
      addressAdd({ ...at, address: '10.9.0.2/24' }),
      addressAdd({ ...at, address: 'fd00:9::2/64' }),
      linkSet('d0', { up: true }),
      routeAdd({ ...at, destination: 'default', gateway: '10.9.0.1' }),
      routeAdd({ ...at, destination: 'default', gateway: 'fd00:9::1' }),
      routeAdd({ ...at, destination: '10.20.0.0/16', gateway: '10.9.0.1', metric: 50 }),
      routeAdd({ ...at, destination: '10.30.0.0/16' }),
    ])

    expect(ipJson('address show dev d0')[0].addr_info).toMatchObject([
      { local: '10.9.0.2', prefixlen: 24, broadcast: '10.9.0.255' },
      { local: 'fd00:9::2', prefixlen: 64, nodad: true },
      { scope: 'link' },
    ])
    expect(ipJson('-4 route show dev d0')).toMatchObject([
      { dst: 'default', gateway: '10.9.0.1', protocol: 'boot' },
      { dst: '10.9.0.0/24', protocol: 'kernel' },
      { dst: '10.20.0.0/16', gateway: '10.9.0.1', metric: 50 },
      { dst: '10.30.0.0/16', scope: 'link' },
    ])
    expect(ipJson('-6 route show default')).toMatchObject([{ dst: 'default', gateway: 'fd00:9::1', dev: 'd0' }])
  })

  test('addressRemove(), routeRemove() and linkRemove() take it away again', () => {
    run('ip link add name d0 up type bridge; ip address add 10.9.0.2/24 dev d0; ip route add 10.20.0.0/16 via 10.9.0.1')
    const at = { index: indexOf('d0'), interfaceName: 'd0' }

    host.apply(routeRemove({ ...at, destination: '10.20.0.0/16', gateway: '10.9.0.1' }))
    expect(ipJson('-4 route show dev d0')).toHaveLength(1)
    host.apply(addressRemove({ ...at, address: '10.9.0.2/24' }))
    expect(ipJson('-4 address show dev d0')).toEqual([])
    host.apply(linkRemove('d0'))
    expect(linkNames()).toEqual([])
  })

  test('ruleAdd() and a route in a table of its own make what ip shows, as the printed commands do, and go again', () => {
    host.apply(linkSet('lo', { up: true }))
    host.apply(linkAddBridge({ name: 'd0' }))
    host.apply(linkSet('d0', { up: true }))
    const at = { index: indexOf('d0'), interfaceName: 'd0', protocol: 84, table: 84002 }
    const specs = ['10.9.0.2/32', 'fd00:9::2/128'].map(source => ({
      source,
      table: 84002,
      priority: 8400,
      protocol: 84,
    }))
    const shown = () =>
      ['-4', '-6'].map(family => [ipJson(`${family} rule`), ipJson(`${family} route show table 84002`)])
    const changes = [
      routeAdd({ ...at, destination: '10.9.0.0/24' }),
      routeAdd({ ...at, destination: 'default', gateway: '10.9.0.1', onlink: true }),
      routeAdd({ ...at, destination: 'default', gateway: 'fd00:9::1', onlink: true }),
      ...specs.map(ruleAdd),
    ]
    host.apply(changes)
    const [[rules4, routes4] = [], [rules6, routes6] = []] = shown()

    expect(rules4).toContainEqual({ priority: 8400, src: '10.9.0.2', table: '84002', protocol: '84' })
    expect(rules6).toContainEqual({ priority: 8400, src: 'fd00:9::2', table: '84002', protocol: '84' })
    expect(routes4).toMatchObject([{ dst: 'default', gateway: '10.9.0.1' }, { dst: '10.9.0.0/24' }])
    expect(routes6).toMatchObject([{ dst: 'default', gateway: 'fd00:9::1', flags: ['onlink'] }])
    expect(listRules(host, 6)).toContainEqual({ ...specs[1], family: 6, isForAll: false })
    expect(listRoutes(host, 4, 84002)).toMatchObject([
      { gateway: '10.9.0.1', onlink: true },
      { destination: '10.9.0.0/24' },
    ])
    expect(listRoutes(host, 4)).toEqual([])
    expect(() => host.apply(changes.slice(3, 4))).toThrow(/cannot add rule for 10.9.0.2\/32.*EEXIST/)

    host.apply(specs.map(ruleRemove))
    expect(listRules(host, 4).map(rule => rule.priority)).toEqual([0, 32766, 32767])
    expect(listRules(host, 6).map(rule => rule.priority)).toEqual([0, 32766])
    for (const change of changes.slice(3)) run(`ip ${change.command()}`)
    expect(shown()).toEqual([
      [rules4, routes4],
      [rules6, routes6],
    ])
    expect(listRoutes(host, 4, 84003)).toEqual([])
  })

  test('the readers see what ip has made', () => {
    run(`ip link add name br address 02:42:00:00:00:08 type bridge; ip link set dev br mtu 1300 alias 'a b' up
      ip address add 10.9.0.1/24 dev br; ip address add fd00:9::1/64 dev br nodad; ip link add name d0 master br type veth peer name d1
      ip route add default via 10.9.0.7; ip route add 172.16.0.0/12 via 10.9.0.8; ip route add unreachable 10.50.0.0/16`)

    expect(getLink(host, 'br')).toMatchObject({
      name: 'br',
      mtu: 1300,
      up: true,
      mac: '02:42:00:00:00:08',
      alias: 'a b',
      kind: 'bridge',
      master: undefined,
    })
    expect(getLink(host, indexOf('br'))?.name).toBe('br')
    expect(getLink(host, 'nothing')).toBeUndefined()
    expect(listAddresses(host, indexOf('br'))).toEqual(expect.arrayContaining(['10.9.0.1/24', 'fd00:9::1/64']))
    expect(listAddresses(host, indexOf('d0'))).toEqual([])
    expect(listLinks(host, { master: indexOf('br') }).map(link => link.name)).toEqual(['d0'])
    expect(listLinks(host, { kind: 'bridge' }).map(link => link.name)).toEqual(['br'])
    expect(defaultRouteMtu(host)).toBe(1300)
    expect(hostRoutes(host)).toEqual([
      { subnet: '10.9.0.0/24', name: 'route 10.9.0.0/24 dev br' },
      { subnet: '172.16.0.0/12', name: 'route 172.16.0.0/12 dev br' },
      { subnet: 'fd00:9::/64', name: 'route fd00:9::/64 dev br' },
    ])
  })

  test('hostRoutes() sees the tables that all packets are looked up in, and addresses without a subnet', () => {
    const box = newBox()
    run(
      `ip link set lo up; ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up
      ip address add 10.9.0.1/24 dev d0; ip address add 10.8.0.7/32 dev lo
      for table in 51 52 53 54 70000; do ip route add 10.$((table % 256)).0.0/16 dev d0 table $table; done
      ip route add default dev d0 table 52
      ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup 51
      ip rule add pref 5270 lookup 52
      ip rule add pref 5280 iif d0 lookup 53
      ip rule add pref 5290 not from all fwmark 7 lookup 54
      ip rule add pref 5300 lookup 70000`,
      box,
    )

    const found = hostRoutes(box.socket).filter(({ subnet }) => !subnet.includes(':'))
    expect(found.map(({ name }) => name).sort()).toEqual([
      'address 10.8.0.7/32 dev lo',
      'route 10.112.0.0/16 dev d0 table 70000',
      'route 10.52.0.0/16 dev d0 table 52',
      'route 10.9.0.0/24 dev d0',
    ])
    expect(found.find(({ name }) => name.startsWith('address'))?.subnet).toBe('10.8.0.7/32')
  })

  test('a namespace without addresses has no routes', () => {
    const box = newBox()

    expect(listRoutes(box.socket, 4)).toEqual([])
    expect(hostRoutes(box.socket)).toEqual([])
    expect(defaultRouteMtu(box.socket)).toBeUndefined()
  })

  test('listLinks() reads an answer of many datagrams', () => {
    const box = newBox()
    // Not bridges: the end of a namespace removes those one by one, and holds up the whole machine for seconds.
    run(
      'i=0; while [ $i -lt 150 ]; do echo "link add name a$i type veth peer name b$i"; i=$((i+1)); done | ip -batch -',
      box,
    )

    expect(listLinks(box.socket).filter(link => link.kind === 'veth')).toHaveLength(300)
  })

  test('apply() throws the first error of a batch, with the kernel’s words, and tries the rest', () => {
    run('ip link add name d0 type bridge')
    const attempt = () =>
      host.apply([linkSet('d0', { mtu: 7 }), linkSet('nope', { up: true }), linkSet('d0', { up: true })])

    expect(attempt).toThrow(NetlinkError)
    expect(attempt).toThrow('cannot set link "d0": mtu less than device minimum (RTM_NEWLINK: EINVAL)')
    expect(ipJson('link show dev d0')[0].flags).toContain('UP')
    // The socket is in step afterwards.
    expect(getLink(host, 'd0')?.up).toBe(true)
  })

  test('apply() of nothing does nothing', () => {
    expect(() => host.apply([])).not.toThrow()
  })

  test('a closed socket refuses to work', () => {
    host.close()

    expect(() => host.apply(linkSet('lo', { up: true }))).toThrow('closed')
  })

  test('another process cannot send answers to the socket', () => {
    const box = newBox()
    getLink(box.socket, 'lo')
    const portId = run('cat /proc/net/netlink', box)
      .split('\n')
      .map(line => line.trim().split(/\s+/))
      .find(([, protocol, pid]) => protocol === '0' && pid !== '0')?.[2]
    const fd = runInNetns(box.fd, () => socket(AF_NETLINK, SOCK_RAW, 0))

    connect(fd, new ByteWriter(16).u16(AF_NETLINK).u16(0).u32(Number(portId)).u32(0).finish())

    expect(() => send(fd, encodeMessage(2, 0, 1, Buffer.alloc(20)))).toThrow('ECONNREFUSED')
    closeSync(fd)
  })

  test('what --explain prints builds the same when pasted into a shell', () => {
    const commands: string[] = []
    const label = `tsrun-test-${process.pid}`
    const box = newBox(label)
    setExplainer(command => void commands.push(command))
    build(host, box)
    setExplainer(undefined)
    const made = picture(box)
    host.apply(linkRemove('veth1'))
    host.apply(linkRemove('br'))

    run(`ip netns add ${label}`)
    const pasted = { fd: openSync(`/run/netns/${label}`, 'r') }
    try {
      run(commands.join('\n'))
      expect(picture(pasted)).toEqual(made)
    } finally {
      run(`ip netns delete ${label}`)
      closeSync(pasted.fd)
    }
  })

  function build(socket: NetlinkSocket, box: ReturnType<typeof newBox>): void {
    socket.apply(linkAddBridge({ name: 'br', mac: '02:42:00:00:00:09' }))
    const br = { index: indexOf('br'), name: 'br', interfaceName: 'br' }
    socket.apply([
      linkSet('br', { alias: "tsrun network 'x' $y", mtu: 1400, ipv6AddressMode: 'none' }),
      addressAdd({ ...br, address: '10.9.0.1/24' }),
      addressAdd({ ...br, address: 'fd00:9::1/64' }),
      linkSet('br', { up: true }),
    ])
    const peer = {
      name: 'eth0',
      mac: '02:42:0a:09:00:02',
      mtu: 1400,
      netnsFd: box.fd,
      netnsLabel: box.socket.label ?? '',
    }
    socket.apply([
      linkAddVeth({ name: 'veth1', mtu: 1400, queues: 1, master: br, peer }),
      linkSet('veth1', { alias: 'tsrun web/eth0', hairpin: true, ipv6AddressMode: 'none', up: true }),
    ])
    box.socket.apply([linkSet('lo', { up: true }), linkSet('eth0', { up: true })])
    const eth = { index: getLink(box.socket, 'eth0')?.index ?? -1, interfaceName: 'eth0' }
    box.socket.apply([
      addressAdd({ ...eth, address: '10.9.0.2/24' }),
      addressAdd({ ...eth, address: 'fd00:9::2/64' }),
      routeAdd({ ...eth, destination: 'default', gateway: '10.9.0.1' }),
      routeAdd({ ...eth, destination: 'default', gateway: 'fd00:9::1' }),
    ])
  }

  /** What ip shows of both ends, without numbers and states that differ from one time to the next. */
  function picture(box: { readonly fd: number }): unknown {
    // biome-ignore lint/suspicious/noExplicitAny: foreign JSON
    const plain = (links: any[]) =>
      links
        .filter(link => ['lo', 'br', 'veth1', 'eth0'].includes(link.ifname))
        .map(link => ({
          name: link.ifname,
          mtu: link.mtu,
          master: link.master,
          alias: link.ifalias,
          mac: link.ifname === 'veth1' ? '' : link.address,
          mode: link.inet6_addr_gen_mode,
          queues: [link.num_tx_queues, link.num_rx_queues],
          up: link.flags.includes('UP'),
          kind: link.linkinfo?.info_kind,
          hairpin: link.linkinfo?.info_slave_data?.hairpin,
          addresses: link.addr_info
            // biome-ignore lint/suspicious/noExplicitAny: foreign JSON
            .filter((info: any) => info.scope !== 'link')
            // biome-ignore lint/suspicious/noExplicitAny: foreign JSON
            .map((info: any) => [info.local, info.prefixlen, info.broadcast, info.nodad]),
        }))
    const routes = (family: string) =>
      ipJson(`${family} route show`, box)
        .filter(route => !String(route.dst).startsWith('fe80'))
        .map(route => [route.dst, route.gateway, route.dev, route.protocol, route.metric])
    return {
      host: plain(ipJson('address show')),
      box: plain(ipJson('address show', box)),
      v4: routes('-4'),
      v6: routes('-6'),
    }
  }
})
