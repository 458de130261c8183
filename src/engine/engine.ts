// The engine as its faces see it. Opening it reads two small files; wire-engine.ts puts it together.

import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import type { NftFirewall } from '../drivers/firewall/nft-firewall.ts'
import type { IpamDriverFactory } from '../drivers/ipam/ipam-kit.ts'
import type { NetworkDriverFactory } from '../drivers/network/driver-kit.ts'
import { takeLeftOut } from '../lib/state-file.ts'
import { mark } from '../lib/trace.ts'
import { takeWarnings } from '../lib/warnings.ts'
import { TsrunError } from '../model/errors.ts'
import type { BootStep } from './boot.ts'
import type { BuildOptions, BuiltImage } from './build/build-types.ts'
import type { PruneBuildsOptions, PrunedBuilds } from './build/build-usage.ts'
import type { CommitOptions } from './commit-container.ts'
import { CallBacks } from './container/call-backs.ts'
import type { ContainerService } from './container/container-service.ts'
import type { EngineContext } from './context.ts'
import type { UsageLine } from './disk-usage.ts'
import type { EventBus } from './events.ts'
import { ContainerFiles } from './files/container-files.ts'
import type { LoadedImageSummary } from './image/image-options.ts'
import type { ImageService } from './image/image-service.ts'
import { libraryDirectory } from './library-directory.ts'
import type { Diagnosis } from './network/doctor/diagnosis.ts'
import type { NetworkService } from './network/network-service.ts'
import { DEFAULT_ROOT, DEFAULT_STATE, Paths } from './paths.ts'
import type { Pruned, PruneOptions } from './prune.ts'
import { reconcileAll, reconcileAtOpen } from './reconcile.ts'
import type { SystemInfo } from './system-info.ts'
import type { VolumeService } from './volume/volume-service.ts'
import { type EngineParts, wireEngine } from './wire-engine.ts'

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
  /** @internal */
  readonly callBacks: CallBacks
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
    this.callBacks = new CallBacks(parts.context)
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
    const parts = wireEngine(new Paths(root, state), options.libraryDir ?? libraryDirectory(), {
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

  /** What went otherwise than asked for since the last call, although that succeeded: a port that had to move, say. */
  warnings(): Error[] {
    return takeWarnings()
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
