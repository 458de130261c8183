// Network drivers of others: npm packages `tsrun-network-NAME`, and objects that a program brings along.

import type { NetworkDriver } from '../../model/network.ts'
import { type DriverKind, fieldsOf, refuseProblems, wrongMethods } from '../driver-package.ts'
import { type NetworkDriverHost, networkKit } from './driver-kit.ts'

const needed = ['validate', 'create', 'connect', 'disconnect', 'remove', 'inspect']
const optional = ['planPools', 'prepareEndpoint', 'extend']
const title = 'network driver'

/** How network drivers of others are loaded. */
export function networkDriverKind(host: Omit<NetworkDriverHost, 'kit'>): DriverKind<NetworkDriver> {
  return {
    title,
    prefix: 'tsrun-network-',
    make: factory => factory({ ...host, kit: networkKit }),
    assert: assertDriver,
  }
}

/** @throws TsrunError invalid, saying what is missing, unless `driver` is one and is called `name` */
function assertDriver(driver: unknown, name: string): asserts driver is NetworkDriver {
  const fields = fieldsOf(driver, ['name', 'hasEndpoints', 'endpointOptions', ...needed, ...optional])
  const problems = [
    ...(fields.get('name') === name ? [] : [`its name is ${JSON.stringify(fields.get('name'))}`]),
    ...(typeof fields.get('hasEndpoints') === 'boolean' ? [] : ['hasEndpoints is no boolean']),
    ...(areNames(fields.get('endpointOptions')) ? [] : ['endpointOptions is no array of strings']),
    ...wrongMethods(fields, { needed, optional }),
  ]
  refuseProblems(title, name, problems)
}

/** The property may be absent: drivers that are older than it go on working. */
function areNames(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.every(each => typeof each === 'string'))
}
