// The network drivers by name. What a plain `run` needs is at hand; the others are loaded when a network asks for them.

import { TsrunError } from '../../model/errors.ts'
import type { NetworkDriver } from '../../model/network.ts'
import { BridgeDriver, type NetworkDriverOptions } from './bridge-driver.ts'
import { HostDriver } from './host-driver.ts'
import { NoneDriver } from './none-driver.ts'

type Load = (options: NetworkDriverOptions) => Promise<NetworkDriver>

const loaders = new Map<string, Load>([
  ['phys', async options => new (await import('./phys-driver.ts')).PhysDriver(options)],
  ['ptp', async options => new (await import('./ptp-driver.ts')).PtpDriver(options)],
  ['macvlan', async options => new (await import('./lan-driver.ts')).LanDriver('macvlan', options)],
  ['ipvlan', async options => new (await import('./lan-driver.ts')).LanDriver('ipvlan', options)],
])

/** All drivers of one engine. */
export class NetworkDrivers {
  readonly #options: NetworkDriverOptions
  readonly #drivers: Map<string, NetworkDriver>

  constructor(options: NetworkDriverOptions) {
    this.#options = options
    const drivers = [new BridgeDriver(options), new HostDriver(), new NoneDriver()]
    this.#drivers = new Map(drivers.map(driver => [driver.name, driver]))
  }

  /** @throws TsrunError invalid when there is no such driver */
  async get(name: string): Promise<NetworkDriver> {
    const known = this.#drivers.get(name)
    if (known !== undefined) return known
    const driver = await loaders.get(name)?.(this.#options)
    if (driver === undefined) throw this.#unknown(name)
    this.#drivers.set(name, driver)
    return driver
  }

  #unknown(name: string): TsrunError {
    const names = [...new Set([...this.#drivers.keys(), ...loaders.keys()])]
    return new TsrunError('invalid', 'unknown-driver', `unknown network driver "${name}"`, {
      hint: `the drivers are ${names.join(', ')}`,
    })
  }
}
