// What a network is, and the contracts between the engine and those that make one work: NetworkDriver (links), FirewallDriver
// (rules and ports), IpamAllocator (the books of addresses; who decides about them is in ipam.ts). They know nothing of each
// other; an Endpoint ties them together. Everything here is plain data that goes to disk as JSON as it is.

import type { Undo } from '../lib/rollback.ts'
import type { Lease } from './lease.ts'

/** A subnet of a network. All addresses in canonical text form. */
export interface Pool {
  /** CIDR with host bits zero, e.g. `192.168.0.0/24`. */
  readonly subnet: string
  /** An address inside the subnet; the host's end of the bridge. */
  readonly gateway: string
  /** The part that addresses are taken from, as CIDR; the whole subnet when absent. */
  readonly ipRange?: string
  /** Addresses of the subnet that no container gets, by whatever name says what they are: other machines on it. */
  readonly auxiliary?: Readonly<Record<string, string>>
  /** The IPAM driver that chooses its addresses; absent: tsrun takes the next free one. */
  readonly givenBy?: string
}

/** How full a pool is. */
export interface PoolUsage {
  readonly subnet: string
  /** Addresses that containers have or keep, and those kept from them: gateway, network and broadcast, auxiliary ones. */
  readonly inUse: number
  /** Addresses that the next containers can have, of the IP range where there is one: IPv6 subnets have more than a number holds. */
  readonly available: bigint
}

/** A subnet as asked for; without `subnet` the first free default one of `family`, which is 4 unless said otherwise. */
export interface PoolRequest {
  readonly subnet?: string
  readonly gateway?: string
  readonly ipRange?: string
  readonly auxiliary?: Readonly<Record<string, string>>
  readonly family?: 4 | 6
}

/** A subnet on another host, whose containers are reached by their own addresses. */
export interface Peer {
  /** CIDR with host bits zero. */
  readonly subnet: string
  /** Of that host, or of a router that leads to it. */
  readonly address: string
}

/** What a user asks for with `network create`. */
export interface NetworkSpec {
  readonly name: string
  /** Default `bridge`. */
  readonly driver?: string
  readonly pools: readonly PoolRequest[]
  /** Whether it has IPv6 addresses, out of this host's own range where no IPv6 subnet is given. Default: if one is given. */
  readonly ipv6?: boolean
  /** Whether it has IPv4 addresses. Default: unless only IPv6 subnets are given. */
  readonly ipv4?: boolean
  /**
   * Who decides about addresses: `file` (default; docker calls it `default`), `null` (containers get none), `dhcp`, or one
   * of others: see IpamDriver.
   */
  readonly ipamDriver?: string
  /** Options of the IPAM driver (`--ipam-opt key=value`), which validates them. */
  readonly ipamOptions?: Readonly<Record<string, string>>
  /** No way out and no way in: containers of the network reach only each other and the gateway. */
  readonly internal?: boolean
  /** For drivers that join networks of several hosts. */
  readonly peers?: readonly Peer[]
  readonly labels?: Readonly<Record<string, string>>
  /** Driver options (`-o key=value`); each driver validates its own. */
  readonly options?: Readonly<Record<string, string>>
}

/** A network as it stands on disk. */
export interface Network {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  readonly driver: string
  readonly pools: readonly Pool[]
  /** Absent: `file`. */
  readonly ipamDriver?: string
  readonly ipamOptions?: Readonly<Record<string, string>>
  /** It has no pools: each container asks a server on the network for its IPv4 address when its link is up. */
  readonly isLeased?: boolean
  readonly internal: boolean
  /** Networks on other hosts; by the subnet, one entry each. */
  readonly peers?: readonly Peer[]
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  /** The host interface that stands for the network (a bridge), or undefined where the driver has none. */
  readonly hostInterface?: string
  /**
   * Where each endpoint has a host interface of its own and no bridge joins them: the device group (IFLA_GROUP, `ip link
   * set group`) that they are all in, by which the firewall driver knows the network's traffic.
   */
  readonly hostGroup?: number
  /** More of them, joined to the first, when that holds as many containers as it can. */
  readonly furtherInterfaces?: readonly string[]
  /** RFC 3339. */
  readonly createdAt: string
}

/** Transport protocol of a port. */
export type Protocol = 'tcp' | 'udp' | 'sctp'

