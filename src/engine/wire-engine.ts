// The composition root: wires stores, drivers and services into one engine.

import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { NftFirewall } from '../drivers/firewall/nft-firewall.ts'
import { FileIpam } from '../drivers/ipam/file-ipam.ts'
import type { IpamDriverFactory } from '../drivers/ipam/ipam-kit.ts'
import { IpamDrivers } from '../drivers/ipam/registry.ts'
import { endpointInterfaceName } from '../drivers/network/bridge-names.ts'
import type { NetworkDriverFactory } from '../drivers/network/driver-kit.ts'
import { NetworkDrivers } from '../drivers/network/registry.ts'
import { isCompiled } from '../ffi/koffi.ts'
import { hostRoutes } from '../kernel/netlink/host-routes.ts'
import { withNetlinkSocket } from '../kernel/netlink/socket.ts'
import { readJson, writeJson } from '../lib/state-file.ts'
import { TsrunError } from '../model/errors.ts'
import type { Endpoint } from '../model/network.ts'
import { ContainerService } from './container/container-service.ts'
import { ContainerStore } from './container/container-store.ts'
import { killEverything } from './container/stop-container.ts'
import { tearDownContainer } from './container/teardown.ts'
import type { EngineContext } from './context.ts'
import { EventLog } from './event-log.ts'
import { EventBus } from './events.ts'
import { ImageService } from './image/image-service.ts'
import { Journal } from './journal.ts'
import { Locks } from './locks.ts'
import { DrivenIpam } from './network/driven-ipam.ts'
import { NetworkService } from './network/network-service.ts'
import { NetworkStore } from './network/network-store.ts'
import { firewallRecords } from './network/stray-ports.ts'
import { DEFAULT_ROOT, type Paths } from './paths.ts'
import { reconcileContainer, reconcileEnded, releaseOrphanAddresses } from './reconcile.ts'
import { VolumeService, volumeName } from './volume/volume-service.ts'

/** What an engine is made of. */
export interface EngineParts {
  readonly context: EngineContext
  readonly containers: ContainerService
  readonly images: ImageService
  readonly firewall: NftFirewall
}

/** As in EngineOptions. */
interface WireOptions {
  readonly usernsRemap: string | undefined
  readonly networkDrivers: Readonly<Record<string, NetworkDriverFactory>> | undefined
  readonly ipamDrivers: Readonly<Record<string, IpamDriverFactory>> | undefined
}

