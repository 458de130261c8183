// What drivers need to read their options (`network create -o key=value`): names with their aliases, and checks.

import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { cannotCreate, hasIpv6, isInterfaceName } from './bridge-options.ts'

/** Options of a driver: each key that a user may write, and the name it means. */
export type OptionNames = Readonly<Record<string, string>>

/** The options that were given, by their own names. @throws TsrunError invalid for one that the driver does not know */
export function readOptions(
  network: Pick<Network, 'name' | 'driver' | 'options'>,
  names: OptionNames,
): ReadonlyMap<string, string> {
  const given = new Map<string, string>()
  for (const [key, value] of Object.entries(network.options)) {
    const option = Object.hasOwn(names, key) ? names[key] : undefined
    if (option === undefined) {
      const known = [...new Set(Object.values(names))]
      const hint = `networks of the driver "${network.driver}" know the options ${known.join(', ')}`
      throw new TsrunError('invalid', 'unknown-option', `${cannotCreate(network)}: unknown option "${key}"`, { hint })
    }
    given.set(option, value)
  }
  return given
}

/** `text` if it is one of `choices`, the first of them where there is no text. @throws TsrunError invalid */
export function oneOf<T extends string>(
  network: Pick<Network, 'name'>,
  { option, text, choices }: { option: string; text: string | undefined; choices: readonly [T, ...T[]] },
): T {
  const found = text === undefined ? choices[0] : choices.find(choice => choice === text)
  if (found !== undefined) return found
  throw new TsrunError('invalid', 'bad-option', `${cannotCreate(network)}: "${text}" is no ${option}`, {
    hint: `choose one of ${choices.join(', ')}`,
  })
}

/** For drivers whose containers no broadcast of the LAN reaches. @throws TsrunError invalid where addresses are to be leased */
export function refuseLeases(network: Network, why: string): void {
  if (network.isLeased !== true) return
  const message = `${cannotCreate(network)}: its containers cannot ask a server for addresses: ${why}`
  throw new TsrunError('invalid', 'cannot-lease', message, {
    hint: 'choose --driver macvlan, ipvlan (in mode l2), phys or bridge, or leave --ipam-driver out',
  })
}

/** An MTU that the network can have. @throws TsrunError invalid */
export function parseMtu(network: Pick<Network, 'name' | 'pools'>, text: string): number {
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  // RFC 8200 section 5; the kernel turns IPv6 off on links below that.
  const least = hasIpv6(network) ? 1280 : 68
  if (mtu >= least && mtu <= 65535) return mtu
  throw new TsrunError('invalid', 'bad-mtu', `${cannotCreate(network)}: "${text}" is no MTU`, {
    hint: `the MTU${least === 1280 ? ' of a network with IPv6' : ''} is a number from ${least} to 65535`,
  })
}

/** @throws TsrunError invalid unless `name` can be an interface */
export function assertInterfaceName(network: Pick<Network, 'name'>, name: string): void {
  if (isInterfaceName(name)) return
  throw new TsrunError('invalid', 'bad-interface-name', `${cannotCreate(network)}: "${name}" is no interface name`, {
    hint: 'an interface name has 1 to 15 letters, digits, dots, dashes and underscores; `ip link` lists those of the host',
  })
}
