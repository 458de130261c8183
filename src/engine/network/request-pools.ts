// The pools of a new network, out of the IPAM, with the addresses in them that no container may get.

import { contains, parsePrefix, tryParseAddress } from '../../lib/ip.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IpamAllocator, Network, Pool, PoolPlan } from '../../model/network.ts'

/** What requestPools() needs to know. */
export interface PoolsRequest {
  readonly ipam: IpamAllocator
  /** Of the new network; its id owns what is kept from containers. */
  readonly network: Pick<Network, 'id' | 'name'>
  readonly plan: PoolPlan
  /** The IPAM driver that chooses their addresses; undefined: the books themselves. */
  readonly givenBy?: string | undefined
  /** Routes of the host that a new pool must not overlap. */
  readonly hostRoutes: () => readonly { readonly subnet: string; readonly name: string }[]
  /** The networks there are: for messages. */
  readonly others: readonly Network[]
}

/** Reserves the pools of a plan. @throws TsrunError as requestPool() and requestAddress() of IpamAllocator */
export async function requestPools(request: PoolsRequest, undo: Undo): Promise<Pool[]> {
  const { ipam, network, plan, givenBy } = request
  const pools: Pool[] = []
  const busy = plan.isOutside === true ? [] : request.hostRoutes()
  for (const wanted of plan.wanted) {
    const chosen = await ipam.requestPool(wanted, busy).catch((error: unknown) => {
      throw explained(request, error)
    })
    const pool = givenBy === undefined ? chosen : { ...chosen, givenBy }
    undo.add('pool', () => ipam.releasePool(pool))
    pools.push(pool)
    // They are the network's, and go with its pool.
    for (const address of new Set(Object.values(pool.auxiliary ?? {})))
      await ipam.requestAddress(pool, network.id, address)
  }
  for (const address of plan.reserved ?? []) {
    const pool = pools.find(({ subnet, gateway }) => gateway !== address && isWithin(address, subnet))
    if (pool !== undefined) await ipam.requestAddress(pool, network.id, address)
  }
  return pools
}

/** IPAM speaks of pools, since it knows no networks: here they get their names. */
function explained({ network, others }: PoolsRequest, error: unknown): unknown {
  if (!(error instanceof TsrunError)) return error
  const message = error.message
    .replace(/^cannot create a pool( \S+)?: /, `cannot create network "${network.name}": `)
    .replace(/the pool (\S+)/, (text, subnet) => {
      const owner = others.find(({ pools }) => pools.some(pool => pool.subnet === subnet))
      return owner === undefined ? text : `${subnet} of network "${owner.name}"`
    })
    .replace(/: it overlaps /, ': the subnet overlaps ')
  return new TsrunError(error.kind, error.code, message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  })
}

function isWithin(address: string, subnet: string): boolean {
  const parsed = tryParseAddress(address)
  return parsed !== undefined && contains(parsePrefix(subnet), parsed)
}
