// The veth pair of a ptp network: from the host straight into the container, no bridge between. The host's end has the gateway
// addresses; a route of one address leads to it. Everything goes with the pair, and the pair with the sandbox.

import { hasCode } from '../../ffi/errno.ts'
import { addressAdd } from '../../kernel/netlink/address.ts'
import { getLink, linkSet } from '../../kernel/netlink/link.ts'
import { routeReplace } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { linkAddVeth } from '../../kernel/netlink/veth.ts'
import { readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'
import { formatPrefix, parseAddress, parsePrefix } from '../../lib/ip.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Network, Pool } from '../../model/network.ts'
import { endpointAlias, endpointInterfaceName } from './bridge-names.ts'
import { explainConflict, type SandboxInterface } from './sandbox-interface.ts'
import { unplugVeth } from './veth.ts'

/**
 * The link-local address of every host's end. Made here and not by the kernel, which would first look for a second or two
 * whether somebody else has it, and could ask no neighbour meanwhile.
 */
const linkLocalGateway = 'fe80::1/64'

/** What plugPtp() joins. */
export interface PtpPlug extends SandboxInterface {
  readonly host: NetlinkSocket
  readonly engineId: string
  readonly network: Network
  readonly mtu: number
  /** Device group of the host's end. */
  readonly group: number
}

/** Makes the pair, with addresses and routes on the host. @throws TsrunError conflict, SyscallError */
export function plugPtp(plug: PtpPlug, undo: Undo): void {
  const { host, engineId, endpoint } = plug
  try {
    addPair(plug)
  } catch (error) {
    // A restarted container can meet the veth of its last life, whose namespace is still being torn down.
    // It may also go by itself this very moment: either way the name is free then, or a stranger's.
    if (!hasCode(error, 'EEXIST')) throw error
    unplugVeth(host, engineId, endpoint)
    try {
      addPair(plug)
    } catch (again) {
      throw explainConflict(plug, again)
    }
  }
  undo.add('add veth', () => void withNetlinkSocket(again => unplugVeth(again, engineId, endpoint)))
  configureHostEnd(plug)
}

/** Routes of the container's end: the gateway is on the link, the rest of the network behind it. */
export function sandboxRoutes({ pools }: Network): { destination: string; gateway?: string }[] {
  return pools.flatMap(({ subnet, gateway }) => [
    { destination: hostPrefix(gateway) },
    { destination: subnet, gateway },
  ])
}

/** An address as a prefix of one. */
export function hostPrefix(address: string): string {
  const parsed = parseAddress(address.replace(/\/.*/, ''))
  return formatPrefix({ ...parsed, length: parsed.family === 4 ? 32 : 128 })
}

function addPair({ host, engineId, endpoint, sandbox, mtu, group, ipv6 }: PtpPlug): void {
  const name = endpoint.hostInterface ?? endpointInterfaceName(endpoint.id)
  const peer = { name: endpoint.containerInterface, mac: endpoint.mac, mtu, netnsFd: sandbox.netnsFd }
  // In the group from its first moment: the firewall knows the network's interfaces by it.
  host.apply(linkAddVeth({ name, mtu, queues: 1, group, peer: { ...peer, netnsLabel: endpoint.containerName } }))
  const alias = endpointAlias(engineId, endpoint)
  host.apply(linkSet(name, { alias, ...(ipv6 ? { ipv6AddressMode: 'none' as const } : {}) }))
}

function configureHostEnd({ host, network, endpoint, ipv6 }: PtpPlug): void {
  const name = endpoint.hostInterface ?? endpointInterfaceName(endpoint.id)
  setHostSysctls(name, ipv6)
  const index = getLink(host, name)?.index
  if (index === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
  const hasPool = (family: 4 | 6) => network.pools.some(pool => familyOf(pool) === family)
  const addresses = [...network.pools.map(pool => hostPrefix(pool.gateway)), ...(hasPool(6) ? [linkLocalGateway] : [])]
  host.apply([
    linkSet(name, { up: true }),
    ...addresses.map(address => addressAdd({ index, interfaceName: name, address })),
    // Replaced: the container that had the address before may not be quite gone.
    ...endpoint.addresses.map(address =>
      routeReplace({ destination: hostPrefix(address), index, interfaceName: name }),
    ),
  ])
}

function setHostSysctls(name: string, ipv6: boolean): void {
  const setting = (family: string, key: string): SysctlName => ['net', family, 'conf', name, key]
  // Lets a published port answer on 127.0.0.1; the firewall drops packets of others to 127.0.0.0/8.
  writeSysctl(setting('ipv4', 'route_localnet'), '1')
  // A container on two networks answers through either: strict checking would drop that. Loose still checks.
  const strict = readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter']) === '1'
  if (strict || readSysctl(setting('ipv4', 'rp_filter')) === '1') writeSysctl(setting('ipv4', 'rp_filter'), '2')
  // A container must not be able to give the host routes (CVE-2020-13401).
  if (ipv6) writeSysctl(setting('ipv6', 'accept_ra'), '0')
}

function familyOf(pool: Pool): 4 | 6 {
  return parsePrefix(pool.subnet).family
}
