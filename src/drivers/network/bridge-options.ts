// The options of bridge networks (`network create -o key=value`): names, docker's names for the same, checks. What they
// mean for packets is in model/network-policy.ts.

import { formatAddress, tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { gatewayModes } from '../../model/network-policy.ts'

/** The options as they are kept: by their own names, with values in one form. */
export type BridgeOptions = Readonly<Record<string, string>>

type Draft = Pick<Network, 'name' | 'options' | 'pools'>
/** @returns the value in the form that is kept @throws TsrunError invalid */
type Check = (network: Draft, value: string, option: string) => string

const checks: Readonly<Record<string, Check>> = {
  bridge: checkInterfaceName,
  mtu: checkMtu,
  icc: checkBoolean,
  isolate: checkBoolean,
  hairpin: checkBoolean,
  mode: oneOf(gatewayModes),
  mode4: oneOf(gatewayModes),
  mode6: oneOf(gatewayModes),
  masquerade: checkMasquerade,
  'host-binding': checkAddresses,
  'publish-mode': oneOf(['nat', 'proxy']),
  'interface-prefix': checkPrefix,
  vlan: checkVlan,
  connections: checkConnections,
}

const docker = 'com.docker.network'
const aliases = new Map([
  ['bridge.name', 'bridge'],
  [`${docker}.bridge.name`, 'bridge'],
  [`${docker}.driver.mtu`, 'mtu'],
  [`${docker}.bridge.enable_icc`, 'icc'],
  [`${docker}.bridge.enable_ip_masquerade`, 'masquerade'],
  [`${docker}.host_ipv4`, 'masquerade'],
  [`${docker}.host_ipv6`, 'masquerade'],
  [`${docker}.bridge.host_binding_ipv4`, 'host-binding'],
  [`${docker}.bridge.gateway_mode_ipv4`, 'mode4'],
  [`${docker}.bridge.gateway_mode_ipv6`, 'mode6'],
  [`${docker}.container_iface_prefix`, 'interface-prefix'],
])

/** The kernel goes through a source's connections when it begins another: see docs/design/firewall.md. */
const mostConnections = 16_384

const reservedNames = new Set(['all', 'default', 'lo', 'bonding_masters'])

/** The network's options in the form that is kept. @throws TsrunError invalid for an unknown option or a bad value */
export function parseBridgeOptions(network: Draft): BridgeOptions {
  const found: Record<string, string> = {}
  for (const [key, value] of Object.entries(network.options)) {
    const option = aliases.get(key) ?? key
    const check = Object.hasOwn(checks, option) ? checks[option] : undefined
    if (check === undefined) throw unknownOption(network, key)
    const checked = check(network, value, key)
    // docker has one name for each address family, and one for on and off.
    const before = found[option]
    if (before !== undefined && before !== checked && !isAddressList(before, checked)) throw twice(network, option)
    found[option] = before === undefined || before === checked ? checked : `${before},${checked}`
  }
  if (found.masquerade !== undefined) checkFamilies(network, found.masquerade)
  return found
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

function checkInterfaceName(network: Draft, name: string): string {
  if (isInterfaceName(name)) return name
  throw invalid(network, 'bad-interface-name', `"${name}" is no interface name`, {
    hint: 'an interface name has 1 to 15 letters, digits, dots, dashes and underscores',
  })
}

function checkPrefix(network: Draft, prefix: string): string {
  // Room for three digits in the 15 bytes that the kernel has; a name that ends in a digit would make eth11 of eth1.
  if (/^[A-Za-z][A-Za-z0-9_-]{0,10}[A-Za-z_-]$|^[A-Za-z]$/.test(prefix)) return prefix
  throw invalid(network, 'bad-interface-name', `"${prefix}" cannot begin interface names`, {
    hint: 'give 1 to 12 letters, digits, dashes and underscores, the last no digit, e.g. interface-prefix=net',
  })
}

function checkMtu(network: Draft, text: string): string {
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  // RFC 8200 section 5; the kernel turns IPv6 off on links below that.
  const least = hasIpv6(network) ? 1280 : 68
  if (mtu >= least && mtu <= 65535) return String(mtu)
  throw invalid(network, 'bad-mtu', `"${text}" is no MTU`, {
    hint: `the MTU${least === 1280 ? ' of a network with IPv6' : ''} is a number from ${least} to 65535`,
  })
}

function checkVlan(network: Draft, text: string): string {
  const vlan = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (vlan >= 1 && vlan <= 4094) return String(vlan)
  throw invalid(network, 'bad-vlan', `"${text}" is no VLAN`, { hint: 'a VLAN is a number from 1 to 4094' })
}

function checkConnections(network: Draft, text: string): string {
  const connections = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (connections >= 1 && connections <= mostConnections) return String(connections)
  throw invalid(network, 'bad-option', `"${text}" is no number of connections`, {
    hint: `say how many each container may have at a time, from 1 to ${mostConnections}, e.g. connections=4096`,
  })
}

function checkBoolean(network: Draft, text: string, option: string): string {
  const value = parseBoolean(text)
  if (value !== undefined) return value
  throw invalid(network, 'bad-option', `"${text}" is no value of "${option}"`, {
    hint: `say ${option}=true or ${option}=false`,
  })
}

/** The words of Go's strconv.ParseBool, which docker takes. */
function parseBoolean(text: string): 'true' | 'false' | undefined {
  if (/^(1|t|true)$/i.test(text)) return 'true'
  return /^(0|f|false)$/i.test(text) ? 'false' : undefined
}

function oneOf(values: readonly string[]): Check {
  return (network, text, option) => {
    if (values.includes(text)) return text
    throw invalid(network, 'bad-option', `"${text}" is no value of "${option}"`, {
      hint: `the values are ${values.join(', ')}`,
    })
  }
}

function checkMasquerade(network: Draft, text: string, option: string): string {
  const value = parseBoolean(text)
  if (value !== undefined) return value
  return checkAddresses(network, text, option)
}

function checkAddresses(network: Draft, text: string, option: string): string {
  const addresses = text.split(',').map(part => tryParseAddress(part.trim()))
  return addresses
    .map(address => {
      if (address !== undefined) return formatAddress(address)
      throw invalid(network, 'bad-option', `"${text}" is no value of "${option}"`, {
        hint: `give an address of the host${option.includes('masq') ? ', true or false' : ''}, e.g. ${option}=192.0.2.1`,
      })
    })
    .join(',')
}

/** One source address for each family that the network has. */
function checkFamilies(network: Draft, masquerade: string): void {
  if (masquerade === 'true' || masquerade === 'false') return
  const families = masquerade.split(',').map(address => (address.includes(':') ? 6 : 4))
  if (new Set(families).size < families.length)
    throw invalid(network, 'bad-option', `masquerade=${masquerade} names two addresses of one family`, {
      hint: 'packets leave under one address: give one for IPv4, one for IPv6, or both',
    })
  const unknown = masquerade.split(',').find(address => /^(0\.0\.0\.0|::)$/.test(address))
  if (unknown !== undefined)
    throw invalid(network, 'bad-option', `${unknown} is no address to leave under`, {
      hint: 'say masquerade=true for the address of the interface that a packet leaves by',
    })
  // Pools are not known yet when the user's input is looked at for the first time.
  if (network.pools.length === 0 || hasIpv6(network) || !families.includes(6)) return
  throw invalid(network, 'bad-option', `masquerade=${masquerade} is an IPv6 address, and the network has none`, {
    hint: 'add --ipv6',
  })
}

function isAddressList(before: string, more: string): boolean {
  return ![before, more].some(value => tryParseAddress(value.split(',')[0] ?? '') === undefined)
}

function unknownOption(network: Draft, key: string): TsrunError {
  return new TsrunError('invalid', 'unknown-option', `${cannotCreate(network)}: unknown option "${key}"`, {
    hint: `networks of the driver "bridge" know the options ${Object.keys(checks).join(', ')}`,
  })
}

function twice(network: Draft, option: string): TsrunError {
  return invalid(network, 'bad-option', `the option "${option}" is given twice`, { hint: 'leave one of them out' })
}

function invalid(network: Draft, code: string, why: string, options: { hint: string }): TsrunError {
  return new TsrunError('invalid', code, `${cannotCreate(network)}: ${why}`, options)
}
