// The network drivers by name. What a plain `run` needs is at hand; the others are loaded when a network asks for them.

import { TsrunError } from '../../model/errors.ts'
import type { NetworkDriver } from '../../model/network.ts'
import type { DriverFactory } from '../driver-package.ts'
import { BridgeDriver, type NetworkDriverOptions } from './bridge-driver.ts'
import type { NetworkDriverFactory } from './driver-kit.ts'
import { HostDriver } from './host-driver.ts'
import { NoneDriver } from './none-driver.ts'

type Load = (options: RegistryOptions) => Promise<NetworkDriver>

/** What all drivers are made with, and where those of others are. */
export interface RegistryOptions extends NetworkDriverOptions {
  /** `npm install --prefix` of drivers puts them below it. */
  readonly driverDirectory: string
  /** Drivers that a program brings along, by name. */
  readonly ownDrivers?: Readonly<Record<string, NetworkDriverFactory>>
}

const loaders = new Map<string, Load>([
  ['ptp', async options => new (await import('./ptp-driver.ts')).PtpDriver(options)],
  ['routed', async options => new (await import('./routed-driver.ts')).RoutedDriver(options)],
  ['macvlan', async options => new (await import('./lan-driver.ts')).LanDriver('macvlan', options)],
  ['ipvlan', async options => new (await import('./lan-driver.ts')).LanDriver('ipvlan', options)],
  ['phys', async options => new (await import('./phys-driver.ts')).PhysDriver(options)],
])

/** All drivers of one engine. */
export class NetworkDrivers {
  readonly #options: RegistryOptions
  readonly #drivers: Map<string, NetworkDriver>

  constructor(options: RegistryOptions) {
    this.#options = options
    const drivers = [new BridgeDriver(options), new HostDriver(), new NoneDriver()]
    this.#drivers = new Map(drivers.map(driver => [driver.name, driver]))
    const own = Object.keys(options.ownDrivers ?? {}).find(name => this.#drivers.has(name) || loaders.has(name))
    if (own !== undefined)
      throw new TsrunError(
        'invalid',
        'driver-name',
        `cannot add the network driver "${own}": tsrun has one of that name`,
      )
  }

  /** @returns where there is no such driver a MissingDriver, which says so when it is to make something */
  async get(name: string): Promise<NetworkDriver> {
    const known = this.#drivers.get(name)
    if (known !== undefined) return known
    const driver = await this.#load(name).catch(async (reason: unknown) => {
      const { MissingDriver } = await import('./missing-driver.ts')
      return new MissingDriver(name, reason)
    })
    this.#drivers.set(name, driver)
    return driver
  }

  async #load(name: string): Promise<NetworkDriver> {
    const load = loaders.get(name)
    if (load !== undefined) return load(this.#options)
    const { loadDriver } = await import('../driver-package.ts')
    const { networkDriverKind } = await import('./external-drivers.ts')
    const { engineId, stateDirectory, driverDirectory, ownDrivers = {} } = this.#options
    const kind = networkDriverKind({ engineId, stateDirectory })
    const sources = { driverDirectory, ownDrivers: ownDrivers as Readonly<Record<string, DriverFactory>> }
    const driver = await loadDriver(kind, name, sources)
    if (driver !== undefined) return driver
    const names = ['bridge', ...loaders.keys(), 'host', 'none', ...Object.keys(ownDrivers)]
    throw new TsrunError('invalid', 'unknown-driver', `unknown network driver "${name}"`, {
      hint: `the drivers are ${names.join(', ')}; others are npm packages: npm install --prefix ${driverDirectory} tsrun-network-NAME`,
    })
  }
}
