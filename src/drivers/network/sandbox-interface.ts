// The container's end of a link, whatever kind of link it is: sysctls, addresses, routes, up. All drivers that make a link
// in a sandbox end here, so that a container cannot tell from its addresses which driver it is on.

import { addressAdd } from '../../kernel/netlink/address.ts'
import { neighbourHint } from '../../kernel/netlink/fdb.ts'
import { getLink, linkSet } from '../../kernel/netlink/link.ts'
import { type RouteSpec, routeAdd } from '../../kernel/netlink/route.ts'
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { runInNetns } from '../../kernel/netns.ts'
import { readSysctl, type SysctlName, writeSysctl } from '../../kernel/sysctl.ts'
import { faultPoint } from '../../lib/fault.ts'
import { readSysctls } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, Sandbox } from '../../model/network.ts'

/** What configureSandbox() sets up. */
export interface SandboxInterface {
  readonly network: Pick<Network, 'name'>
  /** Names the interface, its addresses and its gateways. */
  readonly endpoint: Endpoint
  readonly sandbox: Sandbox
  /** Whether the kernel has IPv6. */
  readonly ipv6: boolean
  /** Routes that have to stand before the default ones; `gateway` absent: on the link. */
  readonly routes?: readonly Pick<RouteSpec, 'destination' | 'gateway'>[]
  /** Neighbours that it need not ask for: those whose MAC address is ours to give. */
  readonly neighbours?: readonly { readonly address: string; readonly mac: string }[]
  /**
   * Tells the neighbours (gratuitous ARP, unsolicited neighbour advertisement): for a LAN whose hosts may remember another
   * MAC for the address. The kernel does it when the interface comes up.
   */
  readonly announce?: boolean
  /**
   * For a link whose far end passes frames on only when the kernel has looked at it: makes it look. The neighbours are told behind
   * that; what the kernel sends when the interface comes up would be lost.
   */
  readonly lookAtFarEnd?: () => void
}

/** Gives the container's end its addresses and routes, and brings it and the loopback up. @throws TsrunError, SyscallError */
export function configureSandbox(wanted: SandboxInterface): void {
  const { endpoint, sandbox, routes = [], neighbours = [] } = wanted
  const name = endpoint.containerInterface
  const label = endpoint.containerName
  const socket = runInNetns(sandbox.netnsFd, () => {
    setInterfaceSysctls(wanted, label)
    return new NetlinkSocket({ label })
  })
  try {
    const up = [linkSet('lo', { up: true }), linkSet(name, { up: true })]
    const index = getLink(socket, name)?.index
    if (index === undefined) throw new Error(`the interface "${name}" vanished while it was set up`)
    const addresses = addressesOf(endpoint).map(address => addressAdd({ index, interfaceName: name, address }))
    // Routes last: the kernel refuses a gateway that no address of the link reaches.
    socket.apply([
      ...(wanted.announce === true ? [...addresses, ...up] : [...up, ...addresses]),
      ...routes.map(route => routeAdd({ ...route, index, interfaceName: name })),
      ...endpoint.gateways.map(gateway => routeAdd({ destination: 'default', gateway, index, interfaceName: name })),
    ])
    if (wanted.lookAtFarEnd !== undefined) {
      wanted.lookAtFarEnd()
      announceNow(socket, endpoint)
    }
    // Behind the announcement, which makes the interface forget its neighbours.
    socket.apply(neighbours.map(neighbour => neighbourHint({ index, name }, neighbour)))
  } catch (error) {
    throw explainConflict(wanted, error)
  } finally {
    socket.close()
  }
  faultPoint('configure sandbox')
}

/** An interface that is given its MAC address, be it the one that it has, tells its neighbours: the sysctls say so. */
function announceNow(socket: NetlinkSocket, { containerInterface, mac }: Endpoint): void {
  // Looking makes the kernel act on the link's state at once, here and at the far end (linkwatch, since Linux 6.8).
  getLink(socket, containerInterface)
  socket.apply(linkSet(containerInterface, { mac }))
}

function addressesOf({ addresses, linkLocalAddresses = [] }: Endpoint): readonly string[] {
  return [...addresses, ...linkLocalAddresses]
}

/** How messages about an endpoint begin. */
export function cannotConnect({ network, endpoint }: Pick<SandboxInterface, 'network' | 'endpoint'>): string {
  return `cannot connect "${endpoint.containerName}" to network "${network.name}"`
}

/** What the kernel's EEXIST means for a link or route in a sandbox; any other error as it is. */
export function explainConflict(wanted: Pick<SandboxInterface, 'network' | 'endpoint'>, error: unknown): unknown {
  if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') return error
  const change = error.changeName ?? ''
  const what = change.startsWith('add route')
    ? 'it has a default route already'
    : `"${wanted.endpoint.containerInterface}" exists`
  return new TsrunError('conflict', 'interface-exists', `${cannotConnect(wanted)}: ${what}`, { cause: error })
}

function setInterfaceSysctls(wanted: SandboxInterface, label: string): void {
  setOwnSysctls(wanted, label)
  const { containerInterface, options = {} } = wanted.endpoint
  for (const { family, group, key, value } of readSysctls(options)) {
    try {
      writeSysctl(['net', family, group, containerInterface, key], value, label)
    } catch (error) {
      const setting = `net.${family}.${group}.${containerInterface}.${key}`
      throw new TsrunError('invalid', 'sysctl', `${cannotConnect(wanted)}: cannot set ${setting} to "${value}"`, {
        hint: `\`sysctl net.${family}.${group}.lo\` lists what this kernel has`,
        cause: error,
      })
    }
  }
}

function setOwnSysctls({ endpoint, ipv6, ...told }: SandboxInterface, label: string): void {
  const announce = told.announce === true || told.lookAtFarEnd !== undefined
  const name = endpoint.containerInterface
  const setting = (family: string, key: string): SysctlName => ['net', family, 'conf', name, key]
  if (ipv6) {
    // Other containers on the network could otherwise give this one addresses and routes.
    const wanted = addressesOf(endpoint).some(address => address.includes(':'))
    writeSysctl(setting('ipv6', wanted ? 'accept_ra' : 'disable_ipv6'), wanted ? '0' : '1', label)
    if (wanted && announce) writeSysctl(setting('ipv6', 'ndisc_notify'), '1', label)
  }
  if (announce) writeSysctl(setting('ipv4', 'arp_notify'), '1', label)
  // With two networks an answer may come in where the question did not leave. A new namespace copies the host's value.
  const strict = readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter']) === '1'
  if (strict || readSysctl(setting('ipv4', 'rp_filter')) === '1') writeSysctl(setting('ipv4', 'rp_filter'), '2', label)
}
