import { Address4, Address6 } from 'ip-address'
import { expect, test } from 'vitest'
import {
  addressBytes,
  addressFromBytes,
  broadcastOf,
  compareAddresses,
  contains,
  formatAddress,
  formatPrefix,
  lastAddress,
  networkOf,
  nextAddress,
  offsetAddress,
  overlaps,
  parseAddress,
  parsePrefix,
  tryParseAddress,
  tryParsePrefix,
} from '../../src/lib/ip.ts'
import { parseSubnetInput } from '../../src/lib/ip-input.ts'
import fc from '../helpers/property.ts'

test.each([
  ['192.168.0.1', '192.168.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['0.0.0.0', '0.0.0.0'],
  ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
  ['::', '::'],
  ['1::', '1::'],
  ['::1', '::1'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
])('parseAddress("%s") is %s in canonical form', (text, canonical) => {
  expect(formatAddress(parseAddress(text))).toBe(canonical)
})

test.each(['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', '1.2.3.4 ', '0x1.2.3.4', ':', ':::', '1:2', '1::2::3'])(
  '"%s" is no address',
  text => expect(tryParseAddress(text)).toBeUndefined(),
)

test.each([
  'g::',
  '12345::',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7::8',
  ':1::',
  '::1:',
  'fe80::1%eth0',
  '::1.2.3',
  '1.2.3.4::',
])('"%s" is no address either', text => expect(tryParseAddress(text)).toBeUndefined())

test.each(['1.2.3.4', '1.2.3.4/', '1.2.3.4/33', '::/129', '1.2.3.4/-1', '1.2.3.4/024', '1.2.3.4/8/8'])(
  '"%s" is no prefix',
  text => expect(tryParsePrefix(text)).toBeUndefined(),
)

test('our parser and the package ip-address agree on IPv4', () => {
  fc.assert(
    fc.property(fc.ipV4(), text => {
      expect(formatAddress(parseAddress(text))).toBe(new Address4(text).correctForm())
    }),
  )
})

test('our parser and the package ip-address agree on IPv6', () => {
  fc.assert(
    fc.property(fc.ipV6(), text => {
      expect(parseAddress(text).value).toBe(new Address6(text).bigInt())
    }),
  )
})

test('text, numbers and bytes are the same address', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, (1n << 128n) - 1n), value => {
      const address = { family: 6, value } as const
      expect(parseAddress(formatAddress(address))).toEqual(address)
      expect(addressFromBytes(addressBytes(address))).toEqual(address)
    }),
  )
})

test('tryParsePrefix() takes anything', () => {
  fc.assert(fc.property(fc.string(), text => void tryParsePrefix(text)))
})

test('networkOf(), lastAddress() and broadcastOf() know the edges of a subnet', () => {
  expect(formatPrefix(networkOf(parsePrefix('10.9.255.7/22')))).toBe('10.9.252.0/22')
  expect(formatAddress(lastAddress(parsePrefix('10.9.255.7/22')))).toBe('10.9.255.255')
  expect(formatAddress(lastAddress(parsePrefix('fd00::/64')))).toBe('fd00::ffff:ffff:ffff:ffff')
  expect(formatPrefix(networkOf(parsePrefix('1.2.3.4/0')))).toBe('0.0.0.0/0')
  expect(broadcastOf(parsePrefix('10.0.0.0/31'))).toBeUndefined()
  expect(broadcastOf(parsePrefix('fd00::/64'))).toBeUndefined()
})

test.each([
  ['10.0.0.0/8', '10.9.0.0/16', true],
  ['10.9.0.0/16', '10.0.0.0/8', true],
  ['10.9.0.0/24', '10.9.1.0/24', false],
  ['0.0.0.0/0', '192.168.0.0/24', true],
  ['10.9.0.5/24', '10.9.0.77/24', true],
  ['::/0', '10.0.0.0/8', false],
  ['fd00::/8', 'fd12:3456::/48', true],
])('overlaps(%s, %s) is %s', (a, b, expected) => {
  expect(overlaps(parsePrefix(a), parsePrefix(b))).toBe(expected)
})

test('contains() holds for whole subnets only', () => {
  expect(contains(parsePrefix('10.9.0.0/24'), parseAddress('10.9.0.255'))).toBe(true)
  expect(contains(parsePrefix('10.9.0.0/24'), parseAddress('10.9.1.0'))).toBe(false)
  expect(contains(parsePrefix('10.9.0.0/24'), parsePrefix('10.9.0.0/23'))).toBe(false)
})

test('nextAddress() carries across octets and stops at the end', () => {
  expect(nextAddress(parseAddress('10.0.255.255'))).toEqual(parseAddress('10.1.0.0'))
  expect(nextAddress(parseAddress('255.255.255.255'))).toBeUndefined()
  expect(offsetAddress(parseAddress('::'), -1)).toBeUndefined()
})

test('compareAddresses() puts IPv4 first, then counts', () => {
  const sorted = ['::1', '10.0.0.10', '10.0.0.9'].map(parseAddress).sort(compareAddresses).map(formatAddress)

  expect(sorted).toEqual(['10.0.0.9', '10.0.0.10', '::1'])
})

test.each([
  ['10.9.0.0/24', '10.9.0.0/24'],
  ['FD00:9:0::/64', 'fd00:9::/64'],
  ['10.9.0.5/24', { message: '"10.9.0.5/24" is not a subnet: it has host bits', hint: 'did you mean 10.9.0.0/24?' }],
  [
    '10.9.0.0',
    { message: '"10.9.0.0" is not a subnet: it has no prefix length', hint: 'add the prefix length, e.g. 10.9.0.0/24' },
  ],
])('parseSubnetInput("%s")', async (text, expected) => {
  expect(await parseSubnetInput(text)).toEqual(expected)
})

test.each(['10.9.0/24', '10.9.0.0/33', 'fd00::x/64', 'nonsense/8'])('parseSubnetInput("%s") explains', async text => {
  expect(await parseSubnetInput(text)).toMatchObject({
    message: expect.stringContaining(`"${text}" is not a subnet: `),
  })
})