/** One published port; a range of host ports is several of these unless it is kept as an interval. */
export interface PortMapping {
  readonly protocol: Protocol
  /**
   * `0.0.0.0`, `::` or one address of the host. In what a user asks for it may be empty: all addresses of the families that
   * the network has; an Endpoint has no such ports.
   */
  readonly hostIp: string
  readonly hostPort: number
  readonly containerPort: number
  /** Where the host port is 0: the first and the last of those to choose from. Absent: any free one. */
  readonly hostPortRange?: readonly [number, number]
  /** tsrun chose the host port: at a start where somebody else has it, it may choose another. */
  readonly isChosen?: boolean
  /** Who carries it; absent: what the network says. */
  readonly publishMode?: 'nat' | 'proxy'
  /** No address was named and the network has no IPv6: the host's `::1` leads there too, as `localhost` means that first. */
  readonly alsoLoopback6?: boolean
}

/** What joins one container to one network. */
export interface Endpoint {
  /** 64 hex digits; owner of the addresses and of the firewall elements. */
  readonly id: string
  readonly networkId: string
  readonly containerId: string
  /** Name of the container, for messages and interface aliases. */
  readonly containerName: string
  /** At most 15 bytes; undefined where the driver makes no host side. */
  readonly hostInterface?: string
  readonly containerInterface: string
  /** `02:42:..`, lower case. */
  readonly mac: string
  /** With prefix length, e.g. `192.168.0.2/24`. */
  readonly addresses: readonly string[]
  /** Default routes to install, at most one per address family: those that this network gives the container. */
  readonly gateways: readonly string[]
  readonly ports: readonly PortMapping[]
  /** What the driver has to know again at `disconnect`; from `prepareEndpoint`, on disk as JSON before `connect`. */
  readonly driverData?: Readonly<Record<string, unknown>>
  /** Further names of the container on this network; see `namesOf` for all of them. */
  readonly aliases?: readonly string[]
  /** The container's hostname where the user chose one: a name on this network as well. */
  readonly hostname?: string
  /** Further addresses, with prefix length, that no pool knows: 169.254.0.0/16 and fe80::/10. */
  readonly linkLocalAddresses?: readonly string[]
  /** What its address, gateway and routes are from, where a server on the network grants them. */
  readonly lease?: Lease
  /** Options for this endpoint alone (`--network driver-opt=key=value`), those of every driver included. */
  readonly options?: Readonly<Record<string, string>>
}

/** The names under which others on its network reach the container, the first being its own; none twice. */
export function namesOf(endpoint: Endpoint): string[] {
  const { containerName, aliases = [], containerId, hostname } = endpoint
  return [
    ...new Set([containerName, ...aliases, containerId.slice(0, 12), ...(hostname === undefined ? [] : [hostname])]),
  ]
}

/** A network namespace while it is being set up: an open descriptor of it, owned by the caller. */
export interface Sandbox {
  readonly netnsFd: number
}

/** What a new network's addresses are to be. */
export interface PoolPlan {
  /** One entry a pool; an empty one asks for the first free default subnet. None: endpoints get no addresses. */
  readonly wanted: NetworkSpec['pools']
  /** The subnet is that of a network outside which the host may be on itself: its routes are no reason to refuse it. */
  readonly isOutside?: boolean
  /** Addresses that no container may get, beside the gateways: e.g. the host's own on that network. */
  readonly reserved?: readonly string[]
}

/** How an endpoint is to be taken away. */
export interface DisconnectOptions {
  /** The namespace is dying and takes its end of every link along: do not wait for that. */
  readonly sandboxGone?: boolean
  /** The namespace, where it lives on: some links have no end on the host by which to remove them. */
  readonly sandbox?: Sandbox
}

/**
 * Makes and removes the links of one kind of network. The engine calls, for a network: validate, planPools, validate (now
 * with pools), create .. remove; for a container on it: prepareEndpoint, connect .. disconnect. It calls in any process, and
 * may die between any two calls: a driver keeps nothing in memory but finds all it needs in its arguments and the kernel.
 */
