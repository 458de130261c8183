// The options of macvlan and ipvlan networks (`network create -o key=value`): names, aliases, checks that need no kernel.

import type { IpvlanFlag, IpvlanMode, MacvlanMode } from '../../kernel/netlink/child-link.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import { cannotCreate } from './bridge-options.ts'
import { assertInterfaceName, oneOf, parseMtu, readOptions } from './driver-options.ts'

export type LanKind = 'macvlan' | 'ipvlan'

/** What containers of a network get; `flag` for ipvlan alone. */
export type LanMode =
  | { readonly kind: 'macvlan'; readonly mode: MacvlanMode }
  | { readonly kind: 'ipvlan'; readonly mode: IpvlanMode; readonly flag: IpvlanFlag }

/** Options with their defaults. */
export interface LanOptions {
  /** The interface that containers share. */
  readonly parent: string
  /** Set where `parent` is a VLAN that can be made: the interface below it, and the VLAN's number. */
  readonly vlan: { readonly base: string; readonly id: number } | undefined
  /** Default: the parent's. */
  readonly mtu: number | undefined
  readonly mode: LanMode
}

const names = {
  macvlan: {
    parent: 'parent',
    mode: 'mode',
    macvlan_mode: 'mode',
    mtu: 'mtu',
    'com.docker.network.driver.mtu': 'mtu',
  },
  ipvlan: {
    parent: 'parent',
    mode: 'mode',
    ipvlan_mode: 'mode',
    flag: 'flag',
    ipvlan_flag: 'flag',
    mtu: 'mtu',
    'com.docker.network.driver.mtu': 'mtu',
  },
} as const

/** Parents that are there for one internal network: `dm-` and 12 hex digits, all of the 15 bytes there are. */
function dummyParentName(network: Pick<Network, 'id'>): string {
  return `dm-${network.id.slice(0, 12)}`
}

/** Reads and checks. @throws TsrunError invalid */
export function parseLanOptions(kind: LanKind, network: Network): LanOptions {
  const given = readOptions(network, names[kind])
  const parent = given.get('parent')
  const mtu = given.get('mtu')
  const isOwnParent = parent === undefined || parent === dummyParentName(network)
  if (isOwnParent !== network.internal) throw wrongParent(network, isOwnParent)
  if (parent !== undefined) assertInterfaceName(network, parent)
  return {
    parent: parent ?? dummyParentName(network),
    vlan: parent === undefined ? undefined : vlanOf(parent),
    mtu: mtu === undefined ? undefined : parseMtu(network, mtu),
    mode: parseMode(kind, network, given),
  }
}

/** As options, for the record. */
export function formatLanOptions({ parent, mtu, mode }: LanOptions): Record<string, string> {
  return {
    parent,
    mode: mode.mode,
    ...(mode.kind === 'ipvlan' ? { flag: mode.flag } : {}),
    ...(mtu === undefined ? {} : { mtu: String(mtu) }),
  }
}

/**
 * Whether networks of these modes can share a parent. The kernel lets no macvlan and ipvlan share one, keeps one mode of
 * ipvlan a parent (a new one would change the others), and gives a passthru parent to one container alone.
 */
export function canShare(a: LanMode, b: LanMode): boolean {
  if (a.kind === 'macvlan') return b.kind === 'macvlan' && a.mode !== 'passthru' && b.mode !== 'passthru'
  return b.kind === 'ipvlan' && a.mode === b.mode && a.flag === b.flag
}

/** `bridge` for macvlan, `l2 bridge` for ipvlan: for messages. */
export function modeText(mode: LanMode): string {
  return mode.kind === 'macvlan' ? `macvlan ${mode.mode}` : `ipvlan ${mode.mode} ${mode.flag}`
}

function parseMode(kind: LanKind, network: Network, given: ReadonlyMap<string, string>): LanMode {
  const text = given.get('mode')
  if (kind === 'macvlan') {
    const choices = ['bridge', 'private', 'vepa', 'passthru'] as const
    return { kind, mode: oneOf(network, { option: 'mode of macvlan', text, choices }) }
  }
  return {
    kind,
    mode: oneOf(network, { option: 'mode of ipvlan', text, choices: ['l2', 'l3', 'l3s'] }),
    flag: oneOf(network, {
      option: 'flag of ipvlan',
      text: given.get('flag'),
      choices: ['bridge', 'private', 'vepa'],
    }),
  }
}

/** `eth0.10` is VLAN 10 of eth0. */
function vlanOf(parent: string): LanOptions['vlan'] {
  const match = /^(.+)\.([1-9]\d{0,3})$/.exec(parent)
  const id = Number(match?.[2])
  return match?.[1] !== undefined && id <= 4094 ? { base: match[1], id } : undefined
}

function wrongParent(network: Network, isMissing: boolean): TsrunError {
  return isMissing
    ? new TsrunError('invalid', 'no-parent', `${cannotCreate(network)}: it has no parent interface`, {
        hint: 'name the interface of the LAN with `-o parent=eth0`, or make a network of its own with --internal',
      })
    : new TsrunError('invalid', 'internal-parent', `${cannotCreate(network)}: an internal network has no parent`, {
        hint: 'its containers would be on the LAN: leave out either --internal or `-o parent=...`',
      })
}
