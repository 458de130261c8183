// Pools and addresses on a real file system; the search itself against a store in memory and a simple model.

import { spawn } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type AddressStore, takeAddress, usable } from '../../src/drivers/ipam/address-allocator.ts'
import { FileIpam } from '../../src/drivers/ipam/file-ipam.ts'
import { choosePool } from '../../src/drivers/ipam/pool-allocator.ts'
import type { Pool } from '../../src/model/network.ts'
import fc from '../helpers/property.ts'

let directory = ''
let ipam: FileIpam

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsrun-ipam-'))
  ipam = new FileIpam({ directory: join(directory, 'ipam') })
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

class MemoryStore implements AddressStore {
  readonly owners = new Map<string, string>()
  hint: string | undefined
  listings = 0

  reserve(address: string, owner: string): boolean {
    if (this.owners.has(address)) return false
    this.owners.set(address, owner)
    return true
  }
  ownerOf(address: string): string | undefined {
    return this.owners.get(address)
  }
  release(address: string, owner: string): void {
    if (this.owners.get(address) === owner) this.owners.delete(address)
  }
  takenAddresses(): string[] {
    this.listings++
    return [...this.owners.keys()]
  }
  last(): string | undefined {
    return this.hint
  }
  setLast(address: string): void {
    this.hint = address
  }
}

function pool(subnet: string, gateway: string, ipRange?: string): Pool {
  return ipRange === undefined ? { subnet, gateway } : { subnet, gateway, ipRange }
}

function takeMany(store: AddressStore, from: Pool, count: number): string[] {
  return Array.from({ length: count }, (_, i) => takeAddress(store, from, `owner${i}`))
}

