import { expect, test } from 'vitest'
import { addressAdd, parseInterfaceAddress } from '../../src/kernel/netlink/address.ts'
import { linkAddBridge, linkSet, parseLink } from '../../src/kernel/netlink/link.ts'
import {
  attributeString,
  attributeU32,
  encodeMessage,
  nestedAttributes,
  PayloadWriter,
  parseAcknowledgement,
  parseAttributes,
  parseDone,
  parseMessages,
} from '../../src/kernel/netlink/message.ts'
import { parseRoute, routeAdd } from '../../src/kernel/netlink/route.ts'
import { parseRule, ruleAdd } from '../../src/kernel/netlink/rule.ts'
import { linkAddVeth } from '../../src/kernel/netlink/veth.ts'
import { FormatError } from '../../src/lib/bytes.ts'
import fc from '../helpers/property.ts'

const message = (type: number, flags: number, payload: Uint8Array) => ({
  type,
  flags,
  sequence: 1,
  payload: Buffer.from(payload),
})

test('a message survives encoding and parsing', () => {
  const bytes = Buffer.concat([encodeMessage(16, 5, 7, Buffer.from('abcde')), encodeMessage(17, 0, 8, Buffer.alloc(0))])

  expect(parseMessages(bytes)).toEqual([
    { type: 16, flags: 5, sequence: 7, payload: Buffer.from('abcde') },
    { type: 17, flags: 0, sequence: 8, payload: Buffer.alloc(0) },
  ])
})

test('attributes survive encoding and parsing, nested ones and odd lengths too', () => {
  const writer = new PayloadWriter(16)
  writer.attributeString(3, 'eth0').attributeU8(5, 9)
  writer.nest(18, () => writer.attributeU32(1, 4_000_000_000).nest(2, () => writer.attributeString(7, 'x'.repeat(300))))

  const attributes = parseAttributes(writer.finish())

  expect(attributeString(attributes, 3)).toBe('eth0')
  expect(attributes.get(5)).toEqual(Buffer.from([9]))
  const nested = nestedAttributes(attributes, 18)
  expect(attributeU32(nested, 1)).toBe(4_000_000_000)
  expect(attributeString(nestedAttributes(nested, 2), 7)).toBe('x'.repeat(300))
})

test('a writer grows by whatever is written at the edge of its buffer', () => {
  for (let fill = 0; fill <= 18; fill++) {
    const writer = new PayloadWriter(16)
    writer.bytes(Buffer.alloc(fill, 0xee)).u8(1).u16be(0x0203).u32be(0x04050607).u64(0n).cString('end')
    const tail = '01020304050607000000000000000000'.slice(0, 30)
    expect(writer.finish().subarray(fill).toString('hex')).toBe(`${tail}656e6400`)
  }
})

test.each([
  ['shorter than a header', [8, 0, 0, 0]],
  ['a length below the header', [4, 0, 0, 0, ...new Array(12).fill(0)]],
  ['a length of zero', new Array(16).fill(0)],
  ['a length beyond the end', [255, 0, 0, 0, ...new Array(12).fill(0)]],
  ['a length of 4 GiB', [255, 255, 255, 255, ...new Array(12).fill(0)]],
])('parseMessages() refuses %s', (_, bytes) => {
  expect(() => parseMessages(Buffer.from(bytes))).toThrow(FormatError)
})

test.each([
  ['a length of zero', [0, 0, 1, 0]],
  ['a length below the header', [3, 0, 1, 0]],
  ['a length beyond the end', [9, 0, 1, 0, 1, 2, 3, 4]],
  ['half a header', [4, 0, 1]],
])('parseAttributes() refuses %s', (_, bytes) => {
  expect(() => parseAttributes(Buffer.from(bytes))).toThrow(FormatError)
})

test('whatever arrives, the parsers return or throw FormatError', () => {
  const parsers = [
    (bytes: Uint8Array) => parseMessages(bytes).map(found => parseAttributes(found.payload)),
    (bytes: Uint8Array) => parseAttributes(bytes),
    (bytes: Uint8Array) => parseAcknowledgement(message(2, 0x200, bytes)),
    (bytes: Uint8Array) => parseAcknowledgement(message(2, 0x300, bytes)),
    (bytes: Uint8Array) => parseDone(message(3, 0x202, bytes)),
    (bytes: Uint8Array) => parseLink(message(16, 0, bytes)),
    (bytes: Uint8Array) => parseInterfaceAddress(message(20, 0, bytes)),
    (bytes: Uint8Array) => parseRoute(message(24, 0, bytes)),
    (bytes: Uint8Array) => parseRule(message(32, 0, bytes)),
  ]
  for (const parse of parsers) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => onlyFormatErrors(() => parse(bytes))),
      { numRuns: 500 },
    )
  }
})

