// Rules and elements as text and as bytes, without a kernel. UPDATE_GOLDEN=1 rewrites the golden files.

import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { baseRuleset, portIsolationRuleset, userRuleset } from '../../src/drivers/firewall/base-ruleset.ts'
import { networkElements } from '../../src/drivers/firewall/network-elements.ts'
import { addElementsText, endpointElements, ownerName, snapshotElements } from '../../src/drivers/firewall/nft-rules.ts'
import {
  addElement,
  commentData,
  commentOf,
  deleteElement,
  elementText,
  parseElements,
  portField,
  protocolField,
  subnetField,
} from '../../src/kernel/nftables/elements.ts'
import { ByteReader, ByteWriter } from '../../src/lib/bytes.ts'
import { parsePrefix } from '../../src/lib/ip.ts'
import type { Endpoint, Network, PortMapping } from '../../src/model/network.ts'

const network: Network = {
  id: 'a1b2c3d4e5f6'.padEnd(64, '0'),
  name: 'br',
  driver: 'bridge',
  pools: [
    { subnet: '192.168.0.0/24', gateway: '192.168.0.1' },
    { subnet: 'fd00::/64', gateway: 'fd00::1' },
  ],
  internal: false,
  labels: {},
  options: {},
  hostInterface: 'br-a1b2c3d4e5f6',
  createdAt: '2026-01-01T00:00:00Z',
}

const ports: PortMapping[] = [
  { protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 80, containerPort: 8000 },
  { protocol: 'tcp', hostIp: '::', hostPort: 80, containerPort: 8000 },
  { protocol: 'udp', hostIp: '127.0.0.1', hostPort: 53, containerPort: 53 },
  { protocol: 'udp', hostIp: '192.0.2.1', hostPort: 53, containerPort: 53 },
  { protocol: 'sctp', hostIp: '2001:db8::1', hostPort: 9, containerPort: 9 },
]

const endpoint: Endpoint = {
  id: '0123456789ab'.padEnd(64, '0'),
  networkId: network.id,
  containerId: 'c'.repeat(64),
  containerName: 'web',
  containerInterface: 'eth0',
  mac: '02:42:00:00:00:01',
  addresses: ['192.168.0.2/24', 'fd00::2/64'],
  gateways: [],
  ports,
}

describe('the rules', () => {
  test('of a table without networks', () => {
    expectGolden('base.nft', baseRuleset('tsrun') + userRuleset + portIsolationRuleset('tsrun'))
  })

  test('of a network and an endpoint are elements', () => {
    const snapshot = { networks: [network, { ...network, id: 'b', name: 'none' }], endpoints: [endpoint] }
    expectGolden('elements.nft', addElementsText('tsrun-00c0ffee', snapshotElements(snapshot)))
  })

  test('of an internal network name its bridge', () => {
    const texts = networkElements({ ...network, internal: true }).map(
      element => `${element.set} ${elementText(element)}`,
    )
    expect(texts).toContain('internal "br-a1b2c3d4e5f6" comment "tsrun:a1b2c3d4e5f6 br"')
  })

  test('of a network without a bridge are none', () => {
    const { hostInterface: _, ...hostNetwork } = network
    expect(networkElements(hostNetwork)).toEqual([])
  })
})

describe('endpointElements()', () => {
  test.each([
    [{ ...network, internal: true }, endpoint, 'cannot publish 0.0.0.0:80/tcp for "web": network "br" is internal'],
    [
      network,
      { ...endpoint, addresses: ['192.168.0.2/24'] },
      'cannot publish [::]:80/tcp for "web": it has no IPv6 address on network "br"',
    ],
  ])('refuses what cannot be published', (onNetwork, refused, message) => {
    expect(() => endpointElements(onNetwork, refused)).toThrow(message)
    expect(snapshotElements({ networks: [onNetwork], endpoints: [refused] })).toEqual(networkElements(onNetwork))
  })

  test('gives nothing for an endpoint without ports', () => {
    expect(endpointElements(network, { ...endpoint, ports: [] })).toMatchObject({ ports: [], shared: [] })
    const quiet = { networks: [network], endpoints: [{ ...endpoint, ports: [] }] }
    expect(snapshotElements(quiet)).toEqual(networkElements(network))
  })
})

