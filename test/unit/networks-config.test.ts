import { describe, expect, test } from 'vitest'
import { usageOf } from '../../src/drivers/ipam/address-allocator.ts'
import { parseNetworksConfig } from '../../src/drivers/ipam/networks-config.ts'

describe('parseNetworksConfig()', () => {
  const parse = (pools: unknown) => parseNetworksConfig({ 'default-address-pools': pools })

  test('reads ranges in order, of both IP versions', () => {
    const pools = [
      { base: '172.24.0.0/13', size: 24 },
      { base: 'FD12::/48', size: 64 },
    ]
    expect(parse(pools)).toEqual([
      { range: '172.24.0.0/13', length: 24 },
      { range: 'fd12::/48', length: 64 },
    ])
    expect(parseNetworksConfig({})).toEqual([])
  })

  test.each([[null], [[]], ['x'], [{ pools: [] }], [{ 'default-address-pools': {} }]])('refuses %j', value => {
    expect(() => parseNetworksConfig(value)).toThrow()
  })

  test.each([
    [[null]],
    [[{}]],
    [[{ base: '10.0.0.0/8' }]],
    [[{ base: '10.0.0.0', size: 24 }]],
    [[{ base: '10.0.0.0/24', size: 31 }]],
    [[{ base: '10.0.0.0/24', size: 24.5 }]],
    [[{ base: 'fd00::/48', size: 127 }]],
  ])('refuses the ranges %j', pools => {
    expect(() => parse(pools)).toThrow()
  })
})

describe('usageOf()', () => {
  test('counts what is kept once, and of the range only what is in it', () => {
    const pool = { subnet: '10.1.0.0/24', gateway: '10.1.0.1', ipRange: '10.1.0.0/28' }
    expect(usageOf(pool, new Set(['10.1.0.2', '10.1.0.99']))).toEqual({
      subnet: '10.1.0.0/24',
      inUse: 5,
      // .0 to .15 without .0, .1 and .2
      available: 13n,
    })
  })

  test('counts past what a number holds', () => {
    const pool = { subnet: 'fd00::/64', gateway: 'fd00::1' }
    expect(usageOf(pool, new Set()).available).toBe(2n ** 64n - 2n)
  })
})
