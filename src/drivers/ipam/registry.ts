// The IPAM drivers by name. What a plain `run` needs is at hand; the others are loaded when a network asks for them.

import { TsrunError } from '../../model/errors.ts'
import type { IpamDriver } from '../../model/ipam.ts'
import type { DriverFactory } from '../driver-package.ts'
import type { DhcpDriverOptions } from './dhcp-driver.ts'
import type { IpamDriverFactory } from './ipam-kit.ts'
import { fileDriver, nullDriver } from './plain-drivers.ts'

/** What all drivers are made with, and where those of others are. */
export interface IpamRegistryOptions extends DhcpDriverOptions {
  readonly engineId: string
  readonly stateDirectory: string
  /** `npm install --prefix` of drivers puts them below it. */
  readonly driverDirectory: string
  /** Drivers that a program brings along, by name. */
  readonly ownDrivers?: Readonly<Record<string, IpamDriverFactory>>
}

const builtIn = new Map<string, IpamDriver>([
  ['file', fileDriver],
  // What docker calls it.
  ['default', fileDriver],
  ['null', nullDriver],
])

const loaders = new Map<string, (options: IpamRegistryOptions) => Promise<IpamDriver>>([
  ['dhcp', async options => new (await import('./dhcp-driver.ts')).DhcpDriver(options)],
])

/** All IPAM drivers of one engine. */
export class IpamDrivers {
  readonly #options: IpamRegistryOptions
  readonly #loaded = new Map<string, IpamDriver>()

  constructor(options: IpamRegistryOptions) {
    this.#options = options
    const own = Object.keys(options.ownDrivers ?? {}).find(name => builtIn.has(name) || loaders.has(name))
    if (own !== undefined)
      throw new TsrunError('invalid', 'driver-name', `cannot add the IPAM driver "${own}": tsrun has one of that name`)
  }

  /** @param name default `file` @returns where there is no such driver one that says so when it is to do something */
  async get(name = 'file'): Promise<IpamDriver> {
    const known = builtIn.get(name) ?? this.#loaded.get(name)
    if (known !== undefined) return known
    const driver = await this.#load(name).catch(async (reason: unknown) => {
      const { MissingIpamDriver } = await import('./external-ipam.ts')
      return new MissingIpamDriver(name, reason)
    })
    this.#loaded.set(name, driver)
    return driver
  }

  async #load(name: string): Promise<IpamDriver> {
    const load = loaders.get(name)
    if (load !== undefined) return load(this.#options)
    const { loadDriver } = await import('../driver-package.ts')
    const { ipamDriverKind } = await import('./external-ipam.ts')
    const { engineId, stateDirectory, driverDirectory, ownDrivers = {} } = this.#options
    const kind = ipamDriverKind({ engineId, stateDirectory })
    const sources = { driverDirectory, ownDrivers: ownDrivers as Readonly<Record<string, DriverFactory>> }
    const driver = await loadDriver(kind, name, sources)
    if (driver !== undefined) return driver
    throw new TsrunError('invalid', 'ipam-driver', `no IPAM driver "${name}"`, {
      hint: `there are ${['file (docker: default)', 'null', ...loaders.keys(), ...Object.keys(ownDrivers)].join(', ')}; others are npm packages: npm install --prefix ${driverDirectory} tsrun-ipam-NAME`,
    })
  }
}
