// The veth pair that joins a container to a bridge: made with its far end already in the sandbox, so that nothing is
// left over when we die half way: the pair goes with the sandbox.

import { hasCode } from '../../ffi/errno.ts'
import { getLink, type Link, linkRemove, linkSet } from '../../kernel/netlink/link.ts'
import { NetlinkError, type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { linkAddVeth } from '../../kernel/netlink/veth.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import { isolatedFurtherGroup, isolatedPortGroup, policyOf } from '../../model/network-policy.ts'
import { endpointAlias, endpointInterfaceName, isEndpointLink } from './bridge-names.ts'
import { cannotConnect, explainConflict, type SandboxInterface } from './sandbox-interface.ts'

// asm-generic/errno.h; Node has no name for it.
const EXFULL = 54

/** What plugVeth() joins. */
export interface Plug extends SandboxInterface {
  readonly network: Network
  readonly host: NetlinkSocket
  readonly engineId: string
  readonly bridge: Link
  readonly mtu: number
}

/** Makes the pair and plugs it into the bridge. @throws TsrunError unavailable (bridge is full), conflict; SyscallError */
export function plugVeth(plug: Plug, undo: Undo): void {
  const { host, engineId, endpoint } = plug
  const name = hostInterfaceOf(endpoint)
  try {
    addVeth(plug, name)
  } catch (error) {
    // A restarted container can meet the veth of its last life, whose namespace is still being torn down. It may also go by
    // itself this very moment: either way the name is free then, or a stranger's.
    if (!hasCode(error, 'EEXIST')) throw explained(plug, error)
    unplugVeth(host, engineId, endpoint)
    try {
      addVeth(plug, name)
    } catch (again) {
      throw explained(plug, again)
    }
  }
  undo.add('add veth', () => void withNetlinkSocket(again => unplugVeth(again, engineId, endpoint)))
}

/** Removes the pair if it stands and is ours. Takes 10 to 40 ms. @returns whether there was one */
export function unplugVeth(host: NetlinkSocket, engineId: string, endpoint: Endpoint): boolean {
  const name = hostInterfaceOf(endpoint)
  const link = getLink(host, name)
  if (link === undefined || !isEndpointLink(engineId, link)) return false
  try {
    host.apply(linkRemove(name))
  } catch (error) {
    // Its namespace has died meanwhile.
    if (!hasCode(error, 'ENODEV')) throw error
  }
  return true
}

function addVeth(plug: Plug, name: string): void {
  const { host, engineId, network, endpoint, sandbox, bridge, mtu, ipv6 } = plug
  const peer = { name: endpoint.containerInterface, mac: endpoint.mac, mtu, netnsFd: sandbox.netnsFd }
  try {
    host.apply([
      linkAddVeth({ name, mtu, queues: 1, master: bridge, peer: { ...peer, netnsLabel: endpoint.containerName } }),
      linkSet(name, {
        alias: endpointAlias(engineId, endpoint),
        ...portSettings(network, bridge),
        // A port of a bridge needs no address. Before the carrier comes, so the kernel makes none.
        ...(ipv6 ? { ipv6AddressMode: 'none' as const } : {}),
        up: true,
      }),
    ])
  } catch (error) {
    // Made, but not set up. (Not made and ENODEV when it was the first change that failed.)
    if (error instanceof NetlinkError && error.changeName !== `add veth "${name}"`) host.apply(linkRemove(name))
    throw error
  }
}

/** How a container's port of one of the network's bridges is set. */
export function portSettings(network: Network, bridge: Link): { readonly hairpin: boolean; readonly group?: number } {
  const { icc, hairpin } = policyOf(network)
  // A container may reach its own published port: with br_netfilter the packet is redirected inside the bridge and has to
  // leave by the port it came from.
  if (icc) return { hairpin }
  return { hairpin, group: network.furtherInterfaces?.includes(bridge.name) ? isolatedFurtherGroup : isolatedPortGroup }
}

/** Whether a change failed because the bridge has no port number left. */
export function isBridgeFull(error: unknown): boolean {
  const cause = error instanceof TsrunError ? error.cause : error
  return cause instanceof NetlinkError && cause.errno === EXFULL
}

function explained(plug: Plug, error: unknown): unknown {
  if (!(error instanceof NetlinkError) || error.errno !== EXFULL) return explainConflict(plug, error)
  const message = `${cannotConnect(plug)}: the bridge "${plug.bridge.name}" has no free port`
  return new TsrunError('unavailable', 'network-full', message, {
    hint: 'put some of the containers on another network',
    cause: error,
  })
}

export function hostInterfaceOf(endpoint: Endpoint): string {
  return endpoint.hostInterface ?? endpointInterfaceName(endpoint.id)
}
