// The listing of what pools take: right after whatever order of making and removing, never believed when it may be wrong.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FileIpam } from '../../src/drivers/ipam/file-ipam.ts'
import { PoolListing } from '../../src/drivers/ipam/pool-listing.ts'
import { formatRange, joinRanges, rangeOf, tryParseRange, withoutRange } from '../../src/drivers/ipam/taken-ranges.ts'
import { parsePrefix } from '../../src/lib/ip.ts'
import fc from '../helpers/property.ts'

let directory = ''
let ipam: FileIpam

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'tsrun-listing-')), 'ipam')
  ipam = new FileIpam({ directory })
})

afterEach(() => {
  rmSync(join(directory, '..'), { recursive: true, force: true })
})

const file = () => join(directory, 'next/taken.json')
const listed = () => (existsSync(file()) ? (JSON.parse(readFileSync(file(), 'utf8')).taken as string[]) : undefined)
/** The same from the folders themselves. */
const truth = () =>
  joinRanges(
    readdirSync(directory)
      .filter(name => name.includes('_'))
      .map(name => rangeOf(parsePrefix(name.replace('_', '/')))),
  ).map(formatRange)

async function makePools(count: number) {
  const pools = []
  for (let index = 0; index < count; index += 1) pools.push(await ipam.requestPool({}, []))
  return pools
}

test('joinRanges() and withoutRange() agree with a set of numbers', () => {
  const prefixes = fc.array(fc.record({ at: fc.integer({ min: 0, max: 63 }), bits: fc.integer({ min: 26, max: 32 }) }))
  fc.assert(
    fc.property(prefixes, prefixes, (added, gone) => {
      const numbers = new Set<number>()
      const each = ({ at, bits }: { at: number; bits: number }) => {
        const size = 2 ** (32 - bits)
        const first = at - (at % size)
        return { subnet: `10.0.0.${first}/${bits}`, members: Array.from({ length: size }, (_, i) => first + i) }
      }
      let ranges = joinRanges(added.map(entry => rangeOf(parsePrefix(each(entry).subnet))))
      for (const entry of added) for (const member of each(entry).members) numbers.add(member)
      for (const entry of gone) {
        ranges = withoutRange(ranges, rangeOf(parsePrefix(each(entry).subnet)))
        for (const member of each(entry).members) numbers.delete(member)
      }
      const covered = ranges.flatMap(({ first, last }) =>
        Array.from({ length: Number(last - first) + 1 }, (_, i) => Number(first & 255n) + i),
      )
      expect(new Set(covered)).toEqual(numbers)
      expect(covered).toHaveLength(numbers.size)
    }),
  )
})

test.each([
  ['10.0.0.0-10.0.0.255', true],
  ['fd00::-fd00::ffff', true],
  ['10.0.0.9-10.0.0.1', false],
  ['10.0.0.0', false],
  ['10.0.0.0-fd00::1', false],
  ['10.0.0.0-10.0.0.1-10.0.0.2', false],
  ['', false],
])('tryParseRange(%j)', (text, isRange) => {
  const range = tryParseRange(text)
  expect(range === undefined ? undefined : formatRange(range)).toBe(isRange ? text : undefined)
})

test('few pools need no listing; of many there is one, of few lines, and it goes again', async () => {
  const pools = await makePools(63)
  expect(existsSync(join(directory, 'next'))).toBe(false)
  pools.push(await ipam.requestPool({}, []))
  expect(listed()).toEqual(['10.210.0.0-10.210.63.255'])
  const [first, second] = pools
  if (first === undefined || second === undefined) throw new Error('there are 64')
  await makePools(1)
  await ipam.releasePool(second)
  expect(listed()).toEqual(['10.210.0.0-10.210.0.255', '10.210.2.0-10.210.64.255'])
  expect((await ipam.requestPool({}, [])).subnet).toBe('10.210.1.0/24')
  expect(listed()).toEqual(truth())
  await ipam.releasePool(first)
  await ipam.releasePool(second)
  expect(readdirSync(directory).filter(name => name === 'next')).toEqual([])
  expect(await ipam.listPools()).toHaveLength(63)
})

