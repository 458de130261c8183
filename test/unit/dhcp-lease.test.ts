import { describe, expect, test } from 'vitest'
import { parseLease, parseRefusal } from '../../src/drivers/ipam/dhcp-lease.ts'
import { tryParseAddress, tryParsePrefix } from '../../src/lib/ip.ts'
import fc from '../helpers/property.ts'

const now = '2026-01-01T00:00:00.000Z'
const parse = (...lines: string[]) => parseLease(['event=bound', ...lines, ''].join('\n'), now)

describe('parseLease()', () => {
  test('takes all that a server says', () => {
    const lease = parse(
      ...['ip=192.0.2.7', 'mask=24', 'router=192.0.2.1 192.0.2.2', 'dns=192.0.2.53 192.0.2.54', 'mtu=1400'],
      ...['domain=one.test', 'search=two.test Three.Test.', 'serverid=192.0.2.2', 'lease=120'],
    )

    expect(lease).toEqual({
      address: '192.0.2.7/24',
      gateway: '192.0.2.1',
      routes: [],
      dnsServers: ['192.0.2.53', '192.0.2.54'],
      searchDomains: ['two.test', 'three.test'],
      mtu: 1400,
      server: '192.0.2.2',
      seconds: 120,
      obtainedAt: now,
    })
  })

  test('takes classless routes instead of the router, and the default among them as the gateway', () => {
    const routes = 'staticroutes=10.1.2.3/16 192.0.2.9 0.0.0.0/0 192.0.2.8 198.51.100.0/24 0.0.0.0'

    expect(parse('ip=192.0.2.7', 'mask=24', 'router=192.0.2.1', routes)).toMatchObject({
      gateway: '192.0.2.8',
      routes: [{ destination: '10.1.0.0/16', gateway: '192.0.2.9' }, { destination: '198.51.100.0/24' }],
    })
    expect(parse('ip=192.0.2.7', 'router=192.0.2.1', 'staticroutes=10.1.0.0/16 192.0.2.9')).not.toHaveProperty(
      'gateway',
    )
  })

  test.each([
    ['no address', []],
    ['what is none', ['ip=192.0.2']],
    ['an IPv6 address', ['ip=2001:db8::1']],
    ['the loopback', ['ip=127.0.0.1']],
    ['multicast', ['ip=224.0.0.1']],
    ['0.0.0.0', ['ip=0.0.0.0']],
  ])('refuses %s', (_what, lines) => {
    expect(parse(...lines)).toBeUndefined()
  })

  test('leaves out DNS servers and gateways on the loopback, an MTU that is none, and domains that are none', () => {
    const lines = ['ip=192.0.2.7', 'router=127.0.0.1', 'dns=127.0.0.53 192.0.2.53', 'mtu=20', 'search=a;b ok.test $(x)']

    const lease = parse(...lines)

    expect(lease).toMatchObject({ address: '192.0.2.7/32', dnsServers: ['192.0.2.53'], searchDomains: ['ok.test'] })
    expect(lease).not.toHaveProperty('gateway')
    expect(lease).not.toHaveProperty('mtu')
  })

  test('makes of whatever is sent a lease of addresses, or none', () => {
    const name = fc.constantFrom(
      'ip',
      'mask',
      'router',
      'staticroutes',
      'dns',
      'search',
      'domain',
      'mtu',
      'lease',
      'serverid',
    )
    const value = fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.string(), fc.nat().map(String), fc.ipV6())
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.array(value, { maxLength: 5 }))), fields => {
        const lease = parse(...fields.map(([key, values]) => `${key}=${values.join(' ').replaceAll('\n', ' ')}`))
        if (lease === undefined) return
        const hops = [lease.gateway, ...lease.routes.map(({ gateway }) => gateway)].filter(hop => hop !== undefined)
        expect(tryParsePrefix(lease.address)?.family).toBe(4)
        for (const address of [...hops, ...lease.dnsServers]) expect(tryParseAddress(address)?.family).toBe(4)
        for (const { destination } of lease.routes) expect(tryParsePrefix(destination)?.family).toBe(4)
        for (const domain of lease.searchDomains) expect(domain).toMatch(/^[a-z0-9_.-]+$/)
        expect(lease.seconds).toBeGreaterThan(0)
      }),
    )
  })
})

test('parseRefusal() says who refused and why, in characters that a terminal may have', () => {
  expect(parseRefusal('event=nak\nserverid=192.0.2.2\nmessage=wrong\u001b[31m network\n')).toBe(
    '192.0.2.2 refused (NAK): wrong?[31m network',
  )
  expect(parseRefusal('event=nak\n')).toBe('a server refused (NAK)')
})
