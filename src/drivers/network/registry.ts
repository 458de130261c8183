// The network drivers by name.

import { TsrunError } from '../../model/errors.ts'
import type { NetworkDriver } from '../../model/network.ts'
import { BridgeDriver, type NetworkDriverOptions } from './bridge-driver.ts'
import { HostDriver } from './host-driver.ts'
import { NoneDriver } from './none-driver.ts'

/** All drivers of one engine. */
export class NetworkDrivers {
  readonly #drivers: ReadonlyMap<string, NetworkDriver>

  constructor(options: NetworkDriverOptions) {
    const drivers = [new BridgeDriver(options), new HostDriver(), new NoneDriver()]
    this.#drivers = new Map(drivers.map(driver => [driver.name, driver]))
  }

  /** @throws TsrunError invalid when there is no such driver */
  get(name: string): NetworkDriver {
    const driver = this.#drivers.get(name)
    if (driver !== undefined) return driver
    throw new TsrunError('invalid', 'unknown-driver', `unknown network driver "${name}"`, {
      hint: `the drivers are ${[...this.#drivers.keys()].join(', ')}`,
    })
  }

  get names(): string[] {
    return [...this.#drivers.keys()]
  }
}
