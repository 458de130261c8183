// IPAM on files: a pool is a folder named after its subnet (`10.210.0.0_24`), an address a symbolic link in it. Pools
// are compared with each other, so they are made under a lock; addresses need none.

import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { withLock } from '../../kernel/flock.ts'
import { faultPoint } from '../../lib/fault.ts'
import { formatAddress, parsePrefix, tryParseAddress, tryParsePrefix } from '../../lib/ip.ts'
import { syncPath } from '../../lib/json-file.ts'
import { sweepTemporaries } from '../../lib/state-file.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IpamAllocator, Pool, PoolRequest, PoolUsage } from '../../model/network.ts'
import { takeAddress, usageOf } from './address-allocator.ts'
import { FileAddressStore, readLink } from './file-address-store.ts'
import { localRange } from './local-range.ts'
import { choosePool, type DefaultRange, firstHost, standardRanges, type UsedSubnet } from './pool-allocator.ts'
import { PoolListing } from './pool-listing.ts'
import { type AddressRange, rangeOf, rangesOverlap } from './taken-ranges.ts'

export interface FileIpamOptions {
  /** Made on first use. */
  readonly directory: string
  /**
   * Where pools come from that nobody chose; asked when one is. Where it has none of a family: 10.210.0.0 to 10.255.255.255
   * in /24s, and the host's own IPv6 range in /64s.
   */
  readonly defaultRanges?: () => Promise<readonly DefaultRange[]>
}

export class FileIpam implements IpamAllocator {
  readonly #directory: string
  readonly #listing: PoolListing
  readonly #defaultRanges: () => Promise<readonly DefaultRange[]>

  constructor({ directory, defaultRanges = async () => [] }: FileIpamOptions) {
    this.#directory = directory
    this.#listing = new PoolListing(directory)
    this.#defaultRanges = defaultRanges
  }

  async requestPool(wanted: PoolRequest, busy: readonly UsedSubnet[]): Promise<Pool> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    return this.#locked(async () => {
      const taken = this.#listing.taken()
      const routes = busy.map(({ subnet, name }) => ({ subnet, name: `the host ${name}` }))
      const ranges = wanted.subnet === undefined ? await this.#rangesOf(wanted.family ?? 4) : []
      // Only what is refused needs a name.
      const named = mayOverlap(wanted.subnet, taken) ? this.#listing.subnets() : []
      const pools = named.map(subnet => ({ subnet, name: `the pool ${subnet}` }))
      const pool = await choosePool(wanted, [...pools, ...routes], ranges, taken)
      this.#listing.adding(pool.subnet, () => this.#makeFolder(pool))
      return pool
    })
  }

  async releasePool(pool: Pool): Promise<void> {
    const folder = this.#folder(pool)
    // What a release has left that was cut off behind the first step.
    if (!existsSync(folder)) return sweepTemporaries(this.#directory)
    await this.#locked(() => {
      if (!existsSync(folder)) return
      this.#listing.removing(pool.subnet, () => {
        // Out of the way in one step: an address is taken in the whole folder or, with ENOENT, not at all.
        const removed = join(this.#directory, `.removed.${process.pid}.tmp`)
        rmSync(removed, { recursive: true, force: true })
        renameSync(folder, removed)
        faultPoint('pool taken out')
        rmSync(removed, { recursive: true, force: true })
      })
    })
  }

  /** All pools, in no order. */
  async listPools(): Promise<readonly Pool[]> {
    return this.#listing.subnets().map(subnet => {
      const folder = subnet.replace('/', '_')
      const gateway = readLink(join(this.#directory, folder, gatewayName)) ?? firstHost(parsePrefix(subnet))
      return { subnet, gateway }
    })
  }

  async requestAddress(pool: Pool, owner: string, wanted?: string): Promise<string> {
    try {
      const address = takeAddress(this.#store(pool), pool, owner, wanted)
      return `${address}/${parsePrefix(pool.subnet).length}`
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      throw new TsrunError(
        'not-found',
        'no-pool',
        `cannot give out an address of ${pool.subnet}: there is no such pool`,
        {
          hint: 'the network was removed meanwhile, or its state is damaged: remove it and create it again',
          cause: error,
        },
      )
    }
  }

  async releaseAddress(pool: Pool, address: string, owner: string): Promise<void> {
    const parsed = tryParseAddress(address.replace(/\/.*/, ''))
    if (parsed !== undefined) this.#store(pool).release(formatAddress(parsed), owner)
  }

  async listAddresses(pool: Pool): Promise<readonly { readonly address: string; readonly owner: string }[]> {
    try {
      return this.#store(pool).taken()
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  }

  async usage(pool: Pool): Promise<PoolUsage> {
    return usageOf(pool, new Set((await this.listAddresses(pool)).map(({ address }) => address)))
  }

  async #rangesOf(family: 4 | 6): Promise<readonly DefaultRange[]> {
    const configured = (await this.#defaultRanges()).filter(({ range }) => parsePrefix(range).family === family)
    if (configured.length > 0) return configured
    return family === 6 ? [await localRange(this.#directory)] : standardRanges
  }

  #store(pool: Pool): FileAddressStore {
    return new FileAddressStore(this.#folder(pool))
  }

  #makeFolder(pool: Pool): void {
    const folder = this.#folder(pool)
    mkdirSync(folder, { mode: 0o700 })
    try {
      faultPoint('pool folder')
      symlinkSync(pool.gateway, join(folder, gatewayName))
      // The network that is about to be recorded must not survive a power cut without it.
      for (const path of [folder, this.#directory]) syncPath(path)
    } catch (error) {
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  #folder(pool: Pool): string {
    return join(this.#directory, pool.subnet.replace('/', '_'))
  }

  #locked<T>(task: () => Promise<T> | T): Promise<T> {
    return withLock(join(this.#directory, 'lock'), task, { what: 'the address pools' })
  }
}

const gatewayName = 'gateway'

function mayOverlap(subnet: string | undefined, taken: readonly AddressRange[]): boolean {
  if (subnet === undefined) return false
  const wanted = tryParsePrefix(subnet)
  return wanted === undefined || taken.some(range => rangesOverlap(range, rangeOf(wanted)))
}
