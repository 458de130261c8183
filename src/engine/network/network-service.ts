// The verbs of networks: create, list, inspect, remove, prune. Validates everything before the first change.

import { faultPoint } from '../../lib/fault.ts'
import { withRollback } from '../../lib/rollback.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, NetworkSpec, PoolUsage } from '../../model/network.ts'
import type { EventBus } from '../events.ts'
import { assertName } from '../ids.ts'
import { type PruneFilter, passesPruneFilter } from '../prune-filter.ts'
import type { NetworkUpdate } from './change-peers.ts'
import type { CreateNetworkParts } from './create-network.ts'
import type { NetworkGraph } from './network-graph.ts'
import { nameTaken, noSuchNetwork } from './network-store.ts'

/** The network that containers join when none is named. Made on first use. */
export const DEFAULT_NETWORK = 'bridge'

const reservedNames = new Set(['host', 'none', 'container', 'ns', 'default'])

/** What the service needs of the engine around it. */
export interface NetworkServiceParts extends CreateNetworkParts {
  readonly events: EventBus
  /** Endpoints of running containers. */
  endpoints(): readonly Endpoint[]
  /** The same. @throws StateFileError when those of one container cannot be read */
  allEndpoints(): readonly Endpoint[]
  /** What of these networks stands in the kernel. */
  graph(networks: readonly Network[]): Promise<NetworkGraph>
  /** Restores what tsrun made in the namespaces of running containers on the network. */
  mendInside(network: Network): Promise<void>
  /** Gives back what containers on the network held that have ended. Waits for those who are doing so. */
  tearDownEnded(network: Network): Promise<void>
}

/** A network with what stands in the kernel and who is on it. */
export interface NetworkInspection {
  readonly network: Network
  readonly endpoints: readonly Endpoint[]
  readonly kernel: Readonly<Record<string, unknown>>
  /** How full each pool is, in their order. */
  readonly usage: readonly PoolUsage[]
}

/** The verbs of networks. A network is meant by its name, its id, or the first digits of one. */
export class NetworkService {
  readonly #parts: NetworkServiceParts

  /** @internal */
  constructor(parts: NetworkServiceParts) {
    this.#parts = parts
  }

