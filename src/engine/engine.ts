// The composition root: wires stores, drivers and services into one engine. Opening it reads two small files.

import { mkdirSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { NftFirewall } from '../drivers/firewall/nft-firewall.ts'
import { FileIpam } from '../drivers/ipam/file-ipam.ts'
import type { IpamDriverFactory } from '../drivers/ipam/ipam-kit.ts'
import { IpamDrivers } from '../drivers/ipam/registry.ts'
import { endpointInterfaceName } from '../drivers/network/bridge-names.ts'
import type { NetworkDriverFactory } from '../drivers/network/driver-kit.ts'
import { NetworkDrivers } from '../drivers/network/registry.ts'
import { isCompiled } from '../ffi/koffi.ts'
import { hostRoutes } from '../kernel/netlink/route.ts'
import { withNetlinkSocket } from '../kernel/netlink/socket.ts'
import { readJson, takeLeftOut, writeJson } from '../lib/state-file.ts'
import { mark } from '../lib/trace.ts'
import { TsrunError } from '../model/errors.ts'
import type { Endpoint } from '../model/network.ts'
import type { BootStep } from './boot.ts'
import type { BuildOptions, BuiltImage } from './build/build-types.ts'
import type { PruneBuildsOptions, PrunedBuilds } from './build/build-usage.ts'
import type { CommitOptions } from './commit-container.ts'
import { ContainerService } from './container/container-service.ts'
import { ContainerStore } from './container/container-store.ts'
import { killEverything } from './container/stop-container.ts'
import { tearDownContainer } from './container/teardown.ts'
import type { EngineContext } from './context.ts'
import type { UsageLine } from './disk-usage.ts'
import { EventLog } from './event-log.ts'
import { EventBus } from './events.ts'
import { ContainerFiles } from './files/container-files.ts'
import { ImageService, type LoadedImageSummary } from './image/image-service.ts'
import { Journal } from './journal.ts'
import { libraryDirectory } from './library-directory.ts'
import { Locks } from './locks.ts'
import type { Diagnosis } from './network/doctor/diagnosis.ts'
import { DrivenIpam } from './network/driven-ipam.ts'
import { NetworkService } from './network/network-service.ts'
import { NetworkStore } from './network/network-store.ts'
import { kernelPorts } from './network/port-routes.ts'
import { DEFAULT_ROOT, DEFAULT_STATE, Paths } from './paths.ts'
import type { Pruned, PruneOptions } from './prune.ts'
import { reconcileAll, reconcileAtOpen, reconcileContainer, releaseOrphanAddresses } from './reconcile.ts'
import type { SystemInfo } from './system-info.ts'
import { VolumeService } from './volume/volume-service.ts'

const SOCKET_LINGER_MS = 50
/** Layers that came longer ago are brought to the disk on the way of a build. */
const SETTLE_AGE_MS = 60_000

/** Where an engine keeps things. Two with different directories know nothing of each other. */
export interface EngineOptions {
  /** What must survive a reboot. Default: $TSRUN_ROOT, else /var/lib/tsrun. */
  readonly root?: string
  /** What must not. Default: $TSRUN_STATE, else /run/tsrun. */
  readonly state?: string
  /**
   * Ids of the host that containers' users are mapped to: `default`, `USER[:GROUP]` of /etc/subuid and /etc/subgid, or
   * `START:SIZE`. Default: $TSRUN_USERNS_REMAP, else none: containers have the users of the host.
   */
  readonly usernsRemap?: string
  /** Folder with tsrun-init and the embedded images. Default: where this program was installed. */
  readonly libraryDir?: string
  /**
   * Network drivers of the program's own, by name. Only this engine has them: a container that ends while nobody waits for it
   * is torn down by the `tsrun` command, which finds installed packages alone (docs/network-drivers.md).
   */
  readonly networkDrivers?: Readonly<Record<string, NetworkDriverFactory>>
  /** IPAM drivers of the program's own, by name; the same holds for them. */
  readonly ipamDrivers?: Readonly<Record<string, IpamDriverFactory>>
}

/** All that tsrun does, over one pair of directories. Any number may be open at once, in any number of processes. */
export class Engine {
  /** What must survive a reboot is here. */
  readonly root: string
  /** What must not is here. */
  readonly state: string
  /** Verbs of containers. */
  readonly containers: ContainerService
  /** What containers have in their file systems. */
  readonly files: ContainerFiles
  /** Verbs of networks. */
  readonly networks: NetworkService
  /** Verbs of images. */
  readonly images: ImageService
  /** Verbs of volumes. */
  readonly volumes: VolumeService
  /** What happens. */
  readonly events: EventBus
  readonly #context: EngineContext
  readonly #firewall: NftFirewall

  private constructor(parts: EngineParts) {
    this.#context = parts.context
    this.#firewall = parts.firewall
    this.root = parts.context.paths.root
    this.state = parts.context.paths.state
    this.containers = parts.containers
    this.files = new ContainerFiles(parts.context)
    this.networks = parts.context.networks
    this.images = parts.images
    this.volumes = parts.context.volumes
    this.events = parts.context.events
  }

  /**
   * Opens the engine over its two directories; makes them when they are not there. Jobs that were cut off by a crash
   * are cleaned up first.
   * @throws TsrunError denied (not root), system (directory not writable)
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    assertRoot()
    const root = resolve(options.root ?? process.env.TSRUN_ROOT ?? DEFAULT_ROOT)
    const state = resolve(options.state ?? process.env.TSRUN_STATE ?? DEFAULT_STATE)
    for (const directory of [root, state]) makeDirectory(directory)
    const usernsRemap = options.usernsRemap ?? (process.env.TSRUN_USERNS_REMAP || undefined)
    const parts = wire(new Paths(root, state), options.libraryDir ?? libraryDirectory(), {
      usernsRemap,
      networkDrivers: options.networkDrivers,
      ipamDrivers: options.ipamDrivers,
    })
    mark('engine wired')
    await reconcileAtOpen(parts.context)
    mark('engine opened')
    return new Engine(parts)
  }

  /** Checks everything on disk against the kernel and takes back what nobody owns any more. */
  async reconcile(): Promise<void> {
    await reconcileAll(this.#context)
  }

  /** Makes an image of what a container has changed. @throws TsrunError not-found, invalid */
  async commit(reference: string, options: CommitOptions = {}): Promise<LoadedImageSummary> {
    const { commitContainer } = await import('./commit-container.ts')
    return commitContainer(this.#context, this.images, this.containers.find(reference), options)
  }

  /** Removes what nobody uses: stopped containers, networks, dangling images, cache of builds; with `volumes`, anonymous volumes. */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    const { pruneEverything } = await import('./prune.ts')
    return pruneEverything(this, options)
  }

  /**
   * Builds an image from a Dockerfile.
   * @throws TsrunError invalid (Dockerfile, with file and line), not-found, system `step-failed`; the signal's reason
   */
  async build(options: BuildOptions): Promise<BuiltImage> {
    const { buildImage } = await import('./build/build-image.ts')
    const services = { context: this.#context, containers: this.containers, images: this.images }
    const image = await buildImage(services, options)
    await this.images.settle(SETTLE_AGE_MS)
    return image
  }

  /** Removes what builds have kept for the next ones. */
  async pruneBuilds(options: PruneBuildsOptions = {}): Promise<PrunedBuilds> {
    const { pruneBuilds } = await import('./build/build-usage.ts')
    return pruneBuilds(this.#context, this.images, options)
  }

  /** What there is and on what it runs. */
  async info(): Promise<SystemInfo> {
    const { collectInfo } = await import('./system-info.ts')
    const { images } = await this.images.diskUsage()
    return collectInfo(this.#context, images)
  }

  /**
   * Finds out why packets do not arrive. Without a container: looks at all networks and the ends of all containers. With
   * one: at its networks and published ports. With a target - an address, a container or a host name, `:PORT` behind it for a
   * TCP connection - at the path to it, with real packets. Each diagnosis ends with the first thing that is broken.
   * @throws TsrunError not-found, conflict when the container is not running
   */
  async diagnoseNetwork(container?: string, target?: string): Promise<Diagnosis[]> {
    const { runNetworkDoctor } = await import('./network/doctor/network-doctor.ts')
    return runNetworkDoctor(this.#context, container, target)
  }

  /** What containers, volumes and images take up on disk. Looks at every file. */
  async diskUsage(): Promise<UsageLine[]> {
    const { measureUsage } = await import('./disk-usage.ts')
    const { measureBuilds } = await import('./build/build-usage.ts')
    return [...measureUsage(this.#context, await this.images.diskUsage()), measureBuilds(this.#context)]
  }

  /** After a reboot: networks, and the containers whose restart policy says so. Tells each as it is done. */
  async *up(): AsyncGenerator<BootStep> {
    const { bringUp } = await import('./boot.ts')
    yield* bringUp(this.#context)
  }

  /**
   * The damaged state files for whose sake something was left out of a list, or left alone, since the last call. What names
   * such a thing fails instead.
   */
  damagedFiles(): Error[] {
    return takeLeftOut()
  }

  /** Gives back sockets, a moment later. The containers go on. */
  async close(): Promise<void> {
    // Closing a netlink socket right after a deletion waits for the kernel's grace period, 4 to 16 ms; later it does not.
    setTimeout(() => this.#firewall.close(), SOCKET_LINGER_MS).unref()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

interface EngineParts {
  readonly context: EngineContext
  readonly containers: ContainerService
  readonly images: ImageService
  readonly firewall: NftFirewall
}

interface WireOptions {
  readonly usernsRemap: string | undefined
  readonly networkDrivers: EngineOptions['networkDrivers']
  readonly ipamDrivers: EngineOptions['ipamDrivers']
}

function wire(paths: Paths, libraryDir: string, options: WireOptions): EngineParts {
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
    snapshot: async () => ({ networks: networkStore.list(), endpoints: readableEndpoints().map(kernelPorts) }),
  })
  const ipamDrivers = new IpamDrivers({
    engineId,
    stateDirectory: paths.state,
    driverDirectory: paths.drivers,
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
  const drivers = async (name: string) => ({ driver: await networkDrivers.get(name), firewall, ipam })
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
  })
  const usersOf = (name: string) =>
    store.all().filter(c => c.spec.mounts?.some(m => m.type === 'volume' && m.source === name))
  const volumes = new VolumeService(paths, name => usersOf(name).map(c => c.name), events)
  const ownCommand = (verb: string, ...ids: string[]) => [
    ...selfCommand(libraryDir),
    '--root',
    paths.root,
    '--state',
    paths.state,
    verb,
    ...ids,
  ]
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
    const dead = context.store.runningIds().filter(id => context.store.state(id).status === 'exited')
    for (const id of dead) await reconcileContainer(context, id)
    await releaseOrphanAddresses(context)
    return task()
  }
}

function assertRoot(): void {
  if (process.geteuid?.() === 0) return
  throw new TsrunError('denied', 'not-root', 'cannot run as this user: tsrun needs root', {
    hint: 'run it as root, e.g. with sudo; `tsrun doctor` lists what else it needs',
  })
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new TsrunError('system', 'state-directory', `cannot use the state directory "${directory}": ${reason}`, {
      hint: 'choose another one with --root and --state (TSRUN_ROOT, TSRUN_STATE)',
      cause: error,
    })
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
