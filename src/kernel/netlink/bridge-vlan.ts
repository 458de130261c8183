// VLANs inside a bridge: `ip link set dev br type bridge vlan_filtering 1`. Numbers are from linux/if_link.h.

import { type NetlinkChange, PayloadWriter } from './message.ts'

const RTM_NEWLINK = 16
const IFLA_IFNAME = 3
const IFLA_LINKINFO = 18
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const IFLA_BR_VLAN_FILTERING = 7
const IFLA_BR_VLAN_DEFAULT_PVID = 39

/**
 * Puts a bridge and every port that is plugged in from now on into the VLAN `vlan` (1 to 4094), untagged; a port that
 * should carry it tagged is set up with bridge(8). Two changes, in this order: the kernel does not move the default
 * while it filters. Applying them fails with EOPNOTSUPP where the kernel was built without CONFIG_BRIDGE_VLAN_FILTERING.
 */
export function bridgeSetVlan(name: string, vlan: number): NetlinkChange[] {
  return [
    change(name, `vlan_default_pvid ${vlan}`, data => data.attributeU16(IFLA_BR_VLAN_DEFAULT_PVID, vlan)),
    change(name, 'vlan_filtering 1', data => data.attributeU8(IFLA_BR_VLAN_FILTERING, 1)),
  ]
}

function change(name: string, words: string, write: (payload: PayloadWriter) => void): NetlinkChange {
  // struct ifinfomsg, all zero: the interface is meant by name.
  const payload = new PayloadWriter(64).u32(0).u32(0).u32(0).u32(0).attributeString(IFLA_IFNAME, name)
  payload.nest(IFLA_LINKINFO, () => {
    payload.attributeString(IFLA_INFO_KIND, 'bridge')
    payload.nest(IFLA_INFO_DATA, () => write(payload))
  })
  return {
    type: RTM_NEWLINK,
    flags: 0,
    payload: payload.finish(),
    name: `set ${words.split(' ')[0]} of "${name}"`,
    command: () => `link set dev ${name} type bridge ${words}`,
  }
}
