// The settings of the host as a whole that routed networks need. What they were before is remembered in HostState,
// on disk and before the change, so that they can be put back with the last network, even by a later process.

import { getLink, type Link, listLinks } from '../../kernel/netlink/link.ts'
import { listRoutes } from '../../kernel/netlink/route.ts'
import type { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { formatSysctlName, readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Network } from '../../model/network.ts'
import { isTsrunBridge } from './bridge-names.ts'

/** A few facts about the host that outlive the process; the engine keeps them on disk. Values are short strings. */
export interface HostState {
  get(key: string): string | undefined
  /** undefined forgets the key. */
  set(key: string, value: string | undefined): void
}

/** The one key the network drivers use: JSON of [sysctl name, value before, value we set], oldest first. */
const hostSettingsKey = 'network-host-settings'

type Saved = readonly [name: SysctlName, before: string, ours: string]

const ipv4Forwarding: SysctlName = ['net', 'ipv4', 'ip_forward']
const ipv6Forwarding: SysctlName = ['net', 'ipv6', 'conf', 'all', 'forwarding']
const acceptRedirects: SysctlName = ['net', 'ipv4', 'conf', 'all', 'accept_redirects']
const RTPROT_RA = 9

/** Drivers whose containers reach others through the host's routing. */
const forwardingDrivers = new Set(['bridge', 'ptp', 'routed'])

/** Below it the kernel takes IPv6 from an interface (RFC 8200, section 5). */
const IPV6_MIN_MTU = 1280

/** Whether the kernel has IPv6 (it can be turned off at boot), and an interface with this MTU settings for it. */
export function hostHasIpv6(mtu = IPV6_MIN_MTU): boolean {
  return mtu >= IPV6_MIN_MTU && readSysctl(ipv6Forwarding) !== undefined
}

/** Whether the host forwards packets of these families. */
export function isForwarding(families: { readonly ipv6: boolean }): boolean {
  return readSysctl(ipv4Forwarding) === '1' && (!families.ipv6 || readSysctl(ipv6Forwarding) === '1')
}

/** Turns forwarding on. Idempotent. @throws SyscallError */
export function enableForwarding(
  socket: NetlinkSocket,
  families: { readonly ipv6: boolean },
  state: HostState,
  undo: Undo,
): void {
  if (readSysctl(ipv4Forwarding) !== '1') keepRedirectsOff(state)
  change(ipv4Forwarding, '1', state, undo)
  if (!families.ipv6 || readSysctl(ipv6Forwarding) === '1') return
  // A host that forwards ignores router advertisements and would lose its own default route. 2 means "even so".
  const learnt = listRoutes(socket, 6).filter(route => route.protocol === RTPROT_RA && route.index !== undefined)
  for (const index of new Set(learnt.map(route => route.index ?? 0))) {
    const name = getLink(socket, index)?.name
    if (name === undefined) continue
    const acceptRa: SysctlName = ['net', 'ipv6', 'conf', name, 'accept_ra']
    if (readSysctl(acceptRa) === '1') change(acceptRa, '2', state, undo)
  }
  change(ipv6Forwarding, '1', state, undo)
}

/** Puts back what enableForwarding() changed, unless somebody has changed it since. Idempotent. @throws SyscallError */
export function restoreHostSettings(state: HostState): void {
  const saved = load(state)
  for (const entry of saved.toReversed()) putBack(entry)
  if (saved.length > 0) state.set(hostSettingsKey, undefined)
}

/**
 * restoreHostSettings(), unless a network that remains needs them: of this engine, or, by what stands in the kernel, of another
 * engine on this machine; then they stay on until our next last network.
 */
export function restoreUnneeded(
  socket: NetlinkSocket,
  { engineId, state, others }: { engineId: string; state: HostState; others: readonly Network[] },
): void {
  if (others.some(({ driver }) => forwardingDrivers.has(driver))) return
  const ofOthers = (link: Link) =>
    /^tsrun(-[0-9a-f]{8})? /.test(link.alias ?? '') && link.alias?.startsWith(`${engineId} `) !== true
  if (!listLinks(socket).some(link => isTsrunBridge(link) || ofOthers(link))) restoreHostSettings(state)
}

/** Turning forwarding off again makes the kernel accept redirects, whatever the administrator had said before. */
function keepRedirectsOff(state: HostState): void {
  const saved = load(state)
  if (readSysctl(acceptRedirects) !== '0' || saved.some(([name]) => name.join() === acceptRedirects.join())) return
  // First in the list: put back after forwarding.
  state.set(hostSettingsKey, JSON.stringify([[acceptRedirects, '0', '1'], ...saved]))
}

function change(name: SysctlName, value: string, state: HostState, undo: Undo): void {
  const before = readSysctl(name)
  if (before === value || before === undefined) return
  const entry: Saved = [name, before, value]
  const text = formatSysctlName(name)
  const others = load(state).filter(([other]) => formatSysctlName(other) !== text)
  state.set(hostSettingsKey, JSON.stringify([...others, entry]))
  writeSysctl(name, value)
  undo.add(`set ${text}`, () => {
    putBack(entry)
    const rest = load(state).filter(([other]) => formatSysctlName(other) !== text)
    const [first] = rest
    if (name === ipv4Forwarding && first?.[0].join() === acceptRedirects.join()) putBack(first)
    state.set(hostSettingsKey, rest.length === 0 ? undefined : JSON.stringify(rest))
  })
}

function putBack([name, before, ours]: Saved): void {
  if (readSysctl(name) === ours) writeSysctl(name, before)
}

function load(state: HostState): Saved[] {
  const text = state.get(hostSettingsKey)
  return text === undefined || text === '' ? [] : (JSON.parse(text) as Saved[])
}