describe('takeAddress()', () => {
  test.each([
    ['a /30', pool('10.0.0.0/30', '10.0.0.1'), ['10.0.0.2']],
    ['a /30 with its gateway last', pool('10.0.0.0/30', '10.0.0.2'), ['10.0.0.1']],
    ['a /29', pool('10.0.0.8/29', '10.0.0.9'), ['10.0.0.10', '10.0.0.11', '10.0.0.12', '10.0.0.13', '10.0.0.14']],
    ['an IP range', pool('10.0.0.0/24', '10.0.0.1', '10.0.0.4/30'), ['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.7']],
    ['a range with network and gateway', pool('10.0.0.0/24', '10.0.0.1', '10.0.0.0/30'), ['10.0.0.2', '10.0.0.3']],
    [
      'a range with the broadcast',
      pool('10.0.0.0/24', '10.0.0.1', '10.0.0.252/30'),
      ['10.0.0.252', '10.0.0.253', '10.0.0.254'],
    ],
    ['a small IPv6 subnet', pool('fd00::/126', 'fd00::1'), ['fd00::2', 'fd00::3']],
  ])('gives all addresses of %s and then says that it is full', (_, from, expected) => {
    const store = new MemoryStore()
    expect(takeMany(store, from, expected.length)).toEqual(expected)
    expect(usable(from)).toBe(BigInt(expected.length))
    expect(() => takeAddress(store, from, 'more')).toThrow(
      `cannot give out an address of ${from.ipRange ?? from.subnet}: all ${expected.length} are taken`,
    )
  })

  test('carries across octets and gives neither network, broadcast nor gateway in a /16', () => {
    const store = new MemoryStore()
    const from = pool('192.168.0.0/16', '192.168.3.4')
    const given = takeMany(store, from, 65_533)
    expect(new Set(given).size).toBe(65_533)
    expect(given[253]).toBe('192.168.0.254')
    expect(given[254]).toBe('192.168.0.255')
    expect(given[255]).toBe('192.168.1.0')
    for (const never of ['192.168.0.0', '192.168.255.255', '192.168.3.4']) expect(given).not.toContain(never)
    expect(() => takeAddress(store, from, 'more')).toThrow(/all 65533 are taken/)
    expect(store.listings).toBe(1)
  })

  test('finds its way in an IPv6 /64 and carries there as well', () => {
    const store = new MemoryStore()
    const from = pool('fd00::/64', 'fd00::1')
    expect(takeMany(store, from, 300).at(-1)).toBe('fd00::12d')
    store.hint = 'fd00::ffff:ffff'
    expect(takeAddress(store, from, 'x')).toBe('fd00::1:0:0')
    store.hint = 'fd00::ffff:ffff:ffff:ffff'
    expect(takeAddress(store, from, 'x')).toBe('fd00::12e')
  })

  test('does not give an address again at once', () => {
    const store = new MemoryStore()
    const from = pool('10.0.0.0/29', '10.0.0.1')
    expect(takeAddress(store, from, 'a')).toBe('10.0.0.2')
    store.release('10.0.0.2', 'a')
    expect(takeAddress(store, from, 'b')).toBe('10.0.0.3')
  })

  test.each(['', 'nonsense', '10.9.9.9', 'fd00::1'])('begins at the start when the hint is "%s"', hint => {
    const store = new MemoryStore()
    store.hint = hint
    expect(takeAddress(store, pool('10.0.0.0/24', '10.0.0.1'), 'a')).toBe('10.0.0.2')
  })

  test.each([
    ['10.0.0.256', 'cannot use address 10.0.0.256: it is not an IP address'],
    ['10.0.1.5', 'cannot use address 10.0.1.5: it is not in 10.0.0.0/24'],
    ['fd00::5', 'cannot use address fd00::5: it is not in 10.0.0.0/24'],
    ['10.0.0.1', 'cannot use address 10.0.0.1: it is the gateway'],
    ['10.0.0.0', 'cannot use address 10.0.0.0: it is the network address'],
    ['10.0.0.255', 'cannot use address 10.0.0.255: it is the broadcast address'],
    ['10.0.0.7', 'cannot use address 10.0.0.7: it is held by "web"'],
  ])('refuses the wanted address %s', (wanted, message) => {
    const store = new MemoryStore()
    const from = pool('10.0.0.0/24', '10.0.0.1')
    expect(takeAddress(store, from, 'web', '10.0.0.7')).toBe('10.0.0.7')
    expect(takeAddress(store, from, 'web', '10.0.0.7')).toBe('10.0.0.7')
    expect(() => takeAddress(store, from, 'db', wanted)).toThrow(message)
  })

  test('agrees with a model that knows nothing but the list of usable addresses', () => {
    const operation = fc.oneof(
      fc.constant({ kind: 'take' as const }),
      fc.record({ kind: fc.constant('want' as const), host: fc.integer({ min: 0, max: 15 }) }),
      fc.record({ kind: fc.constant('release' as const), host: fc.integer({ min: 0, max: 15 }) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 14 }), fc.array(operation, { maxLength: 60 }), (gateway, operations) => {
        const from = pool('10.0.0.0/28', `10.0.0.${gateway}`)
        const store = new MemoryStore()
        let owners = 0
        const free = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14].filter(host => host !== gateway))
        for (const step of operations) {
          if (step.kind === 'release') {
            const owner = store.ownerOf(`10.0.0.${step.host}`)
            if (owner === undefined) continue
            store.release(`10.0.0.${step.host}`, owner)
            free.add(step.host)
            continue
          }
          const possible = step.kind === 'take' ? free.size > 0 : free.has(step.host)
          let given: string | undefined
          try {
            given = takeAddress(
              store,
              from,
              `owner${owners++}`,
              step.kind === 'want' ? `10.0.0.${step.host}` : undefined,
            )
          } catch {
            expect(possible).toBe(false)
            continue
          }
          expect(possible).toBe(true)
          expect(free.delete(Number(given.split('.')[3]))).toBe(true)
        }
        expect(store.owners.size).toBe(13 - free.size)
      }),
    )
  })
})

