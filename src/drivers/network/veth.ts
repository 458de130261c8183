// The veth pair that joins a container to a bridge: made with its far end already in the sandbox, so that nothing is
// left over when we die half way: the pair goes with the sandbox.

import { hasCode } from '../../ffi/errno.ts'
import { addressAdd } from '../../kernel/netlink/address.ts'
import { getLink, type Link, linkAddVeth, linkRemove, linkSet } from '../../kernel/netlink/link.ts'
import { routeAdd } from '../../kernel/netlink/route.ts'
import { NetlinkError, NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { runInNetns } from '../../kernel/netns.ts'
import { readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'
import { faultPoint } from '../../lib/fault.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'
import { endpointAlias, endpointInterfaceName, isEndpointLink } from './bridge-names.ts'

// asm-generic/errno.h; Node has no name for it.
const EXFULL = 54

/** What plugVeth() joins. */
export interface Plug {
  readonly host: NetlinkSocket
  readonly engineId: string
  readonly network: Network
  readonly endpoint: Endpoint
  readonly sandbox: Sandbox
  readonly bridge: Link
  readonly mtu: number
  /** Whether the kernel has IPv6. */
  readonly ipv6: boolean
}

/** Makes the pair and plugs it into the bridge. @throws TsrunError unavailable (bridge is full), conflict; SyscallError */
export function plugVeth(plug: Plug, undo: Undo): void {
  const { host, engineId, endpoint } = plug
  const name = hostInterfaceOf(endpoint)
  try {
    addVeth(plug, name)
  } catch (error) {
    // A restarted container can meet the veth of its last life, whose namespace is still being torn down.
    if (!hasCode(error, 'EEXIST') || !unplugVeth(host, engineId, endpoint)) throw explained(plug, error)
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

/** Gives the container's end its addresses and routes, and brings it and the loopback up. @throws TsrunError, SyscallError */
export function configureSandbox(plug: Plug): void {
  const { endpoint, sandbox } = plug
  const name = endpoint.containerInterface
  const label = endpoint.containerName
  const socket = runInNetns(sandbox.netnsFd, () => {
    setInterfaceSysctls(plug, label)
    return new NetlinkSocket({ label })
  })
  try {
    socket.apply([linkSet('lo', { up: true }), linkSet(name, { up: true })])
    const index = getLink(socket, name)?.index
    if (index === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
    // Routes last: the kernel refuses a gateway that no address of the link reaches.
    socket.apply([
      ...endpoint.addresses.map(address => addressAdd({ index, interfaceName: name, address })),
      ...endpoint.gateways.map(gateway => routeAdd({ destination: 'default', gateway, index, interfaceName: name })),
    ])
  } catch (error) {
    throw explained(plug, error)
  } finally {
    socket.close()
  }
  faultPoint('configure sandbox')
}

function addVeth({ host, engineId, endpoint, sandbox, bridge, mtu, ipv6 }: Plug, name: string): void {
  const peer = { name: endpoint.containerInterface, mac: endpoint.mac, mtu, netnsFd: sandbox.netnsFd }
  try {
    host.apply([
      linkAddVeth({ name, mtu, queues: 1, master: bridge, peer: { ...peer, netnsLabel: endpoint.containerName } }),
      linkSet(name, {
        alias: endpointAlias(engineId, endpoint),
        // A container may reach its own published port: with br_netfilter the packet is redirected inside the
        // bridge and has to leave by the port it came from.
        hairpin: true,
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

function setInterfaceSysctls({ endpoint, ipv6 }: Plug, label: string): void {
  const name = endpoint.containerInterface
  const setting = (family: string, key: string): SysctlName => ['net', family, 'conf', name, key]
  if (ipv6) {
    // Other containers on the bridge could otherwise give this one addresses and routes.
    const wanted = endpoint.addresses.some(address => address.includes(':'))
    writeSysctl(setting('ipv6', wanted ? 'accept_ra' : 'disable_ipv6'), wanted ? '0' : '1', label)
  }
  // With two networks an answer may come in where the question did not leave. A new namespace copies the host's value.
  const strict = readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter']) === '1'
  if (strict || readSysctl(setting('ipv4', 'rp_filter')) === '1') writeSysctl(setting('ipv4', 'rp_filter'), '2', label)
}

function explained({ endpoint, network, bridge }: Plug, error: unknown): unknown {
  if (!(error instanceof NetlinkError)) return error
  const cannot = `cannot connect "${endpoint.containerName}" to network "${network.name}"`
  if (error.errno === EXFULL) {
    return new TsrunError('unavailable', 'network-full', `${cannot}: the bridge "${bridge.name}" has no free port`, {
      hint: 'a bridge takes 1023 containers; put some of them on another network',
      cause: error,
    })
  }
  if (error.code !== 'EEXIST') return error
  const change = error.changeName ?? ''
  const what = change.startsWith('add route')
    ? 'it has a default route already'
    : `"${endpoint.containerInterface}" exists`
  return new TsrunError('conflict', 'interface-exists', `${cannot}: ${what}`, { cause: error })
}

function hostInterfaceOf(endpoint: Endpoint): string {
  return endpoint.hostInterface ?? endpointInterfaceName(endpoint.id)
}
