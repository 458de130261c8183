// The verbs of containers, for the faces: thin methods over the use cases beside this file.

import { noteLeftOut, StateFileError } from '../../lib/state-file.ts'
import type { Container, ContainerSpec, ContainerState, NetworkAttachment, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import type { PulledImage } from '../image/pull-image.ts'
import type { PullImageOptions } from '../image/transfer-events.ts'
import { nameToUse, withImage } from '../image/with-image.ts'
import type { PruneFilter } from '../prune-filter.ts'
import type { Attachment, AttachOptions } from './attachment.ts'
import type { CaptureOptions } from './capture.ts'
import type { ContainerUpdate } from './change-container.ts'
import type { PortChange } from './change-ports.ts'
import { emitContainer } from './container-events.ts'
import { createContainer, type ImageForContainer } from './create-container.ts'
import type { ExecSpec } from './exec-container.ts'
import { type ContainerView, isUp, runningContainers, settledState } from './list-containers.ts'
import type { LogLine, LogOptions } from './logs.ts'
import { OutputRelay, type OutputTargets } from './output-relay.ts'
import {
  endContainer,
  type PrunedContainers,
  pruneContainers,
  type RemoveOptions,
  removeContainer,
} from './remove-container.ts'
import type { CreateOptions, RunningContainer, RunOptions } from './running-container.ts'
import { type StartOptions, startContainer } from './start-container.ts'
import {
  openAttachment,
  type RelayedContainer,
  restartsByPolicy,
  type StartAttachedOptions,
  type StartedContainer,
  startAttached,
  startRelayed,
} from './start-with-client.ts'
import type { ContainerStats, StatsOptions } from './stats.ts'
import { killContainer, type StopOptions, stopContainer, waitContainer } from './stop-container.ts'
import type { ProcessTable } from './top.ts'

export type { ContainerView } from './list-containers.ts'
export type { PrunedContainers, RemoveOptions } from './remove-container.ts'
export type { RelayedContainer, StartAttachedOptions, StartedContainer } from './start-with-client.ts'
export type { StopOptions } from './stop-container.ts'

/** Resolves an image and keeps it from being removed while the task makes use of it known. */
type UseImage = <T>(reference: string, task: (image: ImageForContainer) => Promise<T>) => Promise<T>

interface Parts {
  readonly useImage: UseImage
  readonly pullImage: (reference: string, options: PullImageOptions) => Promise<PulledImage>
  readonly reconcile: (id: string) => Promise<void>
}

/** The verbs of containers. A container is meant by its name, its id, or the first digits of one. */
export class ContainerService {
  readonly #context: EngineContext
  readonly #parts: Parts

  /** @internal */
  constructor(context: EngineContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  /**
   * Makes a container; nothing of it runs. Its image is pulled where it is not here.
   * @throws TsrunError invalid, not-found (image), conflict (name); with a pull: denied, unavailable, the signal's reason
   */
  async create(
    spec: ContainerSpec,
    { pull = 'missing', durable = true, ...options }: CreateOptions = {},
  ): Promise<Container> {
    const container = await withImage(spec.image, pull, {
      use: reference =>
        this.#parts.useImage(reference, image =>
          createContainer(this.#context, { ...spec, image: reference }, image, { isToStart: !durable }),
        ),
      pull: async reference => nameToUse(reference, await this.#parts.pullImage(reference, options)),
    })
    if (durable) this.#context.store.persist(container.id)
    emitContainer(this.#context, container, 'create')
    return container
  }

  /** Starts a created or stopped container. @throws TsrunError */
  async start(reference: string, options: StartOptions = {}): Promise<RunRecord> {
    const { id } = this.find(reference)
    const run = await startContainer(this.#context, id, options)
    // It runs by now: nobody but who is told waits for the disk.
    this.#context.store.persist(id)
    return run
  }

  /** Starts a container with a client attached that misses nothing. @throws TsrunError */
  async startAttached(reference: string, options: StartAttachedOptions = {}): Promise<StartedContainer> {
    return startAttached(this.#context, this.find(reference), options)
  }

  /**
   * Starts a container with its output going to descriptors of this process: the quickest way when nothing is sent to it.
   * The caller owns the end, as with startAttached() and `owner`. @throws TsrunError
   */
  async startRelayed(reference: string, targets: OutputTargets, options: StartOptions = {}): Promise<RelayedContainer> {
    return startRelayed(this.#context, this.find(reference), targets, options)
  }

  /**
   * Creates and starts a container and holds its streams. A failure, or the signal, leaves nothing of it behind but a
   * pulled image.
   * @throws TsrunError as create() and start(); the signal's reason when it came before the container ran
   */
  async run(spec: ContainerSpec, options: RunOptions = {}): Promise<RunningContainer> {
    const { runContainer } = await import('./running-container.ts')
    return runContainer(this, spec, options)
  }

  /** For the owner, after the end: gives everything back and, with `autoRemove`, removes the container. */
  async finish(started: RelayedContainer): Promise<void> {
    if (restartsByPolicy(started.container)) {
      started.attachment.close()
      return
    }
    await endContainer(this.#context, started.container.id, started.run)
    started.attachment.release(this.#context.takeLeftover)
  }

  /** A further client of a running container. @throws TsrunError conflict when it is not running */
  async attach(reference: string, options: AttachOptions = {}): Promise<Attachment> {
    const container = this.find(reference)
    const { status } = await this.state(container)
    if (status !== 'running' && status !== 'paused')
      throw new TsrunError('conflict', 'not-running', `cannot attach to "${container.name}": it is not running`, {
        hint: `\`tsrun start ${container.name}\` starts it; \`tsrun logs ${container.name}\` shows what it wrote`,
      })
    const attachment = await openAttachment(this.#context, container, options)
    emitContainer(this.#context, container, 'attach')
    return attachment
  }

  /** Runs a further process in a running container. @throws TsrunError */
  async exec(reference: string, spec: ExecSpec, options: AttachOptions = {}): Promise<Attachment> {
    const { execInContainer } = await import('./exec-container.ts')
    return execInContainer(this.#context, this.find(reference), spec, options)
  }

  /** As exec(), with the output going to descriptors of this process. @returns the exit code; undefined as in ContainerClient */
  async execRelayed(reference: string, spec: ExecSpec, targets: OutputTargets): Promise<number | undefined> {
    const connect = (path: string) => new OutputRelay(path, { owner: true, targets })
    const { startExec } = await import('./exec-container.ts')
    const { client } = await startExec(this.#context, this.find(reference), spec, connect)
    const code = await client.exit
    client.close()
    return code
  }

  /** Sends a signal to its first process. @throws TsrunError invalid (signal); conflict when it is not running */
  async kill(reference: string, signal = 'KILL'): Promise<void> {
    const container = this.find(reference)
    await killContainer(this.#context, container, signal)
    if (container.spec.autoRemove === true && this.#context.store.readRun(container.id) === undefined)
      await endContainer(this.#context, container.id)
  }

  /** Asks, then insists. Does nothing to a container that has ended. @throws TsrunError not-found, invalid (signal) */
  async stop(reference: string, options: StopOptions = {}): Promise<void> {
    const container = this.find(reference)
    await stopContainer(this.#context, container, options)
    if (container.spec.autoRemove === true) await endContainer(this.#context, container.id)
  }

  /** Stops it, where it runs, and starts it. @throws TsrunError as stop() and start() */
  async restart(reference: string, options: StopOptions = {}): Promise<RunRecord> {
    const container = this.find(reference)
    const { store } = this.#context
    try {
      await stopContainer(this.#context, container, { ...options, isToStart: true })
      const run = await this.start(container.id)
      emitContainer(this.#context, container, 'restart')
      return run
    } finally {
      if (store.isRestarter(container.id)) store.unmarkRestarting(container.id)
    }
  }

  /** Stops every process where it is. @throws TsrunError conflict when it is not running, or paused already */
  async pause(reference: string): Promise<void> {
    const { pauseContainer } = await import('./pause.ts')
    await pauseContainer(this.#context, this.find(reference))
  }

  /** @throws TsrunError conflict when it is not paused */
  async unpause(reference: string): Promise<void> {
    const { unpauseContainer } = await import('./pause.ts')
    await unpauseContainer(this.#context, this.find(reference))
  }

  /**
   * Joins a container to one more network: at once where it runs, else at its next start.
   * @throws TsrunError not-found, conflict (on it already, address taken), invalid
   */
  async connectNetwork(reference: string, attachment: NetworkAttachment): Promise<void> {
    const { connectNetwork } = await import('./live-networks.ts')
    await this.#changeRecord(reference, container => connectNetwork(this.#context, container, attachment))
  }

  /** Publishes further ports and withdraws others: at once where it runs. @throws TsrunError conflict, not-found */
  async changePorts(reference: string, change: PortChange): Promise<void> {
    const { changePorts } = await import('./change-ports.ts')
    await this.#changeRecord(reference, container => changePorts(this.#context, container, change))
  }

  /** Takes a container out of a network: at once where it runs. @throws TsrunError not-found, conflict (not on it) */
  async disconnectNetwork(reference: string, network: string): Promise<void> {
    const { disconnectNetwork } = await import('./live-networks.ts')
    await this.#changeRecord(reference, container => disconnectNetwork(this.#context, container, network))
  }

  /** @throws TsrunError invalid, conflict (name taken) */
  async rename(reference: string, name: string): Promise<void> {
    const { renameContainer } = await import('./change-container.ts')
    await this.#changeRecord(reference, container => renameContainer(this.#context, container, name))
  }

  /** New limits, at once where it runs, or a new restart policy. @throws TsrunError invalid, system */
  async update(reference: string, update: ContainerUpdate): Promise<void> {
    const { updateContainer } = await import('./change-container.ts')
    await this.#changeRecord(reference, container => updateContainer(this.#context, container, update))
  }

  /** Its processes. @param psArguments options for the host's ps @throws TsrunError conflict when it is not running */
  async top(reference: string, psArguments: readonly string[] = []): Promise<ProcessTable> {
    const { listProcesses } = await import('./top.ts')
    return listProcesses(this.#context, this.find(reference), psArguments)
  }

  /**
   * Its traffic on all interfaces, as pieces of a pcap file while it happens; ends with the container.
   * @throws TsrunError conflict when it is not running
   */
  async *capture(reference: string, options: CaptureOptions = {}): AsyncGenerator<Buffer> {
    const { captureContainer } = await import('./capture.ts')
    yield* captureContainer(this.#context, this.find(reference), options)
  }

  /**
   * What the named containers use, or all running ones, at every interval until the signal.
   * @throws TsrunError not-found
   */
  async *stats(references: readonly string[] = [], options: StatsOptions = {}): AsyncGenerator<ContainerStats[]> {
    const { watchStats } = await import('./stats.ts')
    const named = references.map(reference => this.find(reference))
    const every = () => (options.all === true ? this.#context.store.list() : runningContainers(this.#context))
    yield* watchStats(this.#context, references.length > 0 ? () => named : every, options)
  }

  /** Waits for the end. @returns the exit code */
  wait(reference: string, signal?: AbortSignal): Promise<number> {
    return waitContainer(this.#context, this.find(reference), signal)
  }

  /**
   * Removes a container with all its files. With `force` also one that runs, and one whose files are damaged.
   * @throws TsrunError not-found; conflict when it is running; StateFileError when a file of it is damaged
   */
  async remove(reference: string, options: RemoveOptions = {}): Promise<void> {
    try {
      const container = this.find(reference)
      const { status } = await this.state(container)
      await removeContainer(this.#context, container, status, options)
    } catch (error) {
      if (options.force !== true || !(error instanceof StateFileError || this.#lacksRecord(reference))) throw error
      const { removeDamaged } = await import('./remove-damaged.ts')
      await removeDamaged(this.#context, reference)
    }
  }

  /** Whether it runs, and its record has gone: then nothing but its names and its network leads to it. */
  #lacksRecord(reference: string): boolean {
    const { store } = this.#context
    const id = store.idOf(reference)
    return id !== undefined && store.hasRun(id) && store.read(id) === undefined
  }

  /** Removes all containers that do not run. */
  async prune(filter: PruneFilter = {}): Promise<PrunedContainers> {
    return pruneContainers(this.#context, await this.list({ all: true }), filter)
  }

  /**
   * All containers, the newest first, each with its state; only running ones unless `all`. Those whose files are damaged are
   * left out: see Engine.damagedFiles().
   */
  async list(options: { all?: boolean } = {}): Promise<ContainerView[]> {
    const views: ContainerView[] = []
    const containers = options.all === true ? this.#context.store.list() : runningContainers(this.#context)
    for (const container of containers) {
      const state = await this.state(container).catch(noteLeftOut)
      if (state === undefined || (options.all !== true && !isUp(state.status))) continue
      // One with --rm whose end nobody had seen to has gone by looking at it.
      if (container.spec.autoRemove === true && !this.#context.store.has(container.id)) continue
      views.push({ container, state })
    }
    return views
  }

  /** Its record, and how it is doing. @throws TsrunError not-found */
  async inspect(reference: string): Promise<ContainerView> {
    const container = this.find(reference)
    return { container, state: await this.state(container) }
  }

  async #changeRecord(reference: string, change: (container: Container) => Promise<void>): Promise<void> {
    const container = this.find(reference)
    await change(container)
    this.#context.store.persist(container.id)
  }

  /** @throws TsrunError not-found, conflict (ambiguous) */
  find(reference: string): Container {
    return this.#context.store.find(reference)
  }

  /** How it is doing. A container whose process has gone unseen is torn down on the way, and restarted as its policy says. */
  async state(container: Container): Promise<ContainerState> {
    return settledState(this.#context, container, this.#parts.reconcile)
  }

  /** What the container wrote. */
  async *logs(reference: string, options: LogOptions = {}): AsyncGenerator<LogLine> {
    const container = this.find(reference)
    if (container.spec.log?.driver === 'none')
      throw new TsrunError(
        'unsupported',
        'no-log',
        `cannot show logs of "${container.name}": it was created with --log-driver none`,
      )
    const stop = new AbortController()
    const running = options.follow === true && (await this.state(container)).status === 'running'
    const ended = running ? waitContainer(this.#context, container, stop.signal).catch(() => {}) : Promise.resolve()
    try {
      const { readLog } = await import('./logs.ts')
      yield* readLog(this.#context.paths.containerFile(container.id, 'container.log'), options, ended)
    } finally {
      stop.abort()
    }
  }
}
