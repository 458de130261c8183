// Addresses of one pool as files, one fact each: an address is taken by a symbolic link of that name whose target is the
// owner. symlink(2) is atomic and exclusive and leaves nothing half done, so no lock is needed (design decision D7).
// `ls -l` shows who has what.

import { readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { tryParseAddress } from '../../lib/ip.ts'
import type { AddressStore } from './address-allocator.ts'

const lastName = 'last'

/** The addresses in the folder of one pool, which must exist. */
export class FileAddressStore implements AddressStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  reserve(address: string, owner: string): boolean {
    try {
      symlinkSync(owner, join(this.#directory, address))
      return true
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false
      throw error
    }
  }

  ownerOf(address: string): string | undefined {
    return readLink(join(this.#directory, address))
  }

  /**
   * Between the look at the owner and the removal nobody else can become the owner: the address is taken, and only its
   * owner gives it back. An owner that gives it back twice at once may take it from a successor; the engine tears
   * a container down once, under its lock.
   */
  release(address: string, owner: string): void {
    if (this.ownerOf(address) !== owner) return
    try {
      unlinkSync(join(this.#directory, address))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }

  taken(): { address: string; owner: string }[] {
    return readdirSync(this.#directory).flatMap(address => {
      if (tryParseAddress(address) === undefined) return []
      const owner = this.ownerOf(address)
      return owner === undefined ? [] : [{ address, owner }]
    })
  }

  takenAddresses(): string[] {
    return readdirSync(this.#directory)
  }

  last(): string | undefined {
    return readLink(join(this.#directory, lastName))
  }

  /**
   * Only a hint: processes that write at once leave any of their answers, and where it cannot be written the address is
   * given all the same.
   */
  setLast(address: string): void {
    const temporary = join(this.#directory, `.${lastName}`)
    try {
      // Another process's, or left by one that was killed between the two calls.
      rmSync(temporary, { force: true })
      symlinkSync(address, temporary)
      renameSync(temporary, join(this.#directory, lastName))
    } catch {}
  }
}

/** Target of a symbolic link, or undefined where there is none. */
export function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