test('messages cut off or bent anywhere do no harm', () => {
  const real = [
    linkAddBridge({ name: 'br', mac: '02:42:00:00:00:01' }),
    linkAddVeth({ name: 'v', mtu: 1500, peer: { name: 'eth0', netnsFd: 3, netnsLabel: 'x' } }),
    linkSet('br', { alias: 'abc', ipv6AddressMode: 'none', hairpin: true }),
    addressAdd({ index: 1, interfaceName: 'br', address: '10.0.0.1/24' }),
    routeAdd({ index: 1, interfaceName: 'br', destination: 'default', gateway: 'fd00::1' }),
    ruleAdd({ source: 'fd00::2/128', table: 84002, priority: 8400, protocol: 84 }),
  ].map(change => change.payload)
  const bent = fc.tuple(fc.constantFrom(...real), fc.nat(400), fc.nat(255), fc.nat(400))
  fc.assert(
    fc.property(bent, ([payload, at, value, length]) => {
      const bytes = Buffer.from(payload).subarray(0, length)
      if (bytes.length > 0) bytes[at % bytes.length] = value
      for (const parse of [parseLink, parseInterfaceAddress, parseRoute, parseRule])
        onlyFormatErrors(() => parse(message(16, 0, bytes)))
    }),
    { numRuns: 3000 },
  )
})

test('parseAcknowledgement() reads the kernel’s words, capped and with the whole request', () => {
  const text = new PayloadWriter().attributeString(1, 'mtu greater than device maximum').finish()
  const echo = encodeMessage(16, 5, 7, Buffer.alloc(30))
  const refused = Buffer.from(new Int32Array([-22]).buffer)

  const capped = message(2, 0x300, Buffer.concat([refused, echo.subarray(0, 16), text]))
  const whole = message(2, 0x200, Buffer.concat([refused, echo, text]))

  expect(parseAcknowledgement(capped)).toEqual({ errno: 22, text: 'mtu greater than device maximum' })
  expect(parseAcknowledgement(whole)).toEqual({ errno: 22, text: 'mtu greater than device maximum' })
  expect(parseAcknowledgement(message(2, 0, Buffer.alloc(20)))).toEqual({ errno: 0, text: undefined })
})

test('what the builders write the readers understand', () => {
  const link = parseLink(linkSet('br', { alias: 'it’s ours', mtu: 1400, ipv6AddressMode: 'none', up: true }))
  expect(link).toMatchObject({ name: 'br', alias: 'it’s ours', mtu: 1400, ipv6AddressMode: 'none', up: true })

  const address = addressAdd({ index: 7, interfaceName: 'br', address: 'fd00::2/64' })
  expect(parseInterfaceAddress(address)).toEqual({ index: 7, address: 'fd00::2/64', hasBroadcast: false })

  const route = routeAdd({ index: 7, interfaceName: 'br', destination: '10.1.0.0/16', gateway: '10.0.0.1', metric: 9 })
  expect(parseRoute(route)).toMatchObject({ destination: '10.1.0.0/16', gateway: '10.0.0.1', index: 7, metric: 9 })
})

test.each([
  [linkAddBridge({ name: 'br', mac: '02:42:00:00:00:01' }), 'link add name br address 02:42:00:00:00:01 type bridge'],
  [linkSet('br', { alias: "it's", mtu: 1400, up: true }), "link set dev br mtu 1400 alias 'it'\\''s' up"],
  [linkSet('v', { hairpin: true, up: false }), 'link set dev v down type bridge_slave hairpin on'],
  [addressAdd({ index: 1, interfaceName: 'br', address: '10.0.0.1/31' }), 'address add 10.0.0.1/31 dev br'],
  [addressAdd({ index: 1, interfaceName: 'br', address: '10.0.0.1/24' }), 'address add 10.0.0.1/24 brd + dev br'],
  [addressAdd({ index: 1, interfaceName: 'br', address: 'fd00::1/64' }), 'address add fd00::1/64 dev br nodad'],
])('the printed command names its device so that ip cannot misread "br"', (change, command) => {
  expect(change.command()).toBe(command)
})

function onlyFormatErrors(task: () => unknown): void {
  try {
    task()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
  }
}