export interface NetworkDriver {
  readonly name: string
  /** Whether containers of such networks have a namespace and addresses of their own (`host` has not). */
  readonly hasEndpoints: boolean
  /**
   * The options of an endpoint that it understands beside those of every driver, which configureSandbox() sees to; others are
   * refused when a container is created or connected. Absent: all come to `prepareEndpoint`, which refuses them itself.
   */
  readonly endpointOptions?: readonly string[]
  /**
   * Checks options and fills in defaults. Changes nothing.
   * @param others the networks that exist beside this one, of all drivers
   * @throws TsrunError invalid, conflict, not-found, unsupported
   */
  validate(network: Network, others?: readonly Network[]): Network
  /**
   * Which subnets a new network gets. Without this method: those asked for, or else the first free one; none that overlaps a
   * route of the host. @throws TsrunError invalid
   */
  planPools?(network: Network, wanted: NetworkSpec['pools']): PoolPlan
  /**
   * Refuses peers that a user has just named and that this host cannot reach. Only drivers whose networks have peers have
   * this method. Reads the kernel, changes nothing. @throws TsrunError invalid
   */
  checkPeers?(network: Network, peers: readonly Peer[]): void
  /** Makes sure the network's links stand in the kernel; makes what is missing. Idempotent. */
  create(network: Network, undo: Undo): Promise<void>
  /**
   * Completes or refuses an endpoint that has its addresses, before it goes on record. Changes nothing in the kernel.
   * Without this method the endpoint stays as it is. @throws TsrunError
   */
  prepareEndpoint?(network: Network, endpoint: Endpoint): Promise<Endpoint>
  /**
   * Joins `sandbox` to the network; other interfaces and running processes may be in it already. Links are best made with
   * their far end in the sandbox: then a process that dies here leaves nothing. @throws TsrunError or SyscallError;
   * with the code `network-full` when extend() may help
   */
  connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void>
  /** Idempotent; works when the sandbox, the link or the network's interface is gone. */
  disconnect(network: Network, endpoint: Endpoint, options?: DisconnectOptions): Promise<void>
  /** The network with room for more endpoints, for `create` to make; undefined where there can be no more. Changes nothing. */
  extend?(network: Network): Network | undefined
  /** Idempotent. @param others the networks that remain, of all drivers */
  remove(network: Network, others?: readonly Network[]): Promise<void>
  /** What stands in the kernel now, for `network inspect`. */
  inspect(network: Network): Promise<Readonly<Record<string, unknown>>>
}

/** Keeps the packet filter in step. One transaction per call. */
export interface FirewallDriver {
  /** Makes sure that base chains and the network's rules stand. Idempotent. */
  addNetwork(network: Network, undo: Undo): Promise<void>
  /** For a network that is on record now: whoever made the rules anew before did not find it there. */
  confirmNetwork(network: Network): Promise<void>
  /** Idempotent. Takes everything of ours out with the last network. */
  removeNetwork(network: Network, others: readonly Network[]): Promise<void>
  /**
   * Publishes the endpoint's ports and admits its traffic. Where other ports of the endpoint stand, they are exchanged in one
   * transaction, and those that are in both stay untouched.
   * @throws TsrunError conflict when a port is published already
   */
  addEndpoint(network: Network, endpoint: Endpoint, undo: Undo): Promise<void>
  /**
   * For an endpoint whose container is on record as running now: whoever made the rules anew before left it out, if it had not
   * published its ports by then. @throws as addEndpoint
   */
  confirmEndpoint(network: Network, endpoint: Endpoint): Promise<void>
  /** Idempotent. */
  removeEndpoint(network: Network, endpoint: Endpoint): Promise<void>
  /** Takes out the ports of all endpoints that are not on record: left by commands that were killed. */
  removeStrays(): Promise<void>
  /** Replaces all rules by what should stand, in one transaction: connections that are open go on. */
  reload(): Promise<void>
}

/** Gives out subnets and addresses. */
export interface IpamAllocator {
  /**
   * Reserves a pool: the wanted subnet, or the first free default one.
   * @param busy subnets that must not be overlapped: routes of the host, as CIDR, with a name for the message
   * @throws TsrunError invalid (not a subnet, gateway outside), conflict (overlaps), unavailable (no free one)
   */
  requestPool(wanted: PoolRequest, busy: readonly { readonly subnet: string; readonly name: string }[]): Promise<Pool>
  /** Idempotent. */
  releasePool(pool: Pool): Promise<void>
  /**
   * Reserves an address for `owner`: the wanted one, or the next free one after the last given.
   * @returns the address with prefix length
   * @throws TsrunError unavailable (pool is full), conflict (address is taken; names its owner), invalid
   */
  requestAddress(pool: Pool, owner: string, wanted?: string): Promise<string>
  /** Gives back one address if `owner` holds it. Idempotent. */
  releaseAddress(pool: Pool, address: string, owner: string): Promise<void>
  /** How full a pool is. */
  usage(pool: Pool): Promise<PoolUsage>
  /** All pools that are reserved. */
  listPools(): Promise<readonly Pool[]>
  /** All addresses given out of a pool, and to whom. */
  listAddresses(pool: Pool): Promise<readonly { readonly address: string; readonly owner: string }[]>
}
