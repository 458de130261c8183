// The lines that tell tsrun-dns about a container: names, and above all who may ask whom.

import { describe, expect, test } from 'vitest'
import { buildNamesText } from '../../src/engine/dns/names-text.ts'
import type { Endpoint, Network } from '../../src/model/network.ts'

const network = (name: string, subnet: string, internal = false): Network => ({
  id: name.padEnd(64, '0'),
  name,
  driver: 'bridge',
  pools: [{ subnet, gateway: subnet.replace(/0\/24$/, '1') }],
  internal,
  labels: {},
  options: {},
  createdAt: '',
})
const bridge = network('bridge', '10.0.0.0/24')
const back = network('Back', '10.1.0.0/24')
const inner = network('inner', '10.2.0.0/24', true)

const endpoint = ({ id }: Network, address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  id: '',
  networkId: id,
  containerId: 'c0ffee'.padEnd(64, '0'),
  containerName: 'Web',
  containerInterface: 'eth0',
  mac: '',
  addresses: [address],
  gateways: [],
  ports: [],
  ...more,
})

const lines = (endpoints: readonly Endpoint[], servers: readonly string[] = []) =>
  buildNamesText({ endpoints, networks: [bridge, back, inner], namelessId: bridge.id, servers, host: ['10.1.0.1'] })
    .trimEnd()
    .split('\n')

describe('buildNamesText()', () => {
  test('gives every name once, in lower case, with the network and without', () => {
    expect(lines([endpoint(back, '10.1.0.2/24', { aliases: ['app', 'WEB'], hostname: 'www' })])).toEqual([
      'forward host',
      'host 10.1.0.1',
      `endpoint ${back.id}`,
      'address 10.1.0.2',
      ...['web', 'app', 'c0ffee000000', 'www'].flatMap(name => [`name ${name}`, `name ${name}.back`]),
      'reverse web.back',
    ])
  })

  test('gives names beyond ASCII as queries have them', () => {
    const text = lines([endpoint(back, '10.1.0.2/24', { aliases: ['Bücher.é', 'b\u0301 c'] })])
    expect(text).toContain('name xn--bcher-kva.xn--9ca')
    expect(text.filter(line => line.startsWith('name '))).toHaveLength(6)
  })

  test('leaves out what no query can ask for', () => {
    const text = lines([endpoint(back, '10.1.0.2/24', { aliases: ['a b', 'a..b', 'x'.repeat(64), 'a\nname evil'] })])
    expect(text.filter(line => line.startsWith('name '))).toEqual([
      'name web',
      'name web.back',
      'name c0ffee000000',
      'name c0ffee000000.back',
    ])
  })

  test('has no names for the default network', () => {
    expect(lines([endpoint(bridge, '10.0.0.2/24')])).toEqual(['forward host', 'host 10.1.0.1'])
  })

  test('lets a container on internal networks alone, or on none, ask nobody outside', () => {
    const onInner = endpoint(inner, '10.2.0.2/24')
    const forwarding = (endpoints: readonly Endpoint[], servers: readonly string[]) =>
      lines(endpoints, servers).filter(line => /^(forward|server)/.test(line))

    expect(forwarding([onInner], [])).toEqual(['forward none'])
    expect(forwarding([onInner], ['192.0.2.1', '10.2.0.9'])).toEqual(['forward none', 'server 10.2.0.9'])
    expect(forwarding([], ['192.0.2.1'])).toEqual(['forward none'])
    expect(forwarding([onInner, endpoint(back, '10.1.0.2/24')], [])).toEqual(['forward host'])
    expect(forwarding([endpoint(back, '10.1.0.2/24')], ['192.0.2.1'])).toEqual(['forward none', 'server 192.0.2.1'])
  })
})
