// The options of bridge networks (`network create -o key=value`): names, aliases, checks.

import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'

/** Options by their own names; aliases are resolved. */
export interface BridgeOptions {
  /** Name of the bridge interface. */
  readonly bridge?: string
  readonly mtu?: number
}

const aliases = new Map([
  ['bridge', 'bridge'],
  ['bridge.name', 'bridge'],
  ['com.docker.network.bridge.name', 'bridge'],
  ['mtu', 'mtu'],
  ['com.docker.network.driver.mtu', 'mtu'],
])
const knownOptions = ['bridge', 'mtu']
const reservedNames = new Set(['all', 'default', 'lo', 'bonding_masters'])

/** @throws TsrunError invalid for an unknown option or a bad value */
export function parseBridgeOptions(network: Pick<Network, 'name' | 'options' | 'pools'>): BridgeOptions {
  const given = new Map<string, string>()
  for (const [key, value] of Object.entries(network.options)) {
    const option = aliases.get(key)
    if (option === undefined) {
      throw new TsrunError('invalid', 'unknown-option', `${cannotCreate(network)}: unknown option "${key}"`, {
        hint: `networks of the driver "bridge" know the options ${knownOptions.join(' and ')}`,
      })
    }
    given.set(option, value)
  }
  const bridge = given.get('bridge')
  const mtu = given.get('mtu')
  if (bridge !== undefined && !isInterfaceName(bridge)) {
    throw new TsrunError(
      'invalid',
      'bad-interface-name',
      `${cannotCreate(network)}: "${bridge}" is no interface name`,
      {
        hint: 'an interface name has 1 to 15 letters, digits, dots, dashes and underscores',
      },
    )
  }
  return {
    ...(bridge === undefined ? {} : { bridge }),
    ...(mtu === undefined ? {} : { mtu: parseMtu(network, mtu) }),
  }
}

/** Whether the kernel takes `name` for an interface, and nothing else takes it for something special. */
export function isInterfaceName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name) && !reservedNames.has(name)
}

/** How messages about `network` begin. */
export function cannotCreate(network: Pick<Network, 'name'>): string {
  return `cannot create network "${network.name}"`
}

/** Whether the network has IPv6 addresses. */
export function hasIpv6(network: Pick<Network, 'pools'>): boolean {
  return network.pools.some(pool => pool.subnet.includes(':'))
}

function parseMtu(network: Pick<Network, 'name' | 'pools'>, text: string): number {
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  // RFC 8200 section 5; the kernel turns IPv6 off on links below that.
  const least = hasIpv6(network) ? 1280 : 68
  if (mtu >= least && mtu <= 65535) return mtu
  throw new TsrunError('invalid', 'bad-mtu', `${cannotCreate(network)}: "${text}" is no MTU`, {
    hint: `the MTU${least === 1280 ? ' of a network with IPv6' : ''} is a number from ${least} to 65535`,
  })
}
