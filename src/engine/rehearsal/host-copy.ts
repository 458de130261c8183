// A network namespace that looks like the host's: its links by name, with their addresses, routes, forwarding settings
// and rule set. What stands behind a link is not copied; every kind that is not a veth pair is stood in for by a bridge.

import { withoutTelling } from '../../kernel/explain.ts'
import { addressAdd, listAddresses } from '../../kernel/netlink/address.ts'
import { getLink, type Link, linkAddBridge, linkSet, listLinks } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { listRoutes, type Route, routeAdd } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { linkAddVeth } from '../../kernel/netlink/veth.ts'
import { createNetns, runInNetns } from '../../kernel/netns.ts'
import { runNftScript } from '../../kernel/nftables/libnftables.ts'
import { readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'

/** What there is of the host's network; plain data. */
export interface HostCopy {
  readonly links: readonly (Link & { readonly addresses: readonly string[] })[]
  readonly routes: readonly Route[]
  readonly sysctls: readonly (readonly [SysctlName, string])[]
  /** As `nft list ruleset` prints it. */
  readonly ruleset: string
}

const copiedSettings: readonly SysctlName[] = [
  ['net', 'ipv4', 'ip_forward'],
  ['net', 'ipv6', 'conf', 'all', 'forwarding'],
  ['net', 'ipv4', 'conf', 'all', 'rp_filter'],
  ['net', 'ipv4', 'conf', 'default', 'rp_filter'],
  ['net', 'ipv6', 'conf', 'all', 'disable_ipv6'],
]
// RTPROT_KERNEL of linux/rtnetlink.h: these come with the addresses.
const MADE_BY_KERNEL = 2
const LOOPBACK = 'lo'

/** Reads the calling thread's network namespace. */
export function describeHost(): HostCopy {
  return withNetlinkSocket(socket => ({
    links: listLinks(socket).map(link => ({ ...link, addresses: listAddresses(socket, link.index) })),
    routes: [...listRoutes(socket, 4), ...listRoutes(socket, 6)].filter(route => route.protocol !== MADE_BY_KERNEL),
    sysctls: copiedSettings.flatMap(name => {
      const value = readSysctl(name)
      return value === undefined ? [] : [[name, value] as const]
    }),
    ruleset: runNftScript('list ruleset'),
  }))
}

/**
 * Rebuilds it in the calling thread's network namespace, which has to be new. What cannot be copied is left out: rules
 * of iptables extensions that nft only shows, links of kinds this kernel has no stand-in for.
 * @returns what was left out, in words
 */
export function rebuildHost(copy: HostCopy): string[] {
  const problems: string[] = []
  const attempt = (what: string, task: () => void) => {
    try {
      task()
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  withNetlinkSocket(socket => {
    for (const [name, value] of copy.sysctls) attempt(name.join('.'), () => void writeSysctl(name, value))
    // Bridges first: their ports name them.
    const ordered = copy.links.toSorted((a, b) => Number(a.master !== undefined) - Number(b.master !== undefined))
    // The far ends of the pairs: nobody looks at them. Closed at once, but they keep their names until the pairs go.
    const far = createNetns()
    far.socket.close()
    for (const link of ordered) attempt(`link ${link.name}`, () => addLink(socket, copy, link, far.fd))
    for (const route of copy.routes)
      attempt(`route ${route.destination ?? 'default'}`, () => addRoute(socket, copy, route))
  })
  attempt('rule set', () => void runNftScript(restorable(copy.ruleset)))
  return problems
}

/** A namespace that looks like `netnsFd`. @returns its descriptor, the caller's */
export function copyNetns(netnsFd: number): number {
  return withoutTelling(() => {
    const copy = runInNetns(netnsFd, describeHost)
    const { fd, socket } = createNetns()
    socket.close()
    runInNetns(fd, () => rebuildHost(copy))
    return fd
  })
}

function addLink(socket: NetlinkSocket, copy: HostCopy, link: HostCopy['links'][number], farNetnsFd: number): void {
  const { name, alias, mtu, up } = link
  if (name !== LOOPBACK) socket.apply(makeLink(socket, copy, link, farNetnsFd))
  const changes: NetlinkChange[] = []
  if (name !== LOOPBACK) changes.push(linkSet(name, { mtu, ipv6AddressMode: link.ipv6AddressMode ?? 'none' }))
  if (alias !== undefined) changes.push(linkSet(name, { alias }))
  if (up) changes.push(linkSet(name, { up }))
  socket.apply(changes)
  const index = getLink(socket, name)?.index ?? 0
  const present = new Set(listAddresses(socket, index))
  for (const address of link.addresses)
    if (!present.has(address)) socket.apply(addressAdd({ index, interfaceName: name, address }))
}

function makeLink(
  socket: NetlinkSocket,
  { links }: HostCopy,
  { name, mac, kind, master }: Link,
  farNetnsFd: number,
): NetlinkChange {
  if (kind !== 'veth') return linkAddBridge(kind === 'bridge' && mac !== '' ? { name, mac } : { name })
  const bridgeName = links.find(link => link.index === master)?.name
  const bridge = bridgeName === undefined ? undefined : getLink(socket, bridgeName)
  return linkAddVeth({
    name,
    ...(bridge === undefined ? {} : { master: bridge }),
    peer: { name, netnsFd: farNetnsFd, netnsLabel: 'far' },
  })
}

function addRoute(socket: NetlinkSocket, { links }: HostCopy, route: Route): void {
  const { destination, gateway, index, metric, protocol, source, onlink } = route
  const interfaceName = links.find(link => link.index === index)?.name
  const found = interfaceName === undefined ? undefined : getLink(socket, interfaceName)
  if (interfaceName === undefined || found === undefined) return
  const target = destination ?? 'default'
  if (gateway === undefined && destination === undefined) return
  socket.apply(
    routeAdd({
      destination: target,
      ...(gateway === undefined ? {} : { gateway }),
      ...(source === undefined ? {} : { source }),
      index: found.index,
      interfaceName,
      metric,
      protocol,
      onlink,
    }),
  )
}

/** The text without what nft prints for people only: rules with extensions of iptables. */
function restorable(ruleset: string): string {
  return ruleset
    .split('\n')
    .filter(line => !/^\s*#|\bxt (match|target) /.test(line))
    .join('\n')
}
