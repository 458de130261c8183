// What all pools take together, in a file of its own: among thousands, choosing a subnet would otherwise be comparing it with
// each. The folders of the pools stay the truth. Whoever changes them takes the listing away first and puts a new one there
// afterwards, so a process that dies between leaves none; and it is believed only if the folder is as old as it says.

import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { parsePrefix, tryParsePrefix } from '../../lib/ip.ts'
import { readJson, StateFileError, writeJson } from '../../lib/state-file.ts'
import { type AddressRange, formatRange, joinRanges, rangeOf, tryParseRange, withoutRange } from './taken-ranges.ts'

/** With fewer pools, reading their names costs less than the file does. */
const worthwhile = 64
/** A folder, because a file beside the pools would change the age of theirs. */
const folderName = 'next'

interface Listing {
  /** When the folder of the pools was changed last, in nanoseconds. */
  readonly age: string
  readonly pools: number
  readonly taken: readonly string[]
}

/** The pools of one folder. The caller holds its lock in all calls but subnets(). */
export class PoolListing {
  readonly #directory: string

  /** @param directory has a folder for each pool: `10.210.0.0_24` */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** The subnets of all pools, in no order: as many steps as there are pools. */
  subnets(): string[] {
    return readFolder(this.#directory)
      .map(name => name.replace('_', '/'))
      .filter(subnet => tryParsePrefix(subnet) !== undefined)
  }

  /** The addresses that the pools have. */
  taken(): readonly AddressRange[] {
    return this.#known().ranges
  }

  /** Does `make`, which makes the folder of the pool `subnet`, and keeps the listing right. */
  adding(subnet: string, make: () => void): void {
    const { ranges, pools } = this.#known()
    this.#changing(make, { pools: pools + 1, ranges: joinRanges([...ranges, rangeOf(parsePrefix(subnet))]) })
  }

  /** Does `remove`, which takes the folder of the pool `subnet` away, and keeps the listing right. */
  removing(subnet: string, remove: () => void): void {
    const { ranges, pools } = this.#known()
    this.#changing(remove, { pools: pools - 1, ranges: withoutRange(ranges, rangeOf(parsePrefix(subnet))) })
  }

  #changing(change: () => void, after: Known): void {
    rmSync(this.#file, { force: true })
    change()
    try {
      if (after.pools < worthwhile) rmSync(join(this.#directory, folderName), { recursive: true, force: true })
      else this.#write(after)
    } catch {
      // The change is made. Without a listing, or with one that is not believed, the folders are counted.
    }
  }

  #write({ pools, ranges }: Known): void {
    mkdirSync(join(this.#directory, folderName), { recursive: true, mode: 0o700 })
    const listing: Listing = { age: this.#age(), pools, taken: ranges.map(formatRange) }
    writeJson(this.#file, listing)
  }

  #known(): Known {
    return this.#read() ?? this.#count()
  }

  #count(): Known {
    const subnets = this.subnets()
    return { pools: subnets.length, ranges: joinRanges(subnets.map(subnet => rangeOf(parsePrefix(subnet)))) }
  }

  /** @returns undefined where there is no listing, or none that can be believed */
  #read(): Known | undefined {
    const listing = readOrUndefined(this.#file)
    if (listing === undefined || listing.age !== this.#age()) return undefined
    const ranges = listing.taken.map(text => tryParseRange(String(text)))
    const known = ranges.filter(range => range !== undefined)
    return known.length === ranges.length ? { pools: listing.pools, ranges: known } : undefined
  }

  #age(): string {
    return String(statSync(this.#directory, { bigint: true }).mtimeNs)
  }

  get #file(): string {
    return join(this.#directory, folderName, 'taken.json')
  }
}

interface Known {
  readonly pools: number
  readonly ranges: readonly AddressRange[]
}

function readOrUndefined(file: string): Listing | undefined {
  try {
    return readJson<Listing>(file, { age: 'text', pools: 'number', taken: 'list' })
  } catch (error) {
    // Cut off by a loss of power: it is made again.
    if (error instanceof StateFileError) return undefined
    throw error
  }
}

function readFolder(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
