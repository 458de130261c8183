// Stands in for a driver that cannot be loaded: its networks can still be listed and removed and their containers torn down,
// while everything that would make something fails with the reason.

import type { Endpoint, Network, NetworkDriver } from '../../model/network.ts'

export class MissingDriver implements NetworkDriver {
  readonly name: string
  readonly hasEndpoints = true
  readonly #reason: unknown

  /** @param reason thrown by whatever would need the driver */
  constructor(name: string, reason: unknown) {
    this.name = name
    this.#reason = reason
  }

  validate(): Network {
    throw this.#reason
  }

  async create(): Promise<void> {
    throw this.#reason
  }

  async prepareEndpoint(): Promise<Endpoint> {
    throw this.#reason
  }

  async connect(): Promise<void> {
    throw this.#reason
  }

  /** What it made in the sandbox goes with the sandbox; what it made elsewhere stays until the driver is there again. */
  async disconnect(): Promise<void> {}

  async remove(): Promise<void> {}

  async inspect(): Promise<Readonly<Record<string, unknown>>> {
    return { state: 'driver missing', reason: this.#reason instanceof Error ? this.#reason.message : `${this.#reason}` }
  }
}
