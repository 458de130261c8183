// Ten thousand endpoints and ten thousand networks without a kernel: what one operation of the stores and allocators costs
// when all the others are there already. TSRUN_PRINT_SCALE=1 prints the figures that docs/scale.md shows.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FileIpam } from '../../src/drivers/ipam/file-ipam.ts'
import { ContainerStore } from '../../src/engine/container/container-store.ts'
import { NetworkStore } from '../../src/engine/network/network-store.ts'
import { Paths } from '../../src/engine/paths.ts'
import type { Container } from '../../src/model/container.ts'
import type { Network } from '../../src/model/network.ts'

const COUNT = 10_000
const SAMPLE = 500

let directory = ''

// In memory: a disk that has just deleted tens of thousands of files is slow for minutes, and that would be measured.
beforeEach(() => {
  directory = mkdtempSync('/dev/shm/tsrun-scale-')
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

/** Microseconds of each call; foreign load makes single ones long, so only medians are compared. */
async function timeEach(count: number, task: (index: number) => unknown): Promise<number[]> {
  const times: number[] = []
  for (let index = 0; index < count; index += 1) {
    const start = performance.now()
    await task(index)
    times.push((performance.now() - start) * 1000)
  }
  return times
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

function tell(what: string, first: number, last: number): void {
  if (process.env.TSRUN_PRINT_SCALE !== undefined) console.log(`${what}: ${first.toFixed(0)} -> ${last.toFixed(0)} us`)
}

/** The last calls cost what the first did, up to what a busy machine does to a median. */
function expectFlat(what: string, times: readonly number[]): void {
  const first = median(times.slice(0, SAMPLE))
  const last = median(times.slice(-SAMPLE))
  tell(what, first, last)
  expect(last, what).toBeLessThan(first * 5 + 200)
}

/** Of the pool: .0.1 is the gateway, and next-fit goes up. */
const addressOf = (index: number) => `10.64.${index >> 8}.${index & 255}`
const idOf = (index: number) => index.toString(16).padStart(64, '0')

function network(index: number): Network {
  return {
    id: idOf(index),
    name: `net${index}`,
    driver: 'bridge',
    pools: [{ subnet: subnetOf(index), gateway: subnetOf(index).replace(/0\/24$/, '1') }],
    internal: false,
    labels: {},
    options: {},
    createdAt: '2026-01-01T00:00:00.000Z',
  }
}

/** The first ten thousand default pools. */
const subnetOf = (index: number) => `10.${210 + Math.floor(index / 256)}.${index % 256}.0/24`

test(`the ${COUNT}th endpoint costs what the first does: address, name, records, look-ups`, async () => {
  const store = new ContainerStore(new Paths(join(directory, 'root'), join(directory, 'state')))
  const ipam = new FileIpam({ directory: join(directory, 'ipam') })
  const pool = await ipam.requestPool({ subnet: '10.64.0.0/16' }, [])
  const addresses = new Set<string>()

  const taken = await timeEach(COUNT, async index => addresses.add(await ipam.requestAddress(pool, idOf(index))))
  const made = await timeEach(COUNT, index => {
    const id = idOf(index)
    mkdirSync(join(directory, 'root/containers', id), { recursive: true })
    const least = { createdAt: '', image: {}, process: {}, spec: {}, ports: [] }
    store.write({ id, name: `c${index}`, ...least } as unknown as Container)
    store.reserveName(`c${index}`, id)
  })
  const found = await timeEach(SAMPLE * 2, index => {
    const at = (index * 7919) % COUNT
    expect([store.find(`c${at}`).id, store.find(idOf(at)).id]).toEqual([idOf(at), idOf(at)])
  })
  const given = await timeEach(COUNT, async index => {
    store.releaseName(`c${index}`, idOf(index))
    await ipam.releaseAddress(pool, addressOf(index + 2), idOf(index))
  })

  expect(addresses.size).toBe(COUNT)
  expect(await ipam.listAddresses(pool)).toEqual([])
  expectFlat('address', taken)
  expectFlat('record and name', made)
  expectFlat('look-up by name and id', found)
  expectFlat('name and address given back', given)
}, 120_000)

test(`among ${COUNT} networks a look-up by name and the choice of a subnet are flat`, async () => {
  const networks = join(directory, 'networks')
  const pools = join(directory, 'ipam')
  const store = new NetworkStore(networks)
  const ipam = new FileIpam({ directory: pools })
  mkdirSync(networks)
  const before = await timeEach(20, () => store.get('net0') ?? ipam.listPools())
  const firstPool = await timeEach(5, async () => ipam.releasePool(await ipam.requestPool({}, [])))
  for (let index = 0; index < COUNT; index += 1) {
    writeFileSync(join(networks, `net${index}.json`), JSON.stringify(network(index)))
    mkdirSync(join(pools, subnetOf(index).replace('/', '_')), { recursive: true })
  }

  const found = await timeEach(SAMPLE, index =>
    expect(store.find(`net${(index * 7919) % COUNT}`).driver).toBe('bridge'),
  )
  const [, listed = 0] = await timeEach(2, () => expect(store.list()).toHaveLength(COUNT))
  const another = async () => {
    const pool = await ipam.requestPool({}, [])
    expect(pool.subnet).toBe(subnetOf(COUNT))
    await ipam.releasePool(pool)
  }
  // The one that finds no listing of what is taken makes it.
  const [listedPools = 0] = await timeEach(1, another)
  const lastPool = await timeEach(21, another)

  tell('network by name', median(before), median(found))
  tell('pool of a new network', median(firstPool), median(lastPool))
  tell('list of all networks', 0, listed)
  tell('pool of a new network, nothing listed', 0, listedPools)
  expect(median(found)).toBeLessThan(5000)
  // A look at each would be ten thousand steps, of microseconds each.
  expect(median(lastPool)).toBeLessThan(median(firstPool) * 5 + 2000)
}, 120_000)
