// `ip link add link PARENT`: interfaces that share another one, each born in the namespace it is for, so that nothing is left
// on the host when we die half way. Numbers are from linux/if_link.h.

import { addressBytes, parseAddress } from '../../lib/ip.ts'
import { shellQuote } from '../explain.ts'
import {
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  parseMac,
  RTM_NEWLINK,
  words,
  writeHeader,
} from './link.ts'
import { type NetlinkChange, NLM_F_CREATE, NLM_F_EXCL, type PayloadWriter } from './message.ts'

const IFLA_MACVLAN_MODE = 1
const IFLA_IPVLAN_MODE = 1
const IFLA_IPVLAN_FLAGS = 2
const IFLA_VLAN_ID = 1
const IFLA_VXLAN_ID = 1
const IFLA_VXLAN_LOCAL = 4
const IFLA_VXLAN_LEARNING = 7
const IFLA_VXLAN_PORT = 15
const IFLA_VXLAN_LOCAL6 = 17

const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const

/** Which of a parent's macvlans reach each other; see ip-link(8). */
export type MacvlanMode = keyof typeof macvlanModes
export type IpvlanMode = keyof typeof ipvlanModes
export type IpvlanFlag = keyof typeof ipvlanFlags

/** What an interface on another one has, whatever its kind. */
export interface ChildLinkSpec {
  readonly name: string
  /** In the namespace of the socket. */
  readonly parent: { readonly index: number; readonly name: string }
  /** Default: the parent's. */
  readonly mtu?: number
  readonly mac?: string
  /** Where it is born; default the namespace of the socket. */
  readonly netns?: { readonly fd: number; readonly label: string }
}

/**
 * Equivalent to: `ip link add link $parent name $name [netns $ns] type macvlan mode $mode`.
 * Applying it fails with EOPNOTSUPP where the kernel has no macvlan, EBUSY when the parent is a bridge port or has ipvlans,
 * EINVAL for passthru beside others or an MTU above the parent's, EEXIST when the name is taken.
 */
export function linkAddMacvlan(spec: ChildLinkSpec, mode: MacvlanMode): NetlinkChange {
  return addChild(spec, `macvlan mode ${mode}`, payload => payload.attributeU32(IFLA_MACVLAN_MODE, macvlanModes[mode]))
}

/**
 * Equivalent to: `ip link add link $parent name $name [netns $ns] type ipvlan mode $mode $flag`.
 * The kernel keeps one mode and one flag a parent: this changes them for the ipvlans it has already. Fails as macvlan does.
 */
export function linkAddIpvlan(spec: ChildLinkSpec, mode: IpvlanMode, flag: IpvlanFlag): NetlinkChange {
  return addChild(spec, `ipvlan mode ${mode} ${flag}`, payload =>
    payload.attributeU16(IFLA_IPVLAN_MODE, ipvlanModes[mode]).attributeU16(IFLA_IPVLAN_FLAGS, ipvlanFlags[flag]),
  )
}

/** Equivalent to: `ip link add link $parent name $name type vlan id $id`. */
export function linkAddVlan(spec: ChildLinkSpec, id: number): NetlinkChange {
  return addChild(spec, `vlan id ${id}`, payload => payload.attributeU16(IFLA_VLAN_ID, id))
}

/** Equivalent to: `ip link add name $name type dummy`. */
export function linkAddDummy(spec: Pick<ChildLinkSpec, 'name' | 'mtu'>): NetlinkChange {
  return addChild(spec, 'dummy', () => {})
}

/**
 * Equivalent to: `ip link add name $name type vxlan id $id dstport $port local $local nolearning`. With the local address `0.0.0.0` or
 * `::` packets leave under that of the interface they leave by. Fails with EEXIST when the number is taken on that port.
 */
export function linkAddVxlan(
  spec: Pick<ChildLinkSpec, 'name' | 'mtu' | 'mac'>,
  { id, port, local }: { readonly id: number; readonly port: number; readonly local: string },
): NetlinkChange {
  const address = parseAddress(local)
  return addChild(spec, `vxlan id ${id} dstport ${port} local ${local} nolearning`, payload => {
    payload.attributeU32(IFLA_VXLAN_ID, id)
    payload.attribute(address.family === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, addressBytes(address))
    // In network byte order, unlike the rest.
    payload.attributeU8(IFLA_VXLAN_LEARNING, 0).attribute(IFLA_VXLAN_PORT, Buffer.from([port >> 8, port & 255]))
  })
}

function addChild(
  { name, parent, mtu, mac, netns }: Omit<ChildLinkSpec, 'parent'> & { readonly parent?: ChildLinkSpec['parent'] },
  type: string,
  writeData: (payload: PayloadWriter) => void,
): NetlinkChange {
  const kind = type.split(' ', 1)[0] ?? type
  const payload = writeHeader({}).attributeString(IFLA_IFNAME, name)
  if (parent !== undefined) payload.attributeU32(IFLA_LINK, parent.index)
  if (mtu !== undefined) payload.attributeU32(IFLA_MTU, mtu)
  if (mac !== undefined) payload.attribute(IFLA_ADDRESS, parseMac(mac))
  if (netns !== undefined) payload.attributeU32(IFLA_NET_NS_FD, netns.fd)
  payload.nest(IFLA_LINKINFO, () =>
    payload.attributeString(IFLA_INFO_KIND, kind).nest(IFLA_INFO_DATA, () => writeData(payload)),
  )
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: payload.finish(),
    name: `add ${kind} "${name}"`,
    command: () =>
      words(
        ['link add', parent && `link ${parent.name}`, 'name', name, mtu && `mtu ${mtu}`, mac && `address ${mac}`],
        [netns && `netns ${shellQuote(netns.label)}`, `type ${type}`],
      ),
  }
}
