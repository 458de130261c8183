// The options of routed networks: those of a bridge, and those of the vxlan to peers without a common layer 2.

import { formatAddress, tryParseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { cannotCreate } from './bridge-options.ts'
import { familyOf } from './peers.ts'

/** IANA's; Linux's own default, 8472, is older than that. */
const defaultPort = 4789
const highestId = 2 ** 24 - 1

/** How packets to peers are wrapped. */
export interface Vxlan {
  /** 1 to 16777215, the same on all hosts. */
  readonly id: number
  /** UDP, the same on all hosts. */
  readonly port: number
  /** This host's address between the hosts; `0.0.0.0` or `::` for whichever a packet leaves by. */
  readonly local: string
}

const vxlanOptions = ['vxlan', 'vxlan-port', 'local'] as const

/** The options that say how to wrap, and all others. */
export function splitOptions({ options }: Pick<Network, 'options'>): {
  readonly own: Readonly<Record<string, string>>
  readonly bridge: Readonly<Record<string, string>>
} {
  const isOwn = ([key]: [string, string]) => vxlanOptions.some(name => name === key)
  const entries = Object.entries(options)
  return {
    own: Object.fromEntries(entries.filter(isOwn)),
    bridge: Object.fromEntries(entries.filter(entry => !isOwn(entry))),
  }
}

/** @returns undefined where packets go as they are @throws TsrunError invalid */
export function parseVxlan(network: Network): Vxlan | undefined {
  const { vxlan, 'vxlan-port': port, local } = splitOptions(network).own
  if (vxlan === undefined) {
    if (port === undefined && local === undefined) return undefined
    throw invalid(network, `${port === undefined ? 'local' : 'vxlan-port'} is for a vxlan`, 'add -o vxlan=ID')
  }
  const address = local === undefined ? undefined : tryParseAddress(local)
  if (local !== undefined && address === undefined)
    throw invalid(network, `local=${local} is no address`, 'give the address of this host that its peers know')
  const first = network.peers?.[0]?.address ?? ''
  return {
    id: numberOf(network, 'vxlan', vxlan, highestId),
    port: numberOf(network, 'vxlan-port', port ?? String(defaultPort), 65535),
    local: address === undefined ? (familyOf(first) === 6 ? '::' : '0.0.0.0') : formatAddress(address),
  }
}

/** In the form that is kept. */
export function formatVxlan(vxlan: Vxlan | undefined): Record<string, string> {
  if (vxlan === undefined) return {}
  return { vxlan: String(vxlan.id), 'vxlan-port': String(vxlan.port), local: vxlan.local }
}

/** Bytes that wrapping takes: Ethernet, vxlan, UDP and IP headers. */
export function vxlanOverhead({ local }: Vxlan): number {
  return familyOf(local) === 6 ? 70 : 50
}

function numberOf(network: Network, option: string, text: string, highest: number): number {
  const value = /^\d{1,8}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= highest) return value
  throw invalid(network, `"${text}" is no ${option}`, `give a number from 1 to ${highest}`)
}

function invalid(network: Network, why: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'bad-option', `${cannotCreate(network)}: ${why}`, { hint })
}
