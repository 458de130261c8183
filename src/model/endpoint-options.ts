// Options of one endpoint (`--network driver-opt=key=value`) that mean the same with every driver, under docker's names and ours. Pure.

import { TsrunError } from './errors.ts'
import type { Network, NetworkDriver } from './network.ts'

const IFNAME = 'com.docker.network.endpoint.ifname'
const SYSCTLS = 'com.docker.network.endpoint.sysctls'

type Options = Readonly<Record<string, string>>

/** A setting of the interface: `net.FAMILY.conf|neigh.IFNAME.KEY`. */
export interface InterfaceSysctl {
  readonly family: string
  readonly group: string
  readonly key: string
  readonly value: string
}

/** The name that docker's option gives the interface. */
export function interfaceNameOption(options: Options | undefined): string | undefined {
  return options?.[IFNAME]
}

/** Those options that only the network's driver can understand. */
export function driversOwnOptions(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([key]) => ![IFNAME, SYSCTLS, 'sysctls'].includes(key)))
}

/** What holds on every network, there or not yet. @throws TsrunError invalid: a bad value, or one thing said in two ways */
export function checkCommonOptions(options: Options, interfaceName: string | undefined): void {
  readSysctls(options)
  if (options.sysctls !== undefined && options[SYSCTLS] !== undefined)
    throw new TsrunError('invalid', 'option-twice', `cannot use the driver-opts sysctls and ${SYSCTLS} together`, {
      hint: 'they mean the same: write all settings in one of them, with commas in between',
    })
  const given = interfaceNameOption(options)
  if (given === undefined || interfaceName === undefined || given === interfaceName) return
  throw new TsrunError(
    'invalid',
    'option-twice',
    `cannot give one interface the names ${JSON.stringify(interfaceName)} and ${JSON.stringify(given)}`,
    { hint: `choose one of interface and driver-opt=${IFNAME}` },
  )
}

/** @throws TsrunError invalid for an option that is neither the driver's nor one of every driver */
export function checkDriversOptions(
  network: Pick<Network, 'name'>,
  { name, endpointOptions }: Pick<NetworkDriver, 'name' | 'endpointOptions'>,
  options: Options = {},
): void {
  if (endpointOptions === undefined) return
  const stranger = Object.keys(driversOwnOptions(options)).find(key => !endpointOptions.includes(key))
  if (stranger === undefined) return
  const cannot = `cannot join network ${JSON.stringify(network.name)}`
  const why = `its driver "${name}" knows no driver-opt ${JSON.stringify(stranger)}`
  throw new TsrunError('invalid', 'unknown-option', `${cannot}: ${why}`, {
    hint: `known here are ${[...endpointOptions, 'sysctls', SYSCTLS, IFNAME].join(', ')}`,
  })
}

/** What `sysctls` sets: `net.ipv4.conf.IFNAME.log_martians=1,...`. @throws TsrunError invalid */
export function readSysctls(options: Options): InterfaceSysctl[] {
  const text = options.sysctls ?? options[SYSCTLS]
  if (text === undefined) return []
  return text.split(',').map(setting => {
    const [, family, group, key, value] =
      /^net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)=(\S+)$/.exec(setting) ?? []
    if (family !== undefined && group !== undefined && key !== undefined && value !== undefined)
      return { family, group, key, value }
    throw new TsrunError('invalid', 'sysctl', `cannot set ${JSON.stringify(setting)} of an interface`, {
      hint: 'write sysctls=net.ipv4.conf.IFNAME.log_martians=1, further ones behind a comma; IFNAME stands for the interface',
    })
  })
}
