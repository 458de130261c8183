import { closeSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bridgeMac, endpointInterfaceName } from '../../src/drivers/network/bridge-names.ts'
import { NetworkDrivers } from '../../src/drivers/network/registry.ts'
import { setExplainer } from '../../src/kernel/explain.ts'
import { createNetns } from '../../src/kernel/netns.ts'
import { Undo, withRollback } from '../../src/lib/rollback.ts'
import type { Endpoint, Network, NetworkDriver } from '../../src/model/network.ts'
import { describeInNetns, ipJson, linkNames, memoryState, newBox, openDescriptors, run } from './netlink-world.ts'

const sysctl = (name: string, box?: { readonly fd: number }) => run(`cat /proc/sys/net/${name}`, box).trim()
const networkId = 'ab12cd34ef56'.padEnd(64, '0')

function networkOf(changes: Partial<Network> = {}): Network {
  return {
    id: networkId,
    name: 'br',
    driver: 'bridge',
    pools: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1' }],
    internal: false,
    labels: {},
    options: {},
    createdAt: '2026-01-01T00:00:00Z',
    ...changes,
  }
}

function endpointOf(n: number, changes: Partial<Endpoint> = {}): Endpoint {
  const id = n.toString(16).padStart(10, '0').padEnd(64, '0')
  return {
    id,
    networkId,
    containerId: id,
    containerName: `web${n}`,
    hostInterface: endpointInterfaceName(id),
    containerInterface: 'eth0',
    mac: `02:42:0a:09:00:${n.toString(16).padStart(2, '0')}`,
    addresses: [`10.9.0.${n}/24`],
    gateways: ['10.9.0.1'],
    ports: [],
    ...changes,
  }
}