describe('choosePool()', () => {
  test('agrees with a model that knows the third octets that are free', () => {
    // 10.0.0.0/20 in /24s; what is used is given by its first and last third octet, in one piece of any length.
    const ranges = [{ range: '10.0.0.0/20', length: 24 }]
    const used = fc.array(
      fc.record({ octet: fc.integer({ min: 0, max: 17 }), bits: fc.integer({ min: 21, max: 30 }) }),
      {
        maxLength: 12,
      },
    )
    return fc.assert(
      fc.asyncProperty(used, async list => {
        const free = new Set(Array.from({ length: 16 }, (_, octet) => octet))
        for (const { octet, bits } of list) {
          const size = bits < 24 ? 2 ** (24 - bits) : 1
          const first = octet - (octet % size)
          for (let each = first; each < first + size; each++) free.delete(each)
        }
        const subnets = list.map(({ octet, bits }) => ({ subnet: `10.0.${octet}.0/${bits}`, name: 'x' }))
        const [octet] = free
        const chosen = choosePool({}, subnets, ranges)

        if (octet === undefined) await expect(chosen).rejects.toMatchObject({ kind: 'unavailable' })
        else expect(await chosen).toEqual({ subnet: `10.0.${octet}.0/24`, gateway: `10.0.${octet}.1` })
      }),
    )
  })

  test.each([
    ['192.168.0.5/24', /"192\.168\.0\.5\/24" is not a subnet: it has host bits/, /192\.168\.0\.0\/24/],
    ['192.168.0.0/33', /192\.168\.0\.0\/33/, undefined],
    ['192.168.0.0', /it has no prefix length/, /192\.168\.0\.0\/24/],
    ['10.0.0.0/31', /it has no room for a gateway and a container/, /\/30/],
    ['10.0.0.4/32', /it has no room/, /\/30/],
    ['fd00::/127', /it has no room/, /\/126/],
    ['fe80::/64', /it overlaps fe80::\/10, link-local/, undefined],
    ['::ffff:10.0.0.0/120', /it overlaps ::ffff:0:0\/96, IPv4 addresses/, undefined],
    ['127.1.0.0/24', /it overlaps 127\.0\.0\.0\/8, the loopback addresses/, undefined],
    ['239.0.0.0/24', /multicast/, undefined],
    ['0.0.0.0/0', /this host/, undefined],
    ['ff02::/64', /multicast/, undefined],
  ])('refuses %s', async (subnet, message, hint) => {
    const error = await choosePool({ subnet }, []).catch(caught => caught)
    expect(error).toMatchObject({ kind: 'invalid' })
    expect(error.message).toMatch(message)
    expect(error.message).toMatch(/^cannot create a pool /)
    if (hint !== undefined) expect(error.hint).toMatch(hint)
  })

  test.each([
    [{ gateway: '10.0.1.1' }, 'the gateway 10.0.1.1 is not inside it'],
    [{ gateway: '10.0.0.0' }, 'the gateway 10.0.0.0 is its network address'],
    [{ gateway: '10.0.0.255' }, 'the gateway 10.0.0.255 is its broadcast address'],
    [{ gateway: 'gw' }, 'the gateway "gw" is not an IP address'],
    [{ ipRange: '10.0.1.0/25' }, 'the IP range 10.0.1.0/25 is not inside it'],
    [{ ipRange: '10.0.0.0/23' }, 'the IP range 10.0.0.0/23 is not inside it'],
    [{ ipRange: '10.0.0.1/25' }, 'the IP range 10.0.0.1/25 has host bits'],
    [{ ipRange: '10.0.0.9' }, 'the IP range "10.0.0.9" is not in CIDR form'],
  ])('refuses 10.0.0.0/24 with %j', async (rest, why) => {
    await expect(choosePool({ subnet: '10.0.0.0/24', ...rest }, [])).rejects.toThrow(
      `cannot create a pool 10.0.0.0/24: ${why}`,
    )
  })

  test('completes what is left out and writes it canonically', async () => {
    expect(await choosePool({ subnet: '10.0.0.0/24' }, [])).toEqual({ subnet: '10.0.0.0/24', gateway: '10.0.0.1' })
    expect(await choosePool({ subnet: 'FD00:0::/64', gateway: 'fd00::0:FF', ipRange: 'fd00::1:0/112' }, [])).toEqual({
      subnet: 'fd00::/64',
      gateway: 'fd00::ff',
      ipRange: 'fd00::1:0/112',
    })
  })

  test.each([
    [[], '10.210.0.0/24'],
    [['10.210.0.0/24'], '10.210.1.0/24'],
    [['10.210.1.0/24', '10.210.0.128/25', '10.210.0.0/16'], '10.211.0.0/24'],
    [['10.210.1.0/24'], '10.210.0.0/24'],
    [['0.0.0.0/0', '::/0', '192.168.0.0/16', 'fd00::/8'], '10.210.0.0/24'],
    [['10.192.0.0/10', '10.210.0.0/24'], undefined],
    [['10.0.0.0/8'], undefined],
    [['10.128.0.0/9', '10.0.0.0/9'], undefined],
    [['10.208.0.0/12', '10.224.0.0/12', '10.240.0.0/14'], '10.244.0.0/24'],
  ])('chooses beside %j', async (subnets, expected) => {
    const used = subnets.map(subnet => ({ subnet, name: subnet }))
    const chosen = choosePool({}, used)
    if (expected === undefined) await expect(chosen).rejects.toMatchObject({ kind: 'unavailable' })
    else expect((await chosen).subnet).toBe(expected)
  })
})