/** Puts an engine together. @param libraryDir as in EngineOptions */
export function wireEngine(paths: Paths, libraryDir: string, options: WireOptions): EngineParts {
  const { usernsRemap, networkDrivers: ownDrivers, ipamDrivers: ownIpamDrivers } = options
  const engineId = paths.root === DEFAULT_ROOT ? 'tsrun' : `tsrun-${hash(realpathSync(paths.root))}`
  const store = new ContainerStore(paths)
  const events = new EventBus(new EventLog(paths.events))
  const journal = new Journal(paths.pending)
  const locks = new Locks(paths)
  const networkStore = new NetworkStore(paths.networks)
  const endpoints = (): Endpoint[] => store.allRuns().flatMap(run => run.endpoints)
  const readableEndpoints = () => store.runs().flatMap(run => run.endpoints)
  const firewall = new NftFirewall({
    engineId,
    records: () => firewallRecords(networkStore, store, journal),
    beginRebuild: () => journal.begin('rules', engineId),
  })
  const ownCommand = (verb: string, ...ids: string[]) => [
    ...selfCommand(libraryDir),
    '--root',
    paths.root,
    '--state',
    paths.state,
    verb,
    ...ids,
  ]
  const ipamDrivers = new IpamDrivers({
    engineId,
    stateDirectory: paths.state,
    driverDirectory: paths.drivers,
    leaseDirectory: paths.leases,
    initPath: join(libraryDir, 'tsrun-init'),
    leaseCommand: endpointId => ownCommand('lease-changed', endpointId),
    ...(ownIpamDrivers === undefined ? {} : { ownDrivers: ownIpamDrivers }),
  })
  const ipamDriver = (name?: string) => ipamDrivers.get(name)
  const ipam = new DrivenIpam({
    books: new FileIpam({
      directory: paths.ipam,
      defaultRanges: async () => (await import('../drivers/ipam/networks-config.ts')).readDefaultRanges(),
    }),
    drivers: ipamDriver,
    networks: () => networkStore.list(),
  })
  const networkDrivers = new NetworkDrivers({
    engineId,
    hostState: hostState(paths),
    stateDirectory: paths.state,
    driverDirectory: paths.drivers,
    ...(ownDrivers === undefined ? {} : { ownDrivers }),
    endpoints: network => readableEndpoints().filter(endpoint => endpoint.networkId === network.id),
  })
  const drivers = async (name: string) => ({ driver: await networkDrivers.get(name), firewall, ipam, ipamDriver })
  const networks = new NetworkService({
    store: networkStore,
    locks,
    journal,
    drivers,
    ipam,
    ipamDriver,
    hostRoutes: () => withNetlinkSocket(socket => hostRoutes(socket)),
    endpoints: readableEndpoints,
    allEndpoints: endpoints,
    events,
    graph: async networks => {
      const { collectGraph } = await import('./network/network-graph.ts')
      const { usesResolver } = await import('./dns/uses-resolver.ts')
      return collectGraph(networks, store.runs(), {
        all: networkStore.list(),
        tableName: engineId,
        asksResolver: id => usesResolver({ paths }, id),
      })
    },
    mendInside: async network => {
      const { mendInside } = await import('./container/mend-inside.ts')
      await mendInside(context, network)
    },
    tearDownEnded: ({ id }) => reconcileEnded(context, run => run.endpoints.some(({ networkId }) => networkId === id)),
  })
  const usersOf = (name: string) =>
    store.all().filter(c => c.spec.mounts?.some(m => m.type === 'volume' && volumeName(c.id, m) === name))
  const volumes = new VolumeService(paths, name => usersOf(name).map(c => c.name), events)
  const context: EngineContext = {
    paths,
    store,
    journal,
    locks,
    networks,
    volumes,
    events,
    initPath: join(libraryDir, 'tsrun-init'),
    usernsRemap,
    cgroupParent: engineId,
    drivers,
    ipam,
    ipamDriver,
    hostInterfaceOf: endpointInterfaceName,
    exitCommand: id => ownCommand('container-ended', id),
    execExitCommand: (id, execId) => ownCommand('exec-ended', id, execId),
    healthCommand: id => ownCommand('health-check', id),
    mendLayers: container => images.mendLayers(container),
    tearDown: container => tearDownContainer(context, container),
    takeLeftover: () => firewall.detachSocket(),
    kill: (_id, run) => killEverything(run),
    retryAfterReconcile: task => retryAfterReconcile(context, task),
  }
  const images = new ImageService({
    root: paths.root,
    events,
    embeddedDir: join(libraryDir, 'images'),
    layersInUse: async () => {
      const { StepCache } = await import('./build/step-cache.ts')
      const cached = new StepCache(join(paths.build, 'steps')).inUse()
      return new Set([...store.all().flatMap(container => container.image.layerDirs), ...cached])
    },
    users: async () =>
      store
        .all()
        .map(({ id, name, image }) => ({ name, imageId: image.id, isRunning: store.state(id).status === 'running' })),
  })
  const containers = new ContainerService(context, {
    useImage: (reference, task) =>
      images.use(reference, image =>
        task({ reference, id: image.id, layerDirs: image.layerDirs, config: image.config }),
      ),
    pullImage: (reference, options) => images.pull(reference, options),
    reconcile: id => reconcileContainer(context, id),
  })
  return { context, containers, images, firewall }
}

/** What stands in the way may belong to a container that died unseen: its things are taken back, then one more try. */
async function retryAfterReconcile<T>(context: EngineContext, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    if (!(error instanceof TsrunError) || (error.kind !== 'conflict' && error.kind !== 'unavailable')) throw error
    await reconcileEnded(context)
    await releaseOrphanAddresses(context)
    return task()
  }
}

/** Facts about the host that outlive a command, e.g. what ip_forward was before us. */
function hostState(paths: Paths): {
  get(key: string): string | undefined
  set(key: string, value: string | undefined): void
} {
  const file = join(paths.state, 'host.json')
  const read = () => readJson<Record<string, string>>(file) ?? {}
  return {
    get: key => read()[key],
    set: (key, value) => {
      const { [key]: _old, ...rest } = read()
      writeJson(file, value === undefined ? rest : { ...rest, [key]: value })
    },
  }
}

/** How a monitor calls us back. */
function selfCommand(libraryDir: string): string[] {
  if (isCompiled) return [process.execPath]
  return [process.execPath, join(libraryDir, 'cli.js')]
}

/** FNV-1a, 32 bits, as 8 hex digits: tells engines apart, protects nothing. */
function hash(text: string): string {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0
  return value.toString(16).padStart(8, '0')
}
