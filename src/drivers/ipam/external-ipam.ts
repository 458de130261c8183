// IPAM drivers of others: npm packages `tsrun-ipam-NAME`, and objects that a program brings along. And what stands in for one that
// cannot be loaded.

import type { IpamDriver } from '../../model/ipam.ts'
import type { Network } from '../../model/network.ts'
import { type DriverKind, fieldsOf, refuseProblems, wrongMethods } from '../driver-package.ts'
import { type IpamDriverHost, ipamKit } from './ipam-kit.ts'

const needed = ['validate']
const forPools = ['planPools', 'requestAddress', 'releaseAddress']
const forLeases = ['openLease', 'readLease', 'keepLease', 'closeLease']
const title = 'IPAM driver'

/** How IPAM drivers of others are loaded. */
export function ipamDriverKind(host: Omit<IpamDriverHost, 'kit'>): DriverKind<IpamDriver> {
  return {
    title,
    prefix: 'tsrun-ipam-',
    make: factory => factory({ ...host, kit: ipamKit }),
    assert: assertIpamDriver,
  }
}

/** @throws TsrunError invalid, saying what is missing, unless `driver` is one and is called `name` */
function assertIpamDriver(driver: unknown, name: string): asserts driver is IpamDriver {
  const fields = fieldsOf(driver, ['name', 'gives', ...needed, ...forPools, ...forLeases])
  const gives = fields.get('gives')
  const problems = [
    ...(fields.get('name') === name ? [] : [`its name is ${JSON.stringify(fields.get('name'))}`]),
    ...(gives === 'pools' || gives === 'leases' || gives === 'none'
      ? []
      : ['gives is none of "pools", "leases" and "none"']),
    ...(gives === 'leases'
      ? wrongMethods(fields, { needed: [...needed, ...forLeases], optional: [] })
      : wrongMethods(fields, { needed, optional: forPools })),
    ...((fields.get('requestAddress') === undefined) === (fields.get('releaseAddress') === undefined)
      ? []
      : ['requestAddress and releaseAddress belong together']),
  ]
  refuseProblems(title, name, problems)
}

/**
 * Stands in for a driver that cannot be loaded: its networks can be listed and removed and their containers torn down, while
 * everything that would ask for an address fails with the reason.
 */
export class MissingIpamDriver implements IpamDriver {
  readonly name: string
  readonly gives = 'pools'
  readonly #reason: unknown

  /** @param reason thrown by whatever would need the driver */
  constructor(name: string, reason: unknown) {
    this.name = name
    this.#reason = reason
  }

  validate(): Network {
    throw this.#reason
  }

  async requestAddress(): Promise<string> {
    throw this.#reason
  }

  /** What the driver itself has noted down stays until it is there again. */
  async releaseAddress(): Promise<void> {}

  async openLease(): Promise<undefined> {
    throw this.#reason
  }
}
