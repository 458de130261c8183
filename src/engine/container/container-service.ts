// The verbs of containers, for the faces: thin methods over the use cases beside this file.

import { hasCode } from '../../ffi/errno.ts'
import type { Container, ContainerSpec, ContainerState, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import type { PulledImage, PullImageOptions, PullPolicy } from '../image/image-service.ts'
import { nameToUse, withImage } from '../image/with-image.ts'
import type { Attachment, AttachOptions } from './attachment.ts'
import type { ContainerUpdate } from './change-container.ts'
import { emitContainer } from './container-events.ts'
import { createContainer, type ImageForContainer } from './create-container.ts'
import { type ExecSpec, execInContainer, startExec } from './exec-container.ts'
import { type LogLine, type LogOptions, readLog } from './logs.ts'
import { type ContainerClient, OutputRelay, type OutputTargets } from './output-relay.ts'
import { RunningContainer } from './running-container.ts'
import { type StartOptions, startContainer } from './start-container.ts'
import type { ContainerStats, StatsOptions } from './stats.ts'
import { killContainer, stopContainer, waitContainer } from './stop-container.ts'
import { eraseContainer } from './teardown.ts'
import type { ProcessTable } from './top.ts'

/** A container and how it is doing. */
export interface ContainerView {
  readonly container: Container
  readonly state: ContainerState
}

export interface RunOptions extends StartOptions {
  /** Whether the caller tears the container down when it ends: call `finish()` then. Default false. */
  readonly owner?: boolean
  readonly signal?: AbortSignal
}

/** How the image of a new container is come by. */
export interface CreateOptions extends Omit<PullImageOptions, 'policy'> {
  /** `missing` (default): pulled when it is not here; `always`: asked for first; `never`: it must be here. */
  readonly pull?: PullPolicy
}

/** A container that was started together with a client on its streams. */
export interface StartedContainer {
  readonly container: Container
  readonly run: RunRecord
  readonly attachment: Attachment
}

/** A container that was started with its output going straight to descriptors. */
export interface RelayedContainer {
  readonly container: Container
  readonly attachment: ContainerClient
}

/** Resolves an image and keeps it from being removed while the task makes use of it known. */
type UseImage = <T>(reference: string, task: (image: ImageForContainer) => Promise<T>) => Promise<T>

interface Parts {
  readonly useImage: UseImage
  readonly pullImage: (reference: string, options: PullImageOptions) => Promise<PulledImage>
  readonly reconcile: (id: string) => Promise<void>
}

export class ContainerService {
  readonly #context: EngineContext
  readonly #parts: Parts

  constructor(context: EngineContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  /**
   * Makes a container; nothing of it runs. Its image is pulled where it is not here.
   * @throws TsrunError invalid, not-found (image), conflict (name); with a pull: denied, unavailable, the signal's reason
   */
  async create(spec: ContainerSpec, { pull = 'missing', ...options }: CreateOptions = {}): Promise<Container> {
    const container = await withImage(spec.image, pull, {
      use: reference =>
        this.#parts.useImage(reference, image => createContainer(this.#context, { ...spec, image: reference }, image)),
      pull: async reference => nameToUse(reference, await this.#parts.pullImage(reference, options)),
    })
    emitContainer(this.#context, container, 'create')
    return container
  }

  /** Starts a created or stopped container. @throws TsrunError */
  async start(reference: string, options: StartOptions = {}): Promise<RunRecord> {
    return startContainer(this.#context, this.find(reference).id, options)
  }

  /** Starts a container with a client attached that misses nothing. */
  async startAttached(reference: string, options: RunOptions = {}): Promise<StartedContainer> {
    const container = this.find(reference)
    let attachment: Attachment | undefined
    const run = await startContainer(this.#context, container.id, {
      ...options,
      beforeGo: async () => {
        attachment = await this.#attach(container, {
          // Whose policy restarts it needs its monitor's call at the end, and has no other owner.
          owner: options.owner === true && !restarts(container),
          ...(options.signal ? { signal: options.signal } : {}),
        })
      },
    }).catch((error: unknown) => {
      attachment?.close()
      throw error
    })
    if (attachment === undefined) throw new Error('the start went by without attaching')
    return { container, run, attachment }
  }

  /**
   * Starts a container with its output going to descriptors of this process: the quickest way when nothing is sent to it.
   * The caller owns the end, as with startAttached() and `owner`.
   */
  async startRelayed(reference: string, targets: OutputTargets, options: StartOptions = {}): Promise<RelayedContainer> {
    const container = this.find(reference)
    const socketPath = this.#context.paths.runFile(container.id, 'attach.sock')
    let relay: OutputRelay | undefined
    await startContainer(this.#context, container.id, {
      ...options,
      beforeGo: async () => {
        relay = new OutputRelay(socketPath, { owner: !restarts(container), targets })
      },
    }).catch((error: unknown) => {
      relay?.close()
      throw error
    })
    if (relay === undefined) throw new Error('the start went by without attaching')
    return { container, attachment: relay }
  }

  /**
   * Creates and starts a container and holds its streams. A failure leaves nothing of it behind but a pulled image.
   * @throws TsrunError
   */
  async run(spec: ContainerSpec, options: CreateOptions = {}): Promise<RunningContainer> {
    const container = await this.create({ stdinOnce: spec.openStdin === true, ...spec }, options)
    try {
      const started = await this.startAttached(container.id, { owner: true })
      return new RunningContainer({
        ...started,
        finish: () => this.finish(started),
        // One with autoRemove may be gone already: then there is nothing to stop.
        stop: timeoutSeconds => this.stop(container.id, timeoutSeconds).catch(unlessGone),
      })
    } catch (error) {
      await this.remove(container.id, { force: true, volumes: true })
      throw error
    }
  }

  /** For the owner, after the end: gives everything back and, with `autoRemove`, removes the container. */
  async finish(started: RelayedContainer): Promise<void> {
    if (restarts(started.container)) {
      started.attachment.close()
      return
    }
    await this.#end(started.container.id)
    started.attachment.release(this.#context.takeLeftover())
  }

  /** What the monitor asks for when nobody watched the container end. */
  async ended(id: string): Promise<void> {
    await this.#end(id)
    const container = this.#context.store.read(id)
    if (container === undefined || !restarts(container)) return
    const { restartByPolicy } = await import('./restart.ts')
    await restartByPolicy(this.#context, container)
  }

  /** A further client of a running container. @throws TsrunError conflict when it is not running */
  async attach(reference: string, options: AttachOptions = {}): Promise<Attachment> {
    const container = this.find(reference)
    const { status } = await this.state(container)
    if (status !== 'running' && status !== 'paused')
      throw new TsrunError('conflict', 'not-running', `cannot attach to "${container.name}": it is not running`, {
        hint: `\`tsrun start ${container.name}\` starts it; \`tsrun logs ${container.name}\` shows what it wrote`,
      })
    return this.#attach(container, options)
  }

  /** Runs a further process in a running container. @throws TsrunError */
  exec(reference: string, spec: ExecSpec, options: AttachOptions = {}): Promise<Attachment> {
    return execInContainer(this.#context, this.find(reference), spec, options)
  }

  /** As exec(), with the output going to descriptors of this process. @returns the exit code; undefined as in ContainerClient */
  async execRelayed(reference: string, spec: ExecSpec, targets: OutputTargets): Promise<number | undefined> {
    const connect = (path: string) => new OutputRelay(path, { targets })
    const { client } = await startExec(this.#context, this.find(reference), spec, connect)
    const code = await client.exit
    client.close()
    return code
  }

  /** @throws TsrunError conflict when it is not running */
  async kill(reference: string, signal = 'KILL'): Promise<void> {
    const container = this.find(reference)
    await killContainer(this.#context, container, signal)
    if (container.spec.autoRemove === true && this.#context.store.readRun(container.id) === undefined)
      await this.#end(container.id)
  }

  /** Asks, then insists. Does nothing to a container that has ended. */
  async stop(reference: string, timeoutSeconds?: number): Promise<void> {
    const container = this.find(reference)
    await stopContainer(this.#context, container, timeoutSeconds)
    if (container.spec.autoRemove === true) await this.#end(container.id)
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

  /** @throws TsrunError invalid, conflict (name taken) */
  async rename(reference: string, name: string): Promise<void> {
    const { renameContainer } = await import('./change-container.ts')
    await renameContainer(this.#context, this.find(reference), name)
  }

  /** New limits, at once where it runs, or a new restart policy. @throws TsrunError invalid, system */
  async update(reference: string, update: ContainerUpdate): Promise<void> {
    const { updateContainer } = await import('./change-container.ts')
    await updateContainer(this.#context, this.find(reference), update)
  }

  /** Its processes. @param psArguments options for the host's ps @throws TsrunError conflict when it is not running */
  async top(reference: string, psArguments: readonly string[] = []): Promise<ProcessTable> {
    const { listProcesses } = await import('./top.ts')
    return listProcesses(this.#context, this.find(reference), psArguments)
  }

  /**
   * What the named containers use, or all running ones, at every interval until the signal.
   * @throws TsrunError not-found
   */
  async *stats(references: readonly string[] = [], options: StatsOptions = {}): AsyncGenerator<ContainerStats[]> {
    const { watchStats } = await import('./stats.ts')
    const named = references.map(reference => this.find(reference))
    const every = () => (options.all === true ? this.#context.store.list() : this.#runningContainers())
    yield* watchStats(this.#context, references.length > 0 ? () => named : every, options)
  }

  /** Probes its health once, for whoever keeps the rhythm. @returns seconds until the next time; undefined at its end */
  async checkHealth(id: string): Promise<number | undefined> {
    const { checkHealth } = await import('../health/health-check.ts')
    const ms = await checkHealth(this.#context, id)
    return ms === undefined ? undefined : ms / 1000
  }

  /** Waits for the end. @returns the exit code */
  wait(reference: string, signal?: AbortSignal): Promise<number> {
    return waitContainer(this.#context, this.find(reference), signal)
  }

  /**
   * Removes a container with all its files; `force` ends it first, `volumes` takes its anonymous volumes along.
   * @throws TsrunError conflict when it is running
   */
  async remove(reference: string, options: { force?: boolean; volumes?: boolean } = {}): Promise<Container> {
    const container = this.find(reference)
    const { status } = await this.state(container)
    if (isUp(status)) {
      if (options.force !== true)
        throw new TsrunError('conflict', 'running', `cannot remove "${container.name}": it is ${status}`, {
          hint: `\`tsrun stop ${container.name}\` first, or \`tsrun rm -f ${container.name}\``,
        })
      await stopContainer(this.#context, container, 0)
    }
    await this.#context.locks.withContainer(container.id, async () => {
      // Somebody else may have removed it meanwhile.
      if (this.#context.store.read(container.id) === undefined) return
      await this.#context.tearDown(container)
      await this.#erase(container, options.volumes === true)
    })
    return container
  }

  /** All containers, the newest first, each with its state; only running ones unless `all`. */
  async list(options: { all?: boolean } = {}): Promise<ContainerView[]> {
    const views: ContainerView[] = []
    const containers = options.all === true ? this.#context.store.list() : this.#runningContainers()
    for (const container of containers) {
      const state = await this.state(container)
      if (options.all === true || isUp(state.status)) views.push({ container, state })
    }
    return views
  }

  async inspect(reference: string): Promise<ContainerView> {
    const container = this.find(reference)
    return { container, state: await this.state(container) }
  }

  /** @throws TsrunError not-found, conflict (ambiguous) */
  find(reference: string): Container {
    return this.#context.store.find(reference)
  }

  /** How it is doing. A container whose process has gone unseen is torn down on the way. */
  async state(container: Container): Promise<ContainerState> {
    const state = this.#context.store.state(container.id)
    if (state.status !== 'exited' || state.run === undefined) return state
    await this.#waitForMonitor(container.id)
    await this.#parts.reconcile(container.id)
    return this.#context.store.state(container.id)
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
      yield* readLog(this.#context.paths.containerFile(container.id, 'container.log'), options, ended)
    } finally {
      stop.abort()
    }
  }

  async #end(id: string): Promise<void> {
    await this.#context.locks.withContainer(id, async () => {
      const container = this.#context.store.read(id)
      if (container === undefined) return
      await this.#context.tearDown(container)
      if (container.spec.autoRemove === true) await this.#erase(container, true)
    })
  }

  async #erase(container: Container, withVolumes: boolean): Promise<void> {
    await eraseContainer(this.#context, container)
    if (withVolumes) this.#context.volumes.removeAnonymousOf(container)
    emitContainer(this.#context, container, 'destroy')
  }

  #runningContainers(): Container[] {
    const { store } = this.#context
    const ids = new Set([...store.runningIds(), ...store.restartingIds()])
    const containers = [...ids].flatMap(id => store.read(id) ?? [])
    return containers.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
  }

  async #attach(container: Container, options: AttachOptions): Promise<Attachment> {
    const { Attachment } = await import('./attachment.ts')
    return Attachment.open(this.#context.paths.runFile(container.id, 'attach.sock'), options)
  }

  /** The process has gone a moment ago: its monitor may be about to write the exit record. */
  async #waitForMonitor(id: string): Promise<void> {
    try {
      const watcher = new OutputRelay(this.#context.paths.runFile(id, 'attach.sock'))
      await watcher.exit
      watcher.close()
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ECONNREFUSED')) throw error
    }
  }
}

/** What docker counts as running: also what is paused, or is going to be started again in a moment. */
function isUp(status: ContainerState['status']): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting'
}

function restarts({ spec }: Container): boolean {
  return spec.restart !== undefined && spec.restart.name !== 'no'
}

function unlessGone(error: unknown): void {
  if (!(error instanceof TsrunError) || error.code !== 'no-such-container') throw error
}
