import { describe, expect, test } from 'vitest'
import { planSourceRoutes } from '../../src/drivers/network/source-routes.ts'
import { planEndpoints, type ResolvedAttachment } from '../../src/engine/network/plan-endpoints.ts'
import type { Network } from '../../src/model/network.ts'

/** A network that containers leave through `subnets`; with `hostInterface` the host passes their packets on. */
function network(name: string, subnets: readonly string[], more: Partial<Network> = {}): Network {
  const pools = subnets.map(subnet => ({ subnet, gateway: subnet.replace(/0?\/.*/, '1') }))
  const rest = { internal: false, labels: {}, options: {}, createdAt: '2026-01-01T00:00:00Z' }
  return { id: name.padEnd(64, '0'), name, driver: 'bridge', pools, ...rest, ...more }
}

const bridge = network('br', ['10.1.0.0/24'], { hostInterface: 'br' })
const other = network('other', ['10.2.0.0/24'], { hostInterface: 'other' })
const bridge6 = network('six', ['fd00:1::/64'], { hostInterface: 'six' })
const back = network('back', ['10.3.0.0/24'], { hostInterface: 'back', internal: true })
const lan = network('lan', ['192.168.1.0/24'], { driver: 'macvlan' })
const line = network('line', ['10.4.0.0/24'], { driver: 'ptp', hostGroup: 7 })

function join(joined: Network, gwPriority?: number): ResolvedAttachment {
  return { network: joined, attachment: { network: joined.name, ...(gwPriority === undefined ? {} : { gwPriority }) } }
}

describe('planEndpoints() leads ports to', () => {
  test.each<[string, readonly ResolvedAttachment[], string]>([
    ['the way out', [join(bridge), join(other)], 'br'],
    ['the way out by priority', [join(bridge), join(other, 1)], 'other'],
    ['the bridge where the LAN is the way out', [join(lan), join(bridge)], 'br'],
    ['the bridge where the LAN has priority', [join(bridge), join(lan, 9)], 'br'],
    ['the bridge with the higher priority of two', [join(lan, 9), join(bridge), join(other, 1)], 'other'],
    ['a ptp network beside the LAN', [join(lan), join(line)], 'line'],
    ['the way out of IPv6 where that of IPv4 cannot have them', [join(lan), join(bridge6), join(bridge)], 'six'],
    ['never an internal network', [join(back), join(lan), join(bridge)], 'br'],
    ['the LAN where there is nothing else, so that its driver says no', [join(lan), join(back)], 'lan'],
  ])('%s', (_what, attachments, expected) => {
    const plans = planEndpoints(attachments)

    expect(plans.filter(plan => plan.hasPorts).map(plan => plan.network.name)).toEqual([expected])
  })
})

describe('planSourceRoutes()', () => {
  const eth0 = {
    containerInterface: 'eth0',
    addresses: ['10.1.0.2/24', 'fd00:1::2/64'],
    gateways: ['10.1.0.1', 'fd00:1::1'],
  }
  const eth1 = { containerInterface: 'eth1', addresses: ['192.168.1.77/24'], gateways: ['192.168.1.1'] }
  const inner = { containerInterface: 'eth2', addresses: ['10.3.0.2/24'], gateways: [] }

  test('makes none for one way out, whatever else there is', () => {
    expect(planSourceRoutes([])).toEqual([])
    expect(planSourceRoutes([eth0, inner])).toEqual([])
  })

  test('makes one for each way out of the IP versions that have several', () => {
    expect(planSourceRoutes([eth0, eth1, inner])).toEqual([
      { family: 4, interfaceName: 'eth0', gateway: '10.1.0.1', sources: ['10.1.0.2/32'], onLink: ['10.1.0.0/24'] },
      {
        family: 4,
        interfaceName: 'eth1',
        gateway: '192.168.1.1',
        sources: ['192.168.1.77/32'],
        onLink: ['192.168.1.0/24'],
      },
    ])
  })

  test('knows the link-local subnet, which every IPv6 link has, and none of a ptp end', () => {
    const ptp = {
      containerInterface: 'eth1',
      addresses: ['10.4.0.2/32', 'fd00:4::2/128'],
      gateways: ['10.4.0.1', 'fd00:4::1'],
    }

    expect(planSourceRoutes([eth0, ptp]).map(({ family, onLink }) => [family, onLink])).toEqual([
      [4, ['10.1.0.0/24']],
      [4, []],
      [6, ['fd00:1::/64', 'fe80::/64']],
      [6, ['fe80::/64']],
    ])
  })
})
