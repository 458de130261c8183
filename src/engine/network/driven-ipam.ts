// The books of addresses with IPAM drivers in front of them: where a pool's addresses are chosen by a driver of somebody else, it is
// asked first, and what it says is entered like every other address. So whatever looks for addresses that nobody holds any more,
// after a crash or a reboot, finds those too.

import type { IpamDriver } from '../../model/ipam.ts'
import type { IpamAllocator, Network, Pool, PoolRequest, PoolUsage } from '../../model/network.ts'
import { withoutPrefix } from './address-text.ts'

interface Parts {
  readonly books: IpamAllocator
  drivers(name: string): Promise<IpamDriver>
  networks(): readonly Network[]
}

export class DrivenIpam implements IpamAllocator {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  requestPool(wanted: PoolRequest, busy: readonly { readonly subnet: string; readonly name: string }[]): Promise<Pool> {
    return this.#parts.books.requestPool(wanted, busy)
  }

  releasePool(pool: Pool): Promise<void> {
    return this.#parts.books.releasePool(pool)
  }

  async requestAddress(pool: Pool, owner: string, wanted?: string): Promise<string> {
    const { books } = this.#parts
    const chooser = await this.#chooserOf(pool, owner)
    if (chooser === undefined) return books.requestAddress(pool, owner, wanted)
    const { driver, network } = chooser
    const request = { network, pool, owner }
    const address = withoutPrefix(
      await driver.requestAddress({ ...request, ...(wanted === undefined ? {} : { wanted: withoutPrefix(wanted) }) }),
    )
    try {
      return await books.requestAddress(pool, owner, address)
    } catch (error) {
      await driver.releaseAddress({ ...request, address })
      throw error
    }
  }

  async releaseAddress(pool: Pool, address: string, owner: string): Promise<void> {
    const chooser = await this.#chooserOf(pool, owner)
    // Before the entry: while that stands, whoever cleans up asks again.
    await chooser?.driver.releaseAddress({ network: chooser.network, pool, owner, address: withoutPrefix(address) })
    await this.#parts.books.releaseAddress(pool, address, owner)
  }

  usage(pool: Pool): Promise<PoolUsage> {
    return this.#parts.books.usage(pool)
  }

  listPools(): Promise<readonly Pool[]> {
    return this.#parts.books.listPools()
  }

  listAddresses(pool: Pool): Promise<readonly { readonly address: string; readonly owner: string }[]> {
    return this.#parts.books.listAddresses(pool)
  }

  /** Who chooses the pool's addresses; undefined: the books. What the network itself owns is kept from containers, and never asked for. */
  async #chooserOf(pool: Pool, owner: string): Promise<Chooser | undefined> {
    if (pool.givenBy === undefined) return undefined
    const network = this.#parts.networks().find(({ pools }) => pools.some(({ subnet }) => subnet === pool.subnet))
    if (network === undefined || network.id === owner) return undefined
    const driver = await this.#parts.drivers(pool.givenBy)
    return isChoosing(driver) ? { network, driver } : undefined
  }
}

type Choosing = IpamDriver & Required<Pick<IpamDriver, 'requestAddress' | 'releaseAddress'>>

interface Chooser {
  readonly network: Network
  readonly driver: Choosing
}

function isChoosing(driver: IpamDriver): driver is Choosing {
  return driver.requestAddress !== undefined && driver.releaseAddress !== undefined
}