test('whatever is made and removed, the listing says what the folders say, and no two pools overlap', async () => {
  await makePools(70)
  const step = fc.oneof(
    fc.record({ ask: fc.constantFrom('', '10.210.80.0/28', '10.210.80.0/23', '10.211.0.0/16', 'fd12::/64') }),
    fc.record({ release: fc.nat(100) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
      for (const action of steps) {
        const pools = [...(await ipam.listPools())]
        const pool = 'release' in action ? pools[action.release % pools.length] : undefined
        if ('ask' in action) await ipam.requestPool(action.ask === '' ? {} : { subnet: action.ask }, []).catch(() => {})
        else if (pool !== undefined && pools.length > 66) await ipam.releasePool(pool)
        expect(listed()).toEqual(truth())
      }
      const subnets = (await ipam.listPools()).map(({ subnet }) => rangeOf(parsePrefix(subnet)))
      const total = subnets.reduce((sum, { first, last }) => sum + last - first + 1n, 0n)
      const joined = joinRanges(subnets).reduce((sum, { first, last }) => sum + last - first + 1n, 0n)
      expect(total).toBe(joined)
    }),
    { numRuns: 20 },
  )
}, 60_000)

test('one who dies between taking the listing away and the new one costs a look at each pool, and nothing else', async () => {
  await makePools(70)
  const listing = new PoolListing(directory)
  for (const make of [() => {}, () => mkdirSync(join(directory, '10.210.70.0_24'))]) {
    expect(() =>
      listing.adding('10.210.70.0/24', () => {
        make()
        throw new Error('killed')
      }),
    ).toThrow('killed')
    expect(listed()).toBeUndefined()
    expect(listing.taken().map(formatRange)).toEqual(truth())
  }
  expect((await ipam.requestPool({}, [])).subnet).toBe('10.210.71.0/24')
  expect(listed()).toEqual(['10.210.0.0-10.210.71.255'])
})

test.each([
  ['not JSON', () => writeFileSync(file(), '{"age": "1', 'utf8')],
  ['empty', () => writeFileSync(file(), '')],
  ['with a range that is none', () => writeFileSync(file(), readFileSync(file(), 'utf8').replace('10.210.0.0-', 'x-'))],
  ['without a pool that somebody else made', () => mkdirSync(join(directory, '10.210.70.0_24'))],
])('a listing that is %s is not believed', async (_what, damage) => {
  await makePools(70)
  damage()
  const expected = existsSync(join(directory, '10.210.70.0_24')) ? '10.210.71.0/24' : '10.210.70.0/24'
  expect((await ipam.requestPool({}, [])).subnet).toBe(expected)
  expect(listed()).toEqual(truth())
})

test('a subnet that overlaps one of many pools is refused with the name of that pool', async () => {
  await makePools(70)
  await expect(ipam.requestPool({ subnet: '10.210.12.128/25' }, [])).rejects.toMatchObject({
    message: 'cannot create a pool 10.210.12.128/25: it overlaps the pool 10.210.12.0/24',
  })
  expect(await ipam.requestPool({ subnet: '10.210.99.0/24' }, [])).toMatchObject({ subnet: '10.210.99.0/24' })
})

test('a listing that cannot be written takes nothing along: the pool is there, or nothing is', async () => {
  await makePools(70)
  const written = vi.spyOn(JSON, 'stringify').mockImplementation(() => {
    throw new Error('no room')
  })
  const pool = await ipam.requestPool({}, []).finally(() => written.mockRestore())

  expect((await ipam.listPools()).map(({ subnet }) => subnet)).toContain(pool.subnet)
  expect(listed()).toBeUndefined()
  await ipam.releasePool(pool)
  expect(listed()).toEqual(truth())
})
