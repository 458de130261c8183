// Types of the interfaces for network and IPAM drivers of others, for the library's face.

export type { IpamDriverFactory, IpamDriverHost, IpamKit } from '../../drivers/ipam/ipam-kit.ts'
export type { NetworkDriverFactory, NetworkDriverHost, NetworkKit } from '../../drivers/network/driver-kit.ts'
export type { SandboxInterface } from '../../drivers/network/sandbox-interface.ts'
export type {
  ChildLinkSpec,
  MacvlanMode,
} from '../../kernel/netlink/child-link.ts'
export type { Ipv6AddressMode, Link, LinkSettings } from '../../kernel/netlink/link.ts'
export type { NetlinkChange, NetlinkMessage } from '../../kernel/netlink/message.ts'
export type { RouteSpec } from '../../kernel/netlink/route.ts'
export type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
export type { VethSpec } from '../../kernel/netlink/veth.ts'
