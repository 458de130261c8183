// The interface that the containers of a macvlan or ipvlan network share: one of the host's, or a VLAN or a dummy that is made
// when it is missing and removed with the last network that needs it. Its alias says that we made it.

import { hasCode } from '../../ffi/errno.ts'
import { readKernelFeatures } from '../../kernel/kernel-features.ts'
import { listAddresses } from '../../kernel/netlink/address.ts'
import { linkAddDummy, linkAddVlan } from '../../kernel/netlink/child-link.ts'
import { getLink, type Link, linkRemove, linkSet } from '../../kernel/netlink/link.ts'
import type { NetlinkChange } from '../../kernel/netlink/message.ts'
import { findDefaultRoute } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { formatPrefix, networkOf, parsePrefix } from '../../lib/ip.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import type { LanOptions } from './lan-options.ts'

/** A network's parent, and how errors about it begin. */
export interface LanParent {
  readonly engineId: string
  readonly network: Network
  readonly options: Pick<LanOptions, 'parent' | 'vlan'>
  /** `cannot create network "lan"`. */
  readonly cannot: string
}

const kernelOptions = {
  macvlan: 'CONFIG_MACVLAN',
  ipvlan: 'CONFIG_IPVLAN',
  dummy: 'CONFIG_DUMMY',
  '8021q': 'CONFIG_VLAN_8021Q',
} as const
type Module = keyof typeof kernelOptions

/** The parent as it stands, or the interface below a VLAN that is still to be made. @throws TsrunError not-found */
export function findParent(host: NetlinkSocket, parent: LanParent): Link | undefined {
  const { options, network, cannot } = parent
  const link = getLink(host, options.parent) ?? (options.vlan && getLink(host, options.vlan.base))
  if (link !== undefined || network.internal) return link
  const what = options.vlan === undefined ? `"${options.parent}"` : `"${options.parent}" or "${options.vlan.base}"`
  throw new TsrunError('not-found', 'no-parent', `${cannot}: there is no interface ${what}`, {
    hint: '`ip link` lists the interfaces of the host',
  })
}

/** Makes the parent if it is a missing VLAN or dummy, and brings up what we made. Idempotent. @throws TsrunError, SyscallError */
export function ensureParent(host: NetlinkSocket, parent: LanParent, undo: Undo): Link {
  const { options, engineId, cannot } = parent
  const name = options.parent
  const standing = getLink(host, name)
  if (standing !== undefined) {
    if (!standing.up && isOurs(engineId, standing)) host.apply(linkSet(name, { up: true }))
    if (standing.up || isOurs(engineId, standing)) return standing
    throw new TsrunError('unavailable', 'parent-down', `${cannot}: its parent interface "${name}" is down`, {
      hint: `bring it up: ip link set ${name} up`,
    })
  }
  const below = findParent(host, parent)
  const [add, module]: [NetlinkChange, Module] =
    below === undefined
      ? [linkAddDummy({ name }), 'dummy']
      : [linkAddVlan({ name, parent: below }, options.vlan?.id ?? 0), '8021q']
  try {
    // One send: the kernel does all of it before it looks at a signal, so nothing of ours stands without its mark.
    host.apply([
      add,
      linkSet(name, { alias: parentAlias(engineId), ipv6AddressMode: 'none' }),
      linkSet(name, { up: true }),
    ])
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP')) throw lacking(cannot, module, error)
    // Another start of ours was faster.
    if (!hasCode(error, 'EEXIST')) throw error
  }
  undo.add('add parent interface', () => withNetlinkSocket(again => removeParent(again, parent)))
  const link = getLink(host, name)
  if (link === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
  return link
}

/** Removes the parent if we made it. Idempotent. */
export function removeParent(
  host: NetlinkSocket,
  { options, engineId }: Pick<LanParent, 'options' | 'engineId'>,
): void {
  const link = getLink(host, options.parent)
  if (link === undefined || !isOurs(engineId, link)) return
  try {
    host.apply(linkRemove(link.name))
  } catch (error) {
    if (!hasCode(error, 'ENODEV')) throw error
  }
}

/** Whether we made the interface. */
export function isOurs(engineId: string, link: Link): boolean {
  return link.alias === parentAlias(engineId)
}

/** The host's own addresses on the parent, without prefix length. */
export function hostAddresses(host: NetlinkSocket, link: Link): string[] {
  return listAddresses(host, link.index).map(address => address.replace(/\/.*/, ''))
}

/** The flags that fit the LAN behind the parent, as far as the host's own settings tell. */
export function suggestedSubnet(host: NetlinkSocket, link: Link): string {
  const address = listAddresses(host, link.index).find(each => !each.includes(':'))
  if (address === undefined) return '--subnet 192.168.1.0/24 --gateway 192.168.1.1'
  const route = findDefaultRoute(host)
  const gateway = route?.index === link.index && route.family === 4 ? ` --gateway ${route.gateway}` : ''
  return `--subnet ${formatPrefix(networkOf(parsePrefix(address)))}${gateway}`
}

/** @throws TsrunError unsupported when the kernel says that it was built without `module` */
export function assertKernelHas(cannot: string, module: Module): void {
  if (readKernelFeatures().state(kernelOptions[module], module) === 'missing') throw lacking(cannot, module)
}

/** The error for a kernel without `module`. */
export function lacking(cannot: string, module: Module, cause?: unknown): TsrunError {
  return new TsrunError('unsupported', 'kernel-feature', `${cannot}: the kernel has no ${module}`, {
    hint: `it needs ${kernelOptions[module]}: try \`modprobe ${module}\`; \`tsrun doctor\` lists what this kernel has`,
    ...(cause === undefined ? {} : { cause }),
  })
}

function parentAlias(engineId: string): string {
  return `${engineId} parent interface`
}
