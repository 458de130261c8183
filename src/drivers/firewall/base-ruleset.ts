// The tables, chains and sets, as nft scripts; nothing here touches the kernel. The chains are the same for every network
// and never change: a network or a published port is nothing but elements of their sets, so that ten thousand networks
// cost a packet no more than one. docs/design/firewall.md explains each rule and lists the attacks they are there for.

import { isolatedFurtherGroup, isolatedPortGroup } from '../../model/network-policy.ts'

/** Set on every packet that our forward chain admits. One rule in a foreign chain lets them pass. */
export const admittedMark = 0x02000000

/** Changes whenever the base rules do: tables with other rules are replaced. */
export const layoutSet = 'layout_6'

/** The table of the user's own rules, shared by all engines of a host. Ours when it is empty, theirs when it is not. */
export const userTable = 'tsrun-user'

const unmarked = `0x${(~admittedMark >>> 0).toString(16)}`
const mark = `0x${admittedMark.toString(16).padStart(8, '0')}`

/** The chains and sets of a table, as an nft script that fails if the table exists. */
export function baseRuleset(table: string): string {
  return `create table inet ${table}
table inet ${table} {
  set ${layoutSet} { type mark; }
  set bridges { type ifname; }
  set same { type ifname . ifname; }
  set further { type ifname; }
  set internal { type ifname; }
  set open { type ifname; }
  set nohairpin { type ifname . ifname; }
  set strangers { type ifname; }
  set groups { type devgroup; }
  set same_groups { type devgroup . devgroup; }
  set internal_groups { type devgroup; }
  set open_groups { type devgroup; }
  set nohairpin_groups { type devgroup . devgroup; }
  set subnets4 { type ipv4_addr; flags interval; }
  set subnets6 { type ipv6_addr; flags interval; }
  set direct4 { type ipv4_addr; flags interval; }
  set direct6 { type ipv6_addr; flags interval; }
  set unprotected4 { type ipv4_addr; flags interval; }
  set unprotected6 { type ipv6_addr; flags interval; }
  set keep4 { type ipv4_addr; flags interval; }
  set keep6 { type ipv6_addr; flags interval; }
  set peers4 { type ipv4_addr . ipv4_addr; flags interval; }
  set peers6 { type ipv6_addr . ipv6_addr; flags interval; }
  map source4 { type ipv4_addr : ipv4_addr; flags interval; }
  map source6 { type ipv6_addr : ipv6_addr; flags interval; }

  set published { type ifname . ifname; }
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map addr4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
  map addr6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
  set held4 { type inet_proto . inet_service; }
  set held6 { type inet_proto . inet_service; }
  set opened4 { type inet_proto . ipv4_addr . inet_service; }
  set opened6 { type inet_proto . ipv6_addr . inet_service; }

  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname "lo" accept
    ip daddr 127.0.0.0/8 drop comment "loopback addresses from outside: bridges have route_localnet"
    iifname @bridges meta mark set meta mark & ${unmarked} accept comment "a further bridge has marked what passed it"
    iifname @further notrack accept comment "on the way to their first bridge, where everything is done"
    iifgroup @groups accept
    ip saddr . ip daddr @peers4 accept
    ip6 saddr . ip6 daddr @peers6 accept
    ip daddr @subnets4 ip daddr != @direct4 ip daddr != @keep4 drop comment "straight to a container, not through a published port"
    ip6 daddr @subnets6 ip6 daddr != @direct6 ip6 daddr != @keep6 drop comment "straight to a container, not through a published port"
  }

  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp, sctp } fib daddr type local goto publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    meta l4proto { tcp, udp, sctp } fib daddr type local goto publish
  }
  chain publish {
    meta nfproto ipv6 goto publish6
    dnat ip to meta l4proto . ip daddr . th dport map @addr4
    meta l4proto . th dport @held4 return
    dnat ip to meta l4proto . th dport map @any4
  }
  chain publish6 {
    ip6 daddr ::1 return
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @addr6
    meta l4proto . th dport @held6 return
    dnat ip6 to meta l4proto . th dport map @any6
  }

  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    iifname @bridges goto from_bridge
    iifname . oifname @same goto admit comment "inside a further bridge"
    iifname @further drop
    iifgroup @groups goto from_group
    oifname @bridges goto to_bridge
    oifgroup @groups goto to_group
  }
  chain from_bridge {
    meta mark & ${mark} == ${mark} goto admit
    ct status dnat iifname . oifname @nohairpin drop
    iifname . oifname @same goto admit
    iifname @internal drop
    iifname @open oifname @open goto admit
    iifname @open oifgroup @open_groups goto admit
    goto leave
  }
  chain from_group {
    meta mark & ${mark} == ${mark} goto admit
    ct status dnat iifgroup . oifgroup @nohairpin_groups drop
    iifgroup . oifgroup @same_groups goto admit
    iifgroup @internal_groups drop
    iifgroup @open_groups oifname @open goto admit
    iifgroup @open_groups oifgroup @open_groups goto admit
    goto leave
  }
  chain leave {
    oifname @bridges goto to_bridge
    oifgroup @groups goto to_group
    ct state invalid drop
    oifname @strangers ct state new accept comment "containers of others: their rules alone decide, so no mark"
    goto admit
  }
  chain to_bridge {
    meta mark & ${mark} == ${mark} goto admit
    oifname @internal drop
    goto enter
  }
  chain to_group {
    meta mark & ${mark} == ${mark} goto admit
    oifgroup @internal_groups drop
    goto enter
  }
  chain enter {
    ct state established,related goto admit
    ct status dnat goto admit
    ip saddr . ip daddr @peers4 goto admit
    ip6 saddr . ip6 daddr @peers6 goto admit
    ip daddr @direct4 goto to_direct
    ip6 daddr @direct6 goto to_direct
    drop
  }
  chain to_direct {
    ip daddr @unprotected4 goto admit
    ip6 daddr @unprotected6 goto admit
    icmp type echo-request goto admit
    icmpv6 type echo-request goto admit
    meta l4proto . ip daddr . th dport @opened4 goto admit
    meta l4proto . ip6 daddr . th dport @opened6 goto admit
    drop
  }
  chain admit {
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu comment "no more than the path takes"
    meta mark set meta mark | ${mark} accept
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges goto enter_bridge
    oifgroup @groups goto enter_bridge
    oifname "lo" accept
    ip daddr 224.0.0.0/4 accept
    ip6 daddr ff00::/8 accept
    ip daddr . ip saddr @peers4 accept
    ip6 daddr . ip6 saddr @peers6 accept
    ip saddr @keep4 accept
    ip6 saddr @keep6 accept
    snat ip to ip saddr map @source4
    snat ip6 to ip6 saddr map @source6
    ip saddr @subnets4 masquerade
    ip6 saddr @subnets6 masquerade
  }
  chain enter_bridge {
    ip saddr 127.0.0.0/8 masquerade comment "the host to a port on 127.0.0.1"
    ct status dnat ip saddr @subnets4 masquerade comment "a container to a port of itself or of a peer"
    ct status dnat ip6 saddr @subnets6 masquerade comment "a container to a port of itself or of a peer"
  }
}
add element inet ${table} ${layoutSet} { 1 }
`
}

/**
 * The table that keeps frames from going from container to container inside a bridge (icc=false); there only while a network
 * needs it. It runs behind br_netfilter, whose packets have been through `forward` by then: those that this admitted, to
 * published ports, carry the mark.
 */
export function portIsolationRuleset(table: string): string {
  const [group, further] = [isolatedPortGroup, isolatedFurtherGroup].map(number => `0x${number.toString(16)}`)
  return `add table bridge ${table}
delete table bridge ${table}
table bridge ${table} {
  chain forward {
    type filter hook forward priority 10; policy accept;
    meta iifgroup ${group} meta oifgroup ${group} meta mark & ${mark} == 0 drop comment "icc=false"
    meta iifgroup ${further} meta oifgroup ${further} drop comment "icc=false"
  }
}
`
}

/** The table for the user's own rules, empty. */
export const userRuleset = `table inet ${userTable} {
  chain forward {
    comment "your rules: before those of tsrun, which keeps them"
    type filter hook forward priority filter - 10; policy accept;
  }
}
`