describe('FileIpam', () => {
  test('keeps a pool as a folder and an address as a link to its owner', async () => {
    const made = await ipam.requestPool({ subnet: '10.0.0.0/24' }, [])
    expect(await ipam.requestAddress(made, 'web')).toBe('10.0.0.2/24')
    const folder = join(directory, 'ipam', '10.0.0.0_24')
    expect(readlinkSync(join(folder, '10.0.0.2'))).toBe('web')
    expect(lstatSync(folder).mode & 0o777).toBe(0o700)
    expect(await ipam.listAddresses(made)).toEqual([{ address: '10.0.0.2', owner: 'web' }])
    expect(await ipam.listPools()).toEqual([made])
  })

  test('gives an address back only for its owner, and twice does no harm', async () => {
    const made = await ipam.requestPool({ subnet: '10.0.0.0/30' }, [])
    await ipam.requestAddress(made, 'web')
    await ipam.releaseAddress(made, '10.0.0.2/30', 'db')
    await expect(ipam.requestAddress(made, 'db')).rejects.toMatchObject({ kind: 'unavailable', code: 'pool-full' })
    await ipam.releaseAddress(made, '10.0.0.2/30', 'web')
    await ipam.releaseAddress(made, '10.0.0.2', 'web')
    expect(await ipam.requestAddress(made, 'db')).toBe('10.0.0.2/30')
  })

  test('names what a wanted subnet overlaps', async () => {
    await ipam.requestPool({ subnet: '10.0.0.0/16' }, [])
    await expect(ipam.requestPool({ subnet: '10.0.7.0/24' }, [])).rejects.toMatchObject({
      kind: 'conflict',
      message: 'cannot create a pool 10.0.7.0/24: it overlaps the pool 10.0.0.0/16',
    })
    const busy = [{ subnet: '172.16.0.0/12', name: 'route 172.16.0.0/12 dev tun0' }]
    await expect(ipam.requestPool({ subnet: '172.18.0.0/16' }, busy)).rejects.toMatchObject({
      message: 'cannot create a pool 172.18.0.0/16: it overlaps the host route 172.16.0.0/12 dev tun0',
      hint: expect.stringContaining('--subnet 10.210.0.0/24'),
    })
  })

  test('releases a pool with all in it, and twice does no harm', async () => {
    const made = await ipam.requestPool({}, [])
    await ipam.requestAddress(made, 'web')
    await ipam.releasePool(made)
    await ipam.releasePool(made)
    expect(readdirSync(join(directory, 'ipam'))).toEqual(['lock'])
    await expect(ipam.requestAddress(made, 'web')).rejects.toMatchObject({ kind: 'not-found' })
    expect(await ipam.listAddresses(made)).toEqual([])
    await ipam.releaseAddress(made, '10.210.0.2', 'web')
  })

  test('gives an address whose hint cannot be written, and nothing else stands then', async () => {
    const given = await ipam.requestPool({ subnet: '10.0.0.0/24' }, [])
    mkdirSync(join(directory, 'ipam', '10.0.0.0_24', '.last', 'in the way'), { recursive: true })

    expect(await ipam.requestAddress(given, 'a')).toBe('10.0.0.2/24')
    expect(await ipam.requestAddress(given, 'b')).toBe('10.0.0.3/24')

    expect((await ipam.listAddresses(given)).map(({ owner }) => owner).sort()).toEqual(['a', 'b'])
  })

  test('gives pools to callers at once without a clash', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => ipam.requestPool({}, [])))
    expect(new Set(made.map(({ subnet }) => subnet)).size).toBe(20)
  })

  test('passes a failure of the file system on, with the path in it', async () => {
    const broken = new FileIpam({ directory: '/dev/null/ipam' })
    await expect(broken.requestPool({}, [])).rejects.toThrow(/ENOTDIR.*\/dev\/null/)
  })

  test('gives 200 different addresses to 8 processes at once', async () => {
    const made = await ipam.requestPool({ subnet: '10.0.0.0/24' }, [])
    const script = fileURLToPath(new URL('ipam-requests.ts', import.meta.url))
    const bun = fileURLToPath(new URL('../../node_modules/@oven/bun-linux-x64/bin/bun', import.meta.url))
    const outputs = await Promise.all(
      Array.from({ length: 8 }, (_, i) => outputOf(bun, [script, join(directory, 'ipam'), made.subnet, `p${i}`, '25'])),
    )
    const given = outputs.join('').trim().split('\n')
    expect(given).toHaveLength(200)
    expect(new Set(given).size).toBe(200)
    expect(await ipam.listAddresses(made)).toHaveLength(200)
  })
})

function outputOf(program: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.on('data', chunk => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', code => (code === 0 ? resolve(text) : reject(new Error(`exit code ${code}`))))
  })
}
