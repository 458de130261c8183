// Networks on disk: `<root>/networks/<name>.json`. The file is made exclusively, so a name is taken once.

import { linkSync, mkdirSync, rmSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { syncPath } from '../../lib/json-file.ts'
import { readJson, type Shape, unlessDamaged, writeJson } from '../../lib/state-file.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { printable, shortId } from '../ids.ts'

const networkShape: Shape = {
  id: 'text',
  name: 'text',
  driver: 'text',
  pools: 'list',
  labels: 'object',
  options: 'object',
}

export class NetworkStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Writes a new network durably. @throws TsrunError conflict when the name is taken */
  add(network: Network): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    const draft = this.#draft(network)
    try {
      writeJson(draft, network, { durable: true })
      linkSync(draft, this.#path(network.name))
      syncPath(this.#directory)
    } catch (error) {
      if (hasCode(error, 'EEXIST')) throw nameTaken(network.name)
      throw error
    } finally {
      rmSync(draft, { force: true })
    }
  }

  /** Replaces the record of a network that is there, durably. The caller holds the network's lock. */
  replace(network: Network): void {
    writeJson(this.#path(network.name), network, { durable: true })
  }

  /** Forgets the network, and not another that has got its name meanwhile. Idempotent. */
  delete(network: Network): void {
    if (this.get(network.name)?.id === network.id) rmSync(this.#path(network.name), { force: true })
    this.deleteDraft(network)
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  get(name: string): Network | undefined {
    return name.includes('/') || name.includes('\0') ? undefined : readJson<Network>(this.#path(name), networkShape)
  }

  /** All networks, by name, without those whose record is damaged: see unlessDamaged(). */
  list(): Network[] {
    return this.#names().flatMap(name => unlessDamaged(() => this.get(name)) ?? [])
  }

  /** All networks: for whoever decides what nobody uses. @throws StateFileError when the record of one is damaged */
  all(): Network[] {
    return this.#names().flatMap(name => this.get(name) ?? [])
  }

  /**
   * The network of this id, unless its record is damaged.
   * @param likely names that it may have, e.g. those that a container's user said: with a right one no other is read
   */
  ofId(id: string, likely: readonly string[] = []): Network | undefined {
    for (const name of likely) {
      const network = unlessDamaged(() => this.get(name))
      if (network?.id === id) return network
    }
    return this.list().find(network => network.id === id)
  }

  /** The network of this name or whole id, unless its record is damaged; none is no error. */
  named(reference: string): Network | undefined {
    return unlessDamaged(() => this.get(reference)) ?? this.ofId(reference)
  }

  /**
   * The network that `reference` means: a name, an id, or the first digits of one.
   * @throws TsrunError not-found, or conflict when several ids begin so
   */
  find(reference: string): Network {
    const named = this.get(reference)
    if (named !== undefined) return named
    const matches = /^[0-9a-f]{1,64}$/.test(reference) ? this.list().filter(n => n.id.startsWith(reference)) : []
    if (matches.length > 1)
      throw new TsrunError(
        'conflict',
        'ambiguous-id',
        `cannot tell which network "${reference}" is: ${matches.length} ids begin so`,
        {
          hint: `give more digits: ${matches
            .slice(0, 4)
            .map(n => shortId(n.id))
            .join(', ')}`,
        },
      )
    const [found] = matches
    if (found !== undefined) return found
    throw noSuchNetwork(reference)
  }

  #names(): string[] {
    return namesIfThere(this.#directory)
      .filter(file => file.endsWith('.json') && !file.startsWith('.'))
      .map(file => file.slice(0, -'.json'.length))
      .sort()
  }

  /** What a creation left that was cut off while it wrote the record. Idempotent. */
  deleteDraft(network: Network): void {
    rmSync(this.#draft(network), { force: true })
  }

  /** Where its record is written first. */
  #draft(network: Network): string {
    return `${this.#directory}/.${network.id}`
  }

  #path(name: string): string {
    return `${this.#directory}/${name}.json`
  }
}

export function noSuchNetwork(reference: string): TsrunError {
  return new TsrunError('not-found', 'no-such-network', `no such network: "${printable(reference)}"`, {
    hint: '`tsrun network list` shows all; `tsrun network create NAME` makes one',
  })
}

export function nameTaken(name: string): TsrunError {
  return new TsrunError('conflict', 'name-taken', `cannot create network "${name}": there is a network of that name`, {
    hint: `remove it with \`tsrun network rm ${name}\`, or choose another name`,
  })
}