  /**
   * Makes a network.
   * @throws TsrunError invalid (name, subnet, option), conflict (name, subnet or interface taken)
   */
  async create(spec: NetworkSpec): Promise<Network> {
    assertName('network', spec.name)
    if (reservedNames.has(spec.name))
      throw new TsrunError('invalid', 'reserved-name', `cannot create network "${spec.name}": the name is reserved`, {
        hint: 'choose another name',
      })
    if (this.#parts.store.has(spec.name)) throw nameTaken(spec.name)
    return this.#create(spec)
  }

  /** @internal The default network; made if it is not there yet. */
  async ensureDefault(): Promise<Network> {
    const existing = this.#parts.store.get(DEFAULT_NETWORK)
    if (existing !== undefined) return existing
    try {
      return await this.#create({ name: DEFAULT_NETWORK, pools: [] })
    } catch (error) {
      // Another command was first.
      const made = this.#parts.store.get(DEFAULT_NETWORK)
      if (made !== undefined) return made
      throw error
    }
  }

  /** All networks, by name. */
  list(): Network[] {
    return this.#parts.store.list()
  }

  /** @internal All networks. @throws StateFileError when the record of one is damaged */
  all(): Network[] {
    return this.#parts.store.all()
  }

  /** @internal The network that an endpoint of the container is of. */
  ofEndpoint({ networkId }: Pick<Endpoint, 'networkId'>, { spec }: Pick<Container, 'spec'>): Network | undefined {
    const said = spec.networks?.map(({ network }) => network) ?? []
    return this.#parts.store.ofId(networkId, said.length > 0 ? said : [DEFAULT_NETWORK])
  }

  /** @internal The network of this name or whole id; unlike find(), none is no error. */
  named(reference: string): Network | undefined {
    return this.#parts.store.named(reference)
  }

  /** @throws TsrunError not-found */
  find(reference: string): Network {
    return this.#parts.store.find(reference)
  }

  /** A network with what stands in the kernel and who is on it. @throws TsrunError not-found */
  async inspect(reference: string): Promise<NetworkInspection> {
    const network = this.find(reference)
    const { driver, ipam } = await this.#parts.drivers(network.driver)
    const usage = await Promise.all(network.pools.map(pool => ipam.usage(pool)))
    return { network, endpoints: this.#endpointsOf(network), kernel: await driver.inspect(network), usage }
  }

  /**
   * Makes everything of a network that is missing or changed, links, settings and rules, and plugs running containers in
   * again, with what tsrun made inside of them. They notice nothing, and connections that are open go on.
   * @throws TsrunError not-found
   */
  async reload(reference: string): Promise<Network> {
    const network = await this.bringUp(reference)
    await (await this.#parts.drivers(network.driver)).firewall.reload()
    await this.#parts.mendInside(network)
    this.#emit(network, 'reload')
    return network
  }

  /**
   * Makes room on a network that has none left, unless another command has done so.
   * @param known the network as the caller found it full
   * @returns undefined when there can be no more
   */
  async extend(known: Network): Promise<Network | undefined> {
    const extended = await this.#parts.locks.withNetwork(known.name, async () => {
      const current = this.find(known.id)
      if ((current.furtherInterfaces?.length ?? 0) > (known.furtherInterfaces?.length ?? 0)) return current
      const wider = (await this.#parts.drivers(current.driver)).driver.extend?.(current)
      if (wider !== undefined) this.#parts.store.replace(wider)
      return wider
    })
    return extended === undefined ? undefined : this.bringUp(extended.id)
  }

  /**
   * Changes a network's peers, live.
   * @throws TsrunError not-found, invalid (also where the driver knows no peers), conflict
   */
  async update(reference: string, update: NetworkUpdate): Promise<Network> {
    const { id, name } = this.find(reference)
    const { changePeers } = await import('./change-peers.ts')
    const changed = await this.#parts.locks.withNetwork(name, async () => {
      const current = this.find(id)
      const job = this.#parts.journal.begin('network', name)
      job.note(JSON.stringify(current))
      const drivers = await this.#parts.drivers(current.driver)
      return changePeers(drivers, this.#parts.store, current, update).finally(() => job.end())
    })
    this.#emit(changed, 'update')
    return changed
  }

  /** Makes what is missing of a network, and plugs running containers in again. @throws TsrunError not-found */
  async bringUp(reference: string): Promise<Network> {
    const { id, name } = this.find(reference)
    return this.#parts.locks.withNetwork(name, async () => {
      const network = this.find(id)
      const { driver, firewall } = await this.#parts.drivers(network.driver)
      await withRollback(async undo => {
        await driver.create(network, undo)
        await firewall.addNetwork(network, undo)
        undo.keep()
      })
      return network
    })
  }

  /**
   * @internal That nobody has removed it since it was looked up, be there another of its name. The caller holds its lock.
   * @throws TsrunError not-found
   */
  assertThere({ id, name }: Network, reference = name): void {
    if (this.#parts.store.get(name)?.id !== id) throw noSuchNetwork(reference)
  }

  /**
   * What stands in the kernel, both ends of every link.
   * @param references default: all networks @throws TsrunError not-found
   */
  async graph(references: readonly string[] = []): Promise<NetworkGraph> {
    const networks = references.length === 0 ? this.list() : references.map(reference => this.find(reference))
    return this.#parts.graph(networks)
  }

  /** @throws TsrunError not-found, conflict when running containers are on it */
  async remove(reference: string): Promise<Network> {
    return this.#remove(this.find(reference), reference)
  }

  async #remove(network: Network, reference: string): Promise<Network> {
    // Outside of its lock: who starts a container holds that container's, and waits for this one.
    await this.#parts.tearDownEnded(network)
    return this.#parts.locks.withNetwork(network.name, async () => {
      // Another of its name may have its subnets by now.
      this.assertThere(network, reference)
      const users = this.#usersOf(network)
      if (users.length > 0)
        throw new TsrunError(
          'conflict',
          'network-in-use',
          `cannot remove network "${network.name}": ${users.length === 1 ? 'a container is' : `${users.length} containers are`} on it: ${users.map(e => e.containerName).join(', ')}`,
          {
            hint: `stop ${users.length === 1 ? 'it' : 'them'} first: \`tsrun rm -f ${users.map(e => e.containerName).join(' ')}\``,
          },
        )
      const job = this.#parts.journal.begin('network', network.name)
      job.noteIfRoom(JSON.stringify(network))
      await this.#tearDown(network)
      for (const pool of network.pools) {
        await this.#parts.ipam.releasePool(pool)
        faultPoint('pool released')
      }
      job.end()
      this.#emit(network, 'destroy')
      return network
    })
  }

  /** Removes the networks that no running container is on and that pass the filter. @returns their names */
  async prune(filter: PruneFilter = {}): Promise<string[]> {
    const removed: string[] = []
    for (const network of this.list()) {
      if (network.name === DEFAULT_NETWORK || !passesPruneFilter(network, filter)) continue
      try {
        await this.#remove(network, network.name)
        removed.push(network.name)
      } catch (error) {
        // Removed by somebody else meanwhile, or in use.
        if (!(error instanceof TsrunError && ['no-such-network', 'network-in-use'].includes(error.code))) throw error
      }
    }
    this.#parts.events.emit({ type: 'network', action: 'prune', id: '', name: '', attributes: { reclaimed: '0' } })
    return removed
  }

  /**
   * @internal Finishes what was cut off: a network that is not on record goes, but for its pools, which may be another's by now.
   * @returns whether it is on record
   */
  async finish(intent: Network): Promise<boolean> {
    const isRecorded = this.#parts.store.get(intent.name)?.id === intent.id
    if (isRecorded) this.#parts.store.deleteDraft(intent)
    else await this.#tearDown(intent)
    return isRecorded
  }

  /** Takes away what there is of a network but its pools. Idempotent; its record goes first, so nobody joins it meanwhile. */
  async #tearDown(network: Network): Promise<void> {
    const { driver, firewall } = await this.#parts.drivers(network.driver)
    this.#parts.store.delete(network)
    faultPoint('network record removed')
    await firewall.removeNetwork(network, this.list())
    faultPoint('firewall network removed')
    await driver.remove(network, this.list())
    faultPoint('network links removed')
  }

  async #create(spec: NetworkSpec): Promise<Network> {
    const { createNetwork } = await import('./create-network.ts')
    return createNetwork(this.#parts, spec, made => this.#emit(made, 'create'))
  }

  #emit({ id, name, driver }: Network, action: string): void {
    this.#parts.events.emit({ type: 'network', action, id, name, attributes: { name, type: driver } })
  }

  /** For whoever takes it away. @throws StateFileError */
  #usersOf(network: Network): Endpoint[] {
    return this.#parts.allEndpoints().filter(endpoint => endpoint.networkId === network.id)
  }

  #endpointsOf(network: Network): Endpoint[] {
    return this.#parts.endpoints().filter(endpoint => endpoint.networkId === network.id)
  }
}
