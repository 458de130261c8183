// The contract with IPAM drivers: who decides which addresses the containers of a network get. Three kinds: they choose out
// of pools before there is a link; they have a server on the network lease addresses once there is one; they give none.
// Addresses of pools are on tsrun's own books beside it (IpamAllocator in network.ts), whoever has chosen them.

import type { Undo } from '../lib/rollback.ts'
import type { Lease } from './lease.ts'
import type { Endpoint, Network, Pool, PoolRequest, Sandbox } from './network.ts'

/** Asks for an address of a pool. */
export interface AddressRequest {
  readonly network: Network
  readonly pool: Pool
  /** The container's id: whoever asks again under it gets what it has. */
  readonly owner: string
  /** Without prefix length: the user's choice, or what the container had before. */
  readonly wanted?: string
}

/** Asks for a lease for a container whose link is up and whose first process is there. */
export interface LeaseRequest {
  readonly network: Network
  readonly endpoint: Endpoint
  readonly sandbox: Sandbox
  /** The container's first process: with its end the lease is given back, whoever is there to see it. */
  readonly pid: number
  /** What the server is told that the container is called. */
  readonly hostname: string
  /** An address to ask for: the user's choice, or what the container had before. Another one may be granted. */
  readonly preferred?: string
}

/**
 * Decides which addresses containers get. The engine calls, for a network: validate, planPools; for a container on it:
 * requestAddress .. releaseAddress of each pool, or openLease .. closeLease. It calls in any process, and may die between
 * any two calls: a driver keeps nothing in memory, and every call may come twice.
 */
export interface IpamDriver {
  readonly name: string
  /** Where addresses come from. */
  readonly gives: 'pools' | 'leases' | 'none'
  /** Checks `ipamOptions` and fills in defaults. Changes nothing. @throws TsrunError invalid */
  validate(network: Network): Network
  /** The subnets of a new network. Without this method: those asked for, or else the first free one. @throws TsrunError */
  planPools?(network: Network, wanted: readonly PoolRequest[]): Promise<readonly PoolRequest[]>
  /**
   * Chooses an address of a pool; without this method tsrun takes the next free one. What the network keeps from its containers
   * is never asked for.
   * @returns without prefix length; refused afterwards where another container of this host has it
   * @throws TsrunError unavailable (none is free), conflict (the wanted one is taken), invalid
   */
  requestAddress?(request: AddressRequest): Promise<string>
  /** Gives an address back if `owner` has it. Idempotent. */
  releaseAddress?(request: AddressRequest & { readonly address: string }): Promise<void>
  /**
   * Waits until a server has granted an address, for as long as the driver's options say. The engine gives it to the interface.
   * @returns undefined in a rehearsal @throws TsrunError unavailable
   */
  openLease?(request: LeaseRequest, undo: Undo): Promise<Lease | undefined>
  /** What is granted now; undefined when it has run out. Changes nothing. */
  readLease?(endpoint: Endpoint): Lease | undefined
  /** Makes sure that somebody renews the lease of a container that runs. Idempotent. */
  keepLease?(request: LeaseRequest): Promise<void>
  /** Gives the lease back, or what there is of one. Idempotent. */
  closeLease?(endpoint: Pick<Endpoint, 'id'>): Promise<void>
}