test('endpoints of one container on two networks have owner elements of their own', () => {
  const ids = ['a', 'b'].map(half => 'c'.repeat(32) + half.repeat(32))
  const owners = ids.map(id => endpointElements(network, { ...endpoint, id }).owner)
  expect(elementText({ set: '', key: owners[0]?.key ?? [] })).toBe('"cccccccccccc" . "aaaaaaaaaaaa"')
  expect(owners[0]?.key).not.toEqual(owners[1]?.key)
  expect(owners[0]?.comment).not.toEqual(owners[1]?.comment)
})

describe('snapshotElements()', () => {
  test.each([
    ['0.0.0.0', '0.0.0.0'],
    ['0.0.0.0', '127.0.0.1'],
    ['127.0.0.1', '0.0.0.0'],
    ['127.0.0.1', '127.0.0.1'],
  ])('leaves an endpoint out that wants %s after another has %s', (second, first) => {
    const on = (hostIp: string, id: string): Endpoint => {
      const mapping: PortMapping = { protocol: 'tcp', hostIp, hostPort: 80, containerPort: 80 }
      return { ...endpoint, id: id.repeat(64), ports: [mapping] }
    }
    const alone = snapshotElements({ networks: [network], endpoints: [on(first, '1')] })
    expect(snapshotElements({ networks: [network], endpoints: [on(first, '1'), on(second, '2')] })).toEqual(alone)
  })

  test('keeps endpoints that hold one port on different addresses', () => {
    const both = [
      { ...endpoint, ports: ports.slice(2, 3) },
      { ...endpoint, id: 'f'.repeat(64), ports: ports.slice(3, 4) },
    ]
    const sets = snapshotElements({ networks: [], endpoints: both })
    expect(sets).toEqual([])
    const found = snapshotElements({ networks: [network], endpoints: both }).map(({ set }) => set)
    expect(found.filter(set => set === 'addr4')).toHaveLength(2)
    expect(found.filter(set => set === 'held4')).toHaveLength(1)
  })
})

describe('comments', () => {
  test('name the owner and are found again', () => {
    const comment = endpointElements(network, endpoint).ports[0]?.element.comment ?? ''
    expect(comment).toBe('tsrun:0123456789ab.000000000000 web')
    expect(commentOf(commentData(comment))).toBe(comment)
    expect(ownerName(comment)).toBe('web')
    expect(ownerName('somebody else')).toBeUndefined()
    expect(commentOf(Buffer.from([1, 2, 9, 9]))).toBeUndefined()
  })
})

describe('elements', () => {
  test('come back from their own bytes', () => {
    for (const { element } of endpointElements(network, endpoint).ports) {
      const [read] = parseElements([bytesOf(addElement('tsrun', element, true))])
      expect(read?.comment).toBe(element.comment)
      expect(read?.key.length).toBe(element.set.startsWith('any') ? 8 : element.set === 'addr4' ? 12 : 24)
      expect(read?.data?.length).toBe(element.set.endsWith('4') ? 8 : 20)
    }
  })

  test('of an interval are its first key and the first key behind it', () => {
    const key = [subnetField(parsePrefix('192.168.0.0/24'))]
    const bytes = bytesOf(deleteElement('t', { set: 's', key }))
      .slice(0, 60)
      .toString('hex')
    expect(bytes).toContain('c0a80000')
    expect(bytes).toContain('c0a80100')
    // Nothing lies behind the end of the address space.
    expect(subnetField(parsePrefix('255.255.255.0/24')).end).toBeUndefined()
  })

  test('have ports in network byte order, padded to four bytes', () => {
    const element = { set: 'any4', key: [protocolField('tcp'), portField(8080)] }
    const [read] = parseElements([bytesOf(addElement('t', element, false))])
    expect(read?.key.toString('hex')).toBe('060000001f900000')
  })

  test('that are cut short are refused and nothing else', () => {
    const whole = bytesOf(addElement('t', { set: 'any4', key: [portField(1)], comment: 'x' }, false))
    for (let length = 0; length < whole.length; length++) {
      try {
        parseElements([new ByteReader(whole.slice(0, length))])
      } catch (error) {
        expect(error).toMatchObject({ name: 'FormatError' })
      }
    }
  })
})

function bytesOf({ body }: { body: (writer: ByteWriter) => void }): ByteReader {
  const writer = new ByteWriter()
  body(writer)
  return new ByteReader(writer.finish())
}

function expectGolden(name: string, text: string): void {
  const path = new URL(`../golden/nft/${name}`, import.meta.url)
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, text)
  expect(text).toBe(readFileSync(path, 'utf8'))
}
