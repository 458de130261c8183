// Options of one endpoint (`--network driver-opt=key=value`) that mean the same with every driver, under docker's names and ours. Pure.

import { TsrunError } from './errors.ts'

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

/** @param known the driver's own @throws TsrunError invalid for an option that nobody understands, or a value */
export function checkEndpointOptions(options: Options, known: readonly string[]): void {
  readSysctls(options)
  const stranger = Object.keys(driversOwnOptions(options)).find(key => !known.includes(key))
  if (stranger === undefined) return
  throw new TsrunError('invalid', 'unknown-option', `unknown driver-opt ${JSON.stringify(stranger)}`, {
    hint: `known here are ${[...known, 'sysctls', IFNAME].join(', ')}`,
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