describeInNetns('bridge driver', () => {
  let state: ReturnType<typeof memoryState>
  let driver: NetworkDriver
  let descriptors: number

  beforeEach(async () => {
    state = memoryState()
    driver = await new NetworkDrivers({
      engineId: 'tsrun',
      hostState: state,
      endpoints: () => [],
      stateDirectory: '/x',
      driverDirectory: '/x',
    }).get('bridge')
    descriptors = openDescriptors()
  })
  afterEach(() => {
    setExplainer(undefined)
  })

  const made = async (changes: Partial<Network> = {}) => {
    const network = driver.validate(networkOf(changes))
    await withRollback(undo => driver.create(network, undo))
    return network
  }

  test('validate() names the interface like the network and takes the default MTU', () => {
    expect(driver.validate(networkOf())).toMatchObject({ hostInterface: 'br', options: { mtu: '1500' } })
    expect(driver.validate(networkOf({ name: 'bridge' })).hostInterface).toBe('tsrun0')
  })

  test.each(['a-name-of-more-than-15', 'lo', 'all', 'default', '.', 'with space'])(
    'validate() takes an interface name of its own for a network called "%s"',
    name => {
      expect(driver.validate(networkOf({ name })).hostInterface).toBe('br-ab12cd34ef56')
    },
  )

  test('validate() takes the MTU of the way out', () => {
    run(`ip link add name up0 type bridge; ip link set dev up0 mtu 1380 up; ip address add 192.0.2.2/24 dev up0
      ip route add default via 192.0.2.1`)

    expect(driver.validate(networkOf()).options).toEqual({ mtu: '1380' })
  })

  test('validate() refuses the interface of somebody else, and never touches it', async () => {
    run('ip link add name br type bridge')

    expect(() => driver.validate(networkOf())).toThrow(
      'cannot create network "br": the interface "br" exists and is not tsrun\'s',
    )
    expect(() => driver.validate(networkOf({ name: 'x', options: { bridge: 'br' } }))).toThrow('is not tsrun')
    await expect(driver.create({ ...networkOf(), hostInterface: 'br' }, new Undo())).rejects.toMatchObject({
      kind: 'conflict',
    })
    await driver.remove({ ...networkOf(), hostInterface: 'br' })
    expect(linkNames()).toEqual(['br'])
    expect(ipJson('link show dev br')[0].ifalias).toBeUndefined()
  })

  test('validate() gives way to the bridge of another tsrun engine', async () => {
    run("ip link add name br type bridge; ip link set dev br alias 'tsrun-0a1b2c3d network br 001122334455'")

    expect(driver.validate(networkOf()).hostInterface).toBe('br-ab12cd34ef56')
  })

  test.each([
    [{ nonsense: '1' }, 'unknown option "nonsense"'],
    [{ mtu: '67' }, '"67" is no MTU'],
    [{ mtu: '65536' }, '"65536" is no MTU'],
    [{ mtu: '15e2' }, '"15e2" is no MTU'],
    [{ bridge: 'a/b' }, '"a/b" is no interface name'],
    [{ bridge: '..' }, '".." is no interface name'],
  ])('validate() refuses the options %j', (options, message) => {
    expect(() => driver.validate(networkOf({ options: options as Record<string, string> }))).toThrow(message)
  })

  test('validate() knows docker’s option names', () => {
    const options = { 'com.docker.network.bridge.name': 'mybr', 'com.docker.network.driver.mtu': '1400' }

    expect(driver.validate(networkOf({ options }))).toMatchObject({
      hostInterface: 'mybr',
      options: { bridge: 'mybr', mtu: '1400' },
    })
  })

  test('validate() wants 1280 bytes for IPv6', () => {
    const pools = [{ subnet: 'fd00:9::/64', gateway: 'fd00:9::1' }]

    expect(() => driver.validate(networkOf({ pools, options: { mtu: '1279' } }))).toThrow('"1279" is no MTU')
  })

  test('create() makes a marked bridge with a pinned MAC, the gateway, and forwarding', async () => {
    await made({ options: { mtu: '1400' } })

    const [link] = ipJson('address show dev br')
    expect(link).toMatchObject({
      mtu: 1400,
      ifalias: 'tsrun network br ab12cd34ef56',
      address: bridgeMac({ id: networkId }),
      addr_info: [{ local: '10.9.0.1', prefixlen: 24, broadcast: '10.9.0.255' }],
    })
    expect(ipJson('link show dev br')[0].inet6_addr_gen_mode).toBe('none')
    expect(link.flags).toContain('UP')
    expect(sysctl('ipv4/ip_forward')).toBe('1')
    expect(sysctl('ipv4/conf/br/route_localnet')).toBe('1')
    expect(sysctl('ipv6/conf/br/accept_ra')).toBe('0')
    expect(sysctl('ipv6/conf/all/forwarding')).toBe('0')
    expect(openDescriptors()).toBe(descriptors)
  })

  test('create() makes both families', async () => {
    await made({
      pools: [
        { subnet: '10.9.0.0/24', gateway: '10.9.0.1' },
        { subnet: 'fd00:9::/64', gateway: 'fd00:9::1' },
      ],
    })

    expect(ipJson('-6 address show dev br')[0].addr_info[0]).toMatchObject({ local: 'fd00:9::1', nodad: true })
    expect(sysctl('ipv6/conf/all/forwarding')).toBe('1')
  })

  test('create() heals what has been changed, and only that', async () => {
    const network = await made()
    run('ip link set dev br down mtu 1300 alias x; ip address flush dev br; echo 0 >/proc/sys/net/ipv4/ip_forward')
    run(`ip link set dev br alias 'tsrun network old-name ab12cd34ef56'`)
    await driver.create(network, new Undo())
    const commands: string[] = []
    setExplainer(command => void commands.push(command))

    await driver.create(network, new Undo())

    expect(commands).toEqual([])
    expect(ipJson('address show dev br')[0]).toMatchObject({
      mtu: 1500,
      ifalias: 'tsrun network br ab12cd34ef56',
      addr_info: [{ local: '10.9.0.1' }],
    })
    expect(ipJson('link show dev br')[0].flags).toContain('UP')
    expect(sysctl('ipv4/ip_forward')).toBe('1')
  })

  test('create() adopts a bridge whose maker died before it was marked', async () => {
    run(`ip link add name br address ${bridgeMac({ id: networkId })} type bridge`)

    await made()

    expect(ipJson('link show dev br')[0].ifalias).toBe('tsrun network br ab12cd34ef56')
  })

  test('an internal network turns no forwarding on', async () => {
    await made({ internal: true })

    expect(sysctl('ipv4/ip_forward')).toBe('0')
  })

  test('connect() joins a sandbox to the bridge', async () => {
    const network = await made()
    const box = newBox('web2')

    await withRollback(undo => driver.connect(network, endpointOf(2), { netnsFd: box.fd }, undo))

    expect(ipJson('link show dev veth0000000002')).toMatchObject([
      {
        master: 'br',
        ifalias: 'tsrun web2/eth0',
        inet6_addr_gen_mode: 'none',
        linkinfo: { info_slave_data: { hairpin: true } },
      },
    ])
    expect(ipJson('address show dev eth0', box)).toMatchObject([
      { address: '02:42:0a:09:00:02', addr_info: [{ local: '10.9.0.2', prefixlen: 24, broadcast: '10.9.0.255' }] },
    ])
    expect(ipJson('route show', box)).toMatchObject([
      { dst: 'default', gateway: '10.9.0.1', dev: 'eth0' },
      { dst: '10.9.0.0/24' },
    ])
    expect(ipJson('link show dev lo', box)[0].flags).toContain('UP')
    expect(sysctl('ipv6/conf/eth0/disable_ipv6', box)).toBe('1')
    run('ping -c 1 -W 1 10.9.0.1', box)
    // Two of the box.
    expect(openDescriptors()).toBe(descriptors + 2)
  })

  test('connect() gives IPv6 addresses that work at once', async () => {
    const network = await made({ pools: [{ subnet: 'fd00:9::/64', gateway: 'fd00:9::1' }] })
    const box = newBox()
    const endpoint = endpointOf(3, { addresses: ['fd00:9::3/64'], gateways: ['fd00:9::1'] })

    await driver.connect(network, endpoint, { netnsFd: box.fd }, new Undo())

    expect(sysctl('ipv6/conf/eth0/accept_ra', box)).toBe('0')
    expect(ipJson('-6 route show default', box)).toMatchObject([{ gateway: 'fd00:9::1', dev: 'eth0' }])
    run('ping -c 2 -i 0.2 -W 1 fd00:9::1', box)
  })

  test('connect() makes the network again after a reboot', async () => {
    const network = driver.validate(networkOf())
    const box = newBox()

    await withRollback(undo => driver.connect(network, endpointOf(2), { netnsFd: box.fd }, undo))

    expect(linkNames()).toEqual(expect.arrayContaining(['br', 'veth0000000002']))
    run('ping -c 1 -W 1 10.9.0.1', box)
  })

  test('connect() takes the place of the veth of its last life', async () => {
    const network = await made()
    const [old, box] = [newBox(), newBox()]
    await driver.connect(network, endpointOf(2), { netnsFd: old.fd }, new Undo())

    await driver.connect(network, endpointOf(2), { netnsFd: box.fd }, new Undo())

    expect(ipJson('link show dev eth0', box)).toHaveLength(1)
    expect(linkNames(old)).toEqual([])
  })

  test('connect() leaves no veth behind when the container interface exists', async () => {
    const network = await made()
    const box = newBox()
    run('ip link add name eth0 type bridge', box)

    const attempt = withRollback(undo => driver.connect(network, endpointOf(2), { netnsFd: box.fd }, undo))

    await expect(attempt).rejects.toMatchObject({
      kind: 'conflict',
      message: 'cannot connect "web2" to network "br": "eth0" exists',
    })
    expect(linkNames()).toEqual(['br'])
  })

  test('connect() leaves no veth behind when the gateway is out of reach', async () => {
    const network = await made()
    const box = newBox()
    const endpoint = endpointOf(2, { gateways: ['192.0.2.1'] })

    const attempt = withRollback(undo => driver.connect(network, endpoint, { netnsFd: box.fd }, undo))

    await expect(attempt).rejects.toThrow('Nexthop has invalid gateway')
    expect(linkNames()).toEqual(['br'])
    expect(linkNames(box)).toEqual([])
    expect(openDescriptors()).toBe(descriptors + 2)
  })

  test.each(['add bridge', 'set net.ipv4.ip_forward', 'add veth'])(
    'connect() that fails after "%s" leaves nothing',
    async step => {
      const network = driver.validate(networkOf())
      const box = newBox()
      const failing = new FailingUndo(step)

      await expect(driver.connect(network, endpointOf(2), { netnsFd: box.fd }, failing)).rejects.toThrow(step)
      await failing.run()

      expect(linkNames()).toEqual([])
      expect(linkNames(box)).toEqual([])
      expect(sysctl('ipv4/ip_forward')).toBe('0')
      expect(state.entries.size).toBe(0)
      expect(openDescriptors()).toBe(descriptors + 2)
    },
  )

  test('connect() says so when the bridge is full', async () => {
    const network = await made()
    fillBridge()
    const box = newBox()

    const attempt = withRollback(undo => driver.connect(network, endpointOf(2), { netnsFd: box.fd }, undo))

    await expect(attempt).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'cannot connect "web2" to network "br": the bridge "br" has no free port',
    })
    expect(linkNames(box)).toEqual([])
    // Left to the namespace's end they would hold up every other change on this machine for seconds.
    run('ip link delete group 77')
  }, 60_000)

  /** Takes all 1023 port numbers. */
  function fillBridge(): void {
    run(`i=0; while [ $i -lt 1023 ]; do
      echo "link add name f$i group 77 master br type veth peer name g$i group 78"; i=$((i+1)); done | ip -batch -`)
  }

  test('disconnect() removes the veth of a living sandbox, and does nothing twice', async () => {
    const network = await made()
    const box = newBox()
    await driver.connect(network, endpointOf(2), { netnsFd: box.fd }, new Undo())

    await driver.disconnect(network, endpointOf(2))
    await driver.disconnect(network, endpointOf(2))

    expect(linkNames()).toEqual(['br'])
    expect(linkNames(box)).toEqual([])
  })

  test('disconnect() leaves the veth of a sandbox that is gone to the kernel', async () => {
    const network = await made()
    const box = createNetns()
    await driver.connect(network, endpointOf(2), { netnsFd: box.fd }, new Undo())

    box.socket.close()
    closeSync(box.fd)
    await driver.disconnect(network, endpointOf(2), { sandboxGone: true })

    await expect.poll(linkNames, { timeout: 5000 }).toEqual(['br'])
  })

  test('disconnect() leaves an interface of somebody else alone', async () => {
    const network = await made()
    run('ip link add name veth0000000002 type veth peer name other')

    await driver.disconnect(network, endpointOf(2))

    expect(linkNames()).toContain('veth0000000002')
  })

  test('remove() takes the bridge away and puts forwarding back with the last network', async () => {
    const first = await made()
    const second = await made({
      id: 'ff'.repeat(32),
      name: 'br2',
      pools: [{ subnet: '10.8.0.0/24', gateway: '10.8.0.1' }],
    })

    await driver.remove(first)
    expect(linkNames()).toEqual(['br2'])
    expect(sysctl('ipv4/ip_forward')).toBe('1')
    await driver.remove(second)
    await driver.remove(second)

    expect(linkNames()).toEqual([])
    expect(sysctl('ipv4/ip_forward')).toBe('0')
    expect(state.entries.size).toBe(0)
  })

  test('remove() leaves forwarding on where it was on before', async () => {
    run('echo 1 >/proc/sys/net/ipv4/ip_forward')

    await driver.remove(await made())

    expect(sysctl('ipv4/ip_forward')).toBe('1')
  })

  test('IPv6 forwarding does not cost the host its own default route', async () => {
    run(`ip link add name up0 type bridge; ip link set dev up0 up; ip -6 address add fd00:1::2/64 dev up0 nodad
      ip -6 route add default via fd00:1::1 dev up0 proto ra; echo 1 >/proc/sys/net/ipv6/conf/up0/accept_ra`)

    const network = await made({ pools: [{ subnet: 'fd00:9::/64', gateway: 'fd00:9::1' }] })
    expect(sysctl('ipv6/conf/up0/accept_ra')).toBe('2')
    await driver.remove(network)

    expect(sysctl('ipv6/conf/up0/accept_ra')).toBe('1')
    expect(sysctl('ipv6/conf/all/forwarding')).toBe('0')
  })

  test('strict reverse path filtering is loosened on our interfaces only', async () => {
    run('echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter')
    const network = await made()
    const box = newBox()
    run('echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter', box)
    await driver.connect(network, endpointOf(2), { netnsFd: box.fd }, new Undo())

    expect(sysctl('ipv4/conf/br/rp_filter')).toBe('2')
    expect(sysctl('ipv4/conf/eth0/rp_filter', box)).toBe('2')
    expect(sysctl('ipv4/conf/all/rp_filter')).toBe('1')
  })

  test('inspect() tells what stands', async () => {
    const network = await made()
    const box = newBox()
    await driver.connect(network, endpointOf(2), { netnsFd: box.fd }, new Undo())

    expect(await driver.inspect(network)).toEqual({
      interface: 'br',
      state: 'up',
      mtu: 1500,
      mac: bridgeMac(network),
      addresses: ['10.9.0.1/24'],
      ports: [{ interface: 'veth0000000002', alias: 'tsrun web2/eth0' }],
    })
    run('ip link delete dev br')
    expect(await driver.inspect(network)).toEqual({ interface: 'br', state: 'missing' })
  })

  test('two starts at once both find the network they need', async () => {
    const network = driver.validate(networkOf())
    const [a, b] = [newBox(), newBox()]

    await Promise.all([
      driver.connect(network, endpointOf(2), { netnsFd: a.fd }, new Undo()),
      driver.connect(network, endpointOf(3), { netnsFd: b.fd }, new Undo()),
    ])

    run('ping -c 1 -W 1 10.9.0.3', a)
  })

  test('the drivers host and none make nothing on the host', async () => {
    const drivers = new NetworkDrivers({
      engineId: 'tsrun',
      hostState: state,
      endpoints: () => [],
      stateDirectory: '/x',
      driverDirectory: '/x',
    })
    const box = newBox()

    const none = await drivers.get('none')
    await none.connect(networkOf(), endpointOf(2), { netnsFd: box.fd }, new Undo())

    expect(ipJson('link show dev lo', box)[0].flags).toContain('UP')
    expect(linkNames()).toEqual([])
    expect((await drivers.get('host')).hasEndpoints).toBe(false)
    expect(() => none.validate(networkOf({ driver: 'none' }))).toThrow('takes no subnet 10.9.0.0/24')
    const nonsense = await drivers.get('nonsense')
    expect(() => nonsense.validate(networkOf())).toThrow('unknown network driver "nonsense"')
  })
})

/** Fails behind one step, as TSRUN_FAULT does. */
class FailingUndo extends Undo {
  readonly #step: string

  constructor(step: string) {
    super()
    this.#step = step
  }

  override add(step: string, inverse: () => void | Promise<void>): void {
    super.add(step, inverse)
    if (step === this.#step) throw new Error(`failed after ${step}`)
  }
}
