import { describe, expect, test } from 'vitest'
import { checkProxiedPorts, heldPorts, kernelPorts, onHostAddresses } from '../../src/engine/network/port-routes.ts'
import type { Endpoint, Network, PortMapping } from '../../src/model/network.ts'

const network: Network = {
  id: 'b'.repeat(64),
  name: 'br',
  driver: 'bridge',
  pools: [],
  internal: false,
  labels: {},
  options: {},
  createdAt: '2026-01-01T00:00:00Z',
}

function port(hostIp: string, change: Partial<PortMapping> = {}): PortMapping {
  return { protocol: 'tcp', hostIp, hostPort: 8080, containerPort: 80, ...change }
}

function endpoint(addresses: readonly string[], ...ports: PortMapping[]): Endpoint {
  return {
    id: 'a'.repeat(64),
    networkId: network.id,
    containerId: 'c'.repeat(64),
    containerName: 'web',
    containerInterface: 'eth0',
    mac: '02:42:0a:00:00:02',
    addresses,
    gateways: [],
    ports,
  }
}

const v4 = ['10.0.0.2/24']
const v6 = ['fd00::2/64']
const both = [...v4, ...v6]

describe('a port published on', () => {
  test.each<[string, readonly string[], string | undefined]>([
    ['0.0.0.0', v4, undefined],
    ['0.0.0.0', v6, 'fd00::2'],
    ['127.0.0.1', both, undefined],
    ['::1', v4, '10.0.0.2'],
    ['::1', both, 'fd00::2'],
    ['::1', v6, 'fd00::2'],
    ['::', v4, '10.0.0.2'],
    ['::1', both, 'fd00::2'],
    ['2001:db8::1', v4, '10.0.0.2'],
    ['2001:db8::1', v6, undefined],
    // Half an endpoint, made up for the teardown of a start that was cut off.
    ['::1', ['', ''], undefined],
    ['2001:db8::1', ['', 'fd00::2/64'], undefined],
  ])('%s for %j is proxied to %s', (hostIp, addresses, proxyTo) => {
    const web = endpoint(addresses, port(hostIp))

    expect(heldPorts(web)).toEqual([{ ...port(hostIp), ...(proxyTo === undefined ? {} : { proxyTo }) }])
    expect(kernelPorts(web).ports).toEqual(proxyTo === undefined ? [port(hostIp)] : [])
  })

  test.each([
    ['0.0.0.0', both, '10.0.0.2'],
    ['::', both, 'fd00::2'],
    ['::', v4, '10.0.0.2'],
  ])('%s for %j is proxied to %s where publish-mode=proxy', (hostIp, addresses, proxyTo) => {
    const proxied = { ...port(hostIp), publishMode: 'proxy' as const }
    const web = endpoint(addresses, proxied)

    expect(heldPorts(web)).toEqual([{ ...proxied, proxyTo }])
    expect(kernelPorts(web).ports).toEqual([])
  })
})

test('a port on :: is carried by the kernel, but for ::1, which the monitor carries', () => {
  const web = endpoint(both, port('::'))

  expect(heldPorts(web)).toEqual([{ ...port('::'), proxyTo: 'fd00::2' }])
  expect(kernelPorts(web).ports).toEqual([port('::')])
})

test('a port on no address is on ::1 as well where the network has no IPv6, if it can be had', () => {
  const v4Network = { ...network, pools: [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }] }
  const web = endpoint(v4, ...onHostAddresses([port('')], v4Network))

  expect(heldPorts(web)).toMatchObject([
    { hostIp: '0.0.0.0' },
    { hostIp: '::1', hostPort: 8080, containerPort: 80, proxyTo: '10.0.0.2', optional: true },
  ])
  expect(kernelPorts(web).ports).toMatchObject([{ hostIp: '0.0.0.0' }])
})

test('kernelPorts() takes nothing else out of the endpoint', () => {
  const web = endpoint(v4, port('::1'), port('0.0.0.0'), port('::', { hostPort: 81 }))

  expect(kernelPorts(web)).toEqual({ ...web, ports: [port('0.0.0.0')] })
})

describe('checkProxiedPorts() refuses', () => {
  test.each<[string, Endpoint, Partial<Network>, RegExp]>([
    [
      'an internal network',
      endpoint(v4, port('::1')),
      { internal: true },
      /\[::1\]:8080\/tcp .*network "br" is internal/,
    ],
    ['sctp on ::1', endpoint(both, port('::1', { protocol: 'sctp' })), {}, /\[::1\]:8080\/sctp .*only tcp and udp/],
    ['sctp without IPv6', endpoint(v4, port('::', { protocol: 'sctp' })), {}, /only tcp and udp/],
    ['a port that is given twice', endpoint(v4, port('::1'), port('::1', { containerPort: 81 })), {}, /given twice/],
    ['one address and all addresses', endpoint(both, port('::1'), port('::')), {}, /given twice/],
  ])('%s', (_, web, change, message) => {
    expect(() => checkProxiedPorts({ ...network, ...change }, web)).toThrow(message)
  })

  test('nothing else', () => {
    const ports = [
      port('::1'),
      port('0.0.0.0'),
      port('127.0.0.1'),
      port('::1', { hostPort: 8081 }),
      port('::1', { protocol: 'udp' }),
      port('2001:db8::1'),
    ]

    checkProxiedPorts(network, endpoint(v4, ...ports))
    checkProxiedPorts({ ...network, internal: true }, endpoint(both, port('::', { protocol: 'sctp' })))
  })
})
