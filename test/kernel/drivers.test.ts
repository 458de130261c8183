// ptp and macvlan in the kernel: what they print is what they do, and what they make can be made again and taken away twice.

import { afterEach, expect, test } from 'vitest'
import { NetworkDrivers } from '../../src/drivers/network/registry.ts'
import { setExplainer } from '../../src/kernel/explain.ts'
import { Undo, withRollback } from '../../src/lib/rollback.ts'
import type { Endpoint, Network } from '../../src/model/network.ts'
import { describeInNetns, enterFreshNetns, ipJson, linkNames, memoryState, newBox, run } from './netlink-world.ts'

const id = 'ab12cd34ef56'.padEnd(64, '0')
const draft: Omit<Network, 'driver' | 'options'> = {
  id,
  name: 'net',
  pools: [
    { subnet: '10.9.0.0/24', gateway: '10.9.0.1' },
    { subnet: 'fd00:9::/64', gateway: 'fd00:9::1' },
  ],
  internal: false,
  labels: {},
  createdAt: '2026-01-01T00:00:00Z',
}
const reserved: Endpoint = {
  id: '2'.repeat(64),
  networkId: id,
  containerId: '2'.repeat(64),
  containerName: 'web',
  hostInterface: 'veth2222222222',
  containerInterface: 'eth0',
  mac: '02:42:0a:09:00:02',
  addresses: ['10.9.0.2/24', 'fd00:9::2/64'],
  gateways: ['10.9.0.1', 'fd00:9::1'],
  ports: [],
}
const parent = 'ip link add lan0 type veth peer name far0; ip link set lan0 up; ip link set far0 up'
const cases: [string, Record<string, string>][] = [
  ['ptp', {}],
  ['macvlan', { parent: 'lan0', mode: 'private' }],
]

type Box = ReturnType<typeof newBox>

async function prepare(name: string, options: Record<string, string>) {
  run(parent)
  const drivers = { engineId: 'tsrun', hostState: memoryState(), endpoints: () => [], stateDirectory: '/x' }
  const driver = await new NetworkDrivers({ ...drivers, driverDirectory: '/x' }).get(name)
  const network = driver.validate({ ...draft, driver: name, options })
  const endpoint = (await driver.prepareEndpoint?.(network, reserved)) ?? reserved
  return { driver, network, endpoint }
}

/** All that matters of links, addresses and routes in both namespaces; numbers and random addresses do not. */
function describeBoth(box: Box): unknown {
  const pick = (place?: Box) => [
    ipJson('address show', place).map(({ ifname, flags, mtu, group, ifalias, linkinfo, addr_info: addresses }) => ({
      ...{ ifname, mtu, group, ifalias, linkinfo },
      // Carriers come a moment later.
      isUp: flags.includes('UP'),
      addresses: addresses
        .map((each: { local: string; prefixlen: number }) => `${each.local}/${each.prefixlen}`)
        .filter((address: string) => !/^fe80::.{5,}/.test(address)),
    })),
    run('ip route show; ip -6 route show', place)
      .replaceAll(' linkdown', '')
      .split('\n')
      .filter(line => !/fe80::.{8,}/.test(line))
      .sort(),
  ]
  return { host: pick(), inside: pick(box), mac: ipJson('link show dev eth0', box)[0].address }
}

/** Types a printed command; names of namespaces stand for `box`. */
function type(command: string, box: Box): void {
  const inside = /^ip (-n|netns exec) web /.exec(command)
  const words = inside === null ? command : `${inside[1] === '-n' ? 'ip ' : ''}${command.slice(inside[0].length)}`
  run(words.replace('netns web', `netns /proc/${process.pid}/fd/${box.fd}`), inside === null ? undefined : box)
}

describeInNetns('network drivers', () => {
  afterEach(() => setExplainer(undefined))

  test.each(cases)('%s: the commands that it prints make the same', async (name, options) => {
    const { driver, network, endpoint } = await prepare(name, options)
    const box = newBox('web')
    const commands: string[] = []
    setExplainer(command => void commands.push(command))
    await withRollback(async undo => {
      await driver.create(network, undo)
      await driver.connect(network, endpoint, { netnsFd: box.fd }, undo)
    })
    setExplainer(undefined)
    const made = describeBoth(box)

    enterFreshNetns()
    run(parent)
    const second = newBox('web')
    for (const command of commands) type(command, second)

    expect(describeBoth(second)).toEqual(made)
  })

  test.each(cases)('%s: disconnect() and remove() take all away, and may come twice', async (name, options) => {
    const { driver, network, endpoint } = await prepare(name, options)
    const before = [linkNames(), run('ip route; ip -6 route').replaceAll(/.*fe80.*\n/g, '')]
    const box = newBox('web')
    await driver.create(network, new Undo())
    await driver.connect(network, endpoint, { netnsFd: box.fd }, new Undo())

    for (let time = 0; time < 2; time++) {
      await driver.disconnect(network, endpoint, { sandbox: { netnsFd: box.fd } })
      await driver.disconnect(network, endpoint, { sandboxGone: true })
      expect(linkNames(box)).toEqual([])
    }
    await driver.remove(network, [])
    await driver.remove(network, [])

    expect([linkNames(), run('ip route; ip -6 route').replaceAll(/.*fe80.*\n/g, '')]).toEqual(before)
  })
})
