// Makes a network: its drivers check what is asked for, its pools are taken, then the kernel's part, then the record.

import { type Undo, withRollback } from '../../lib/rollback.ts'
import type { IpamDriver } from '../../model/ipam.ts'
import type { IpamAllocator, Network, NetworkSpec, PoolPlan } from '../../model/network.ts'
import { newId } from '../ids.ts'
import type { Journal } from '../journal.ts'
import type { Locks } from '../locks.ts'
import { checkPeers } from './check-peers.ts'
import type { NetworkDrivers } from './connect-sandbox.ts'
import { type NetworkStore, nameTaken } from './network-store.ts'
import { requestPools } from './request-pools.ts'
import { checkIpamDriver, wantedPools } from './wanted-pools.ts'

/** What this needs of the engine. */
export interface CreateNetworkParts {
  readonly store: NetworkStore
  readonly locks: Locks
  readonly journal: Journal
  /** One that there is not stands in for itself: see missing-driver.ts. */
  drivers(name: string): Promise<NetworkDrivers>
  readonly ipam: IpamAllocator
  /** @param name default `file`; one that there is not stands in for itself */
  ipamDriver(name?: string): Promise<IpamDriver>
  /** Routes of the host that a new pool must not overlap. */
  hostRoutes(): readonly { readonly subnet: string; readonly name: string }[]
}

/**
 * @param tell is called while nobody else can change the network yet
 * @throws TsrunError invalid (subnet, option), conflict (name, subnet or interface taken)
 */
export async function createNetwork(
  parts: CreateNetworkParts,
  spec: NetworkSpec,
  tell: (made: Network) => void,
): Promise<Network> {
  const ipamDriver = await parts.ipamDriver(spec.ipamDriver)
  const isOwn = ipamDriver.name === 'file'
  const { driver, firewall, ipam } = await parts.drivers(spec.driver ?? 'bridge')
  return parts.locks.withNetwork(spec.name, async () => {
    if (parts.store.has(spec.name)) throw nameTaken(spec.name)
    checkIpamDriver(spec, ipamDriver)
    const draft = ipamDriver.validate({
      id: newId(),
      name: spec.name,
      driver: driver.name,
      pools: [],
      internal: spec.internal === true,
      labels: spec.labels ?? {},
      options: spec.options ?? {},
      ...(isOwn ? {} : { ipamDriver: ipamDriver.name }),
      ...(isEmpty(spec.ipamOptions) ? {} : { ipamOptions: spec.ipamOptions }),
      ...(ipamDriver.gives === 'leases' ? { isLeased: true } : {}),
      ...(spec.peers === undefined || spec.peers.length === 0 ? {} : { peers: spec.peers }),
      createdAt: new Date().toISOString(),
    })
    const others = parts.store.list()
    const checked = driver.validate(draft, others)
    checkPeers(driver, checked)
    const asked: NetworkSpec = { ...spec, pools: (await ipamDriver.planPools?.(checked, spec.pools)) ?? spec.pools }
    const versionsSaid = spec.ipv4 !== undefined || spec.ipv6 !== undefined
    const wanted = wantedPools(asked, ipamDriver.gives)
    const own = ipamDriver.gives === 'pools' ? driver.planPools : undefined
    const plan: PoolPlan = own?.call(driver, checked, versionsSaid ? wanted : asked.pools) ?? { wanted }
    const job = parts.journal.begin('network', spec.name)
    const make = async (undo: Undo) => {
      undo.add('network job', () => {})
      const pools = await requestPools(
        {
          ipam,
          network: draft,
          plan,
          givenBy: ipamDriver.requestAddress === undefined ? undefined : ipamDriver.name,
          hostRoutes: parts.hostRoutes,
          others,
        },
        undo,
      )
      const network = driver.validate({ ...draft, pools }, others)
      job.note(JSON.stringify(network))
      await driver.create(network, undo)
      await firewall.addNetwork(network, undo)
      parts.store.add(network)
      undo.add('network record', () => parts.store.delete(network))
      await firewall.confirmNetwork(network)
      return network
    }
    const made = await parts.locks.withPools(() => withRollback(make)).finally(() => job.end())
    tell(made)
    return made
  })
}

function isEmpty(options: Readonly<Record<string, string>> | undefined): options is undefined {
  return options === undefined || Object.keys(options).length === 0
}
