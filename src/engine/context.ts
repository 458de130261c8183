// What the use cases share: the stores, the drivers and a few hooks. Wired together once, in engine.ts.

import type { Container, RunRecord } from '../model/container.ts'
import type { IpamDriver } from '../model/ipam.ts'
import type { IpamAllocator } from '../model/network.ts'
import type { ContainerStore } from './container/container-store.ts'
import type { EventBus } from './events.ts'
import type { Journal } from './journal.ts'
import type { Locks } from './locks.ts'
import type { NetworkDrivers } from './network/connect-sandbox.ts'
import type { NetworkService } from './network/network-service.ts'
import type { Paths } from './paths.ts'
import type { VolumeService } from './volume/volume-service.ts'

export interface EngineContext {
  readonly paths: Paths
  readonly store: ContainerStore
  readonly journal: Journal
  readonly locks: Locks
  readonly networks: NetworkService
  readonly volumes: VolumeService
  readonly events: EventBus
  /** The native program that sets containers up. */
  readonly initPath: string
  /** Ids of the host for containers (`--userns-remap`); undefined: they have the users of the host. */
  readonly usernsRemap: string | undefined
  /** Parent of all cgroups of this engine, e.g. `tsrun`. */
  readonly cgroupParent: string
  /** Loads the network driver on first use. One that there is not stands in for itself: see missing-driver.ts. */
  drivers(name: string): Promise<NetworkDrivers>
  /** The books of addresses, with the drivers that choose them. */
  readonly ipam: IpamAllocator
  /** Loads the IPAM driver on first use. One that there is not stands in for itself. */
  ipamDriver(name?: string): Promise<IpamDriver>
  /** Makes sure that what a container is made of has outlived the last power cut. @throws TsrunError system */
  mendLayers(container: Container): Promise<void>
  hostInterfaceOf(endpointId: string): string
  /** What a monitor runs when nobody watched its container end. */
  exitCommand(id: string): readonly string[]
  /** What the monitor of a further process runs when nobody watched that end. */
  execExitCommand(id: string, execId: string): readonly string[]
  /** What probes a container's health once and prints the seconds until the next time. */
  healthCommand(id: string): readonly string[]
  /** Gives back everything that a dead container held. Idempotent; the caller holds the container's lock. */
  tearDown(container: Container): Promise<void>
  /** A descriptor that is better closed by somebody who has time (see NftFirewall); now the caller's. */
  takeLeftover(): number | undefined
  /** Ends every process of the container at once. */
  kill(id: string, run: RunRecord): Promise<void>
  /** Runs `task`; when something that no live container owns is in its way, removes that and runs it once more. */
  retryAfterReconcile<T>(task: () => Promise<T>): Promise<T>
}
