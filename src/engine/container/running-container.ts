// A container that a program has started and holds: its streams, its addresses and its end.

import type { Readable, Writable } from 'node:stream'
import type { Container, ContainerSpec, RunRecord } from '../../model/container.ts'
import { isNoSuchContainer } from '../../model/errors.ts'
import type { PortMapping, Protocol } from '../../model/network.ts'
import type { PullImageOptions, PullPolicy } from '../image/transfer-events.ts'
import type { Attachment } from './attachment.ts'
import type { ExecSpec } from './exec-container.ts'
import type { RemoveOptions } from './remove-container.ts'
import type { RelayedContainer, StartAttachedOptions, StartedContainer } from './start-with-client.ts'
import type { StopOptions } from './stop-container.ts'

/** How the image of a new container is come by. */
export interface CreateOptions extends Omit<PullImageOptions, 'policy'> {
  /** `missing` (default): pulled when it is not here; `always`: asked for first; `never`: it must be here. */
  readonly pull?: PullPolicy
  /** Default true: once created, it survives a power cut. False spares the time where `start()` follows, which sees to it. */
  readonly durable?: boolean
}

/** How `containers.run()` goes about it. */
export interface RunOptions extends CreateOptions {
  /** Kills and removes the container when aborted; `wait()` then throws the signal's reason. */
  readonly signal?: AbortSignal
  /**
   * `stream` (default): its output comes through `stdout` and `stderr`, and holds the container up where nobody reads.
   * `discard`: it only goes to the log, and the streams end at once.
   */
  readonly output?: 'stream' | 'discard'
}

/** What a RunningContainer asks of the service that made it: some of the verbs of ContainerService. */
interface ContainerVerbs {
  create(spec: ContainerSpec, options: CreateOptions): Promise<Container>
  startAttached(reference: string, options: StartAttachedOptions): Promise<StartedContainer>
  finish(started: RelayedContainer): Promise<void>
  exec(reference: string, spec: ExecSpec): Promise<Attachment>
  kill(reference: string, signal: string): Promise<void>
  stop(reference: string, options: StopOptions): Promise<void>
  remove(reference: string, options: RemoveOptions): Promise<void>
}

interface Parts extends StartedContainer {
  readonly service: ContainerVerbs
  readonly signal?: AbortSignal
}

/** Behind ContainerService.run(). */
export async function runContainer(
  service: ContainerVerbs,
  spec: ContainerSpec,
  { output = 'stream', ...options }: RunOptions,
): Promise<RunningContainer> {
  const { signal } = options
  signal?.throwIfAborted()
  const container = await service.create(
    { stdinOnce: spec.openStdin === true, ...spec },
    { durable: false, ...options },
  )
  try {
    signal?.throwIfAborted()
    const started = await service.startAttached(container.id, { owner: true })
    signal?.throwIfAborted()
    if (output === 'discard') started.attachment.ignoreOutput()
    return new RunningContainer({ ...started, service, ...(signal === undefined ? {} : { signal }) })
  } catch (error) {
    // The first error is the one to tell.
    await service.remove(container.id, { force: true, volumes: true }).catch(() => {})
    throw error
  }
}

/**
 * A container and its streams. When the program that holds it dies, the container goes on, and its monitor gives back what
 * it held once it ends. At the end of an `await using` block it is removed.
 */
export class RunningContainer {
  /** 64 hex digits. */
  readonly id: string
  /** The name given, or the one invented. */
  readonly name: string
  /** Pid of its first process, as the host sees it. */
  readonly pid: number
  /** Addresses with prefix length, `10.210.0.2/24`, in the order of its networks. */
  readonly addresses: readonly string[]
  /** Its published ports, with the host ports that were chosen. */
  readonly ports: readonly PortMapping[]
  /** What it writes; with a terminal, everything. */
  readonly stdout: Readable
  /** What it writes to standard error; ends empty with a terminal. */
  readonly stderr: Readable
  /** Only connected when the container was made with `openStdin`; `end()` closes it there. */
  readonly stdin: Writable
  readonly #service: ContainerVerbs
  readonly #attachment: Attachment
  readonly #ended: Promise<number>
  /** Settles when an abort has removed it. */
  #aborted: Promise<void> | undefined

  /** @internal */
  constructor({ container, run, attachment, service, signal }: Parts) {
    this.#service = service
    this.#attachment = attachment
    this.id = container.id
    this.name = container.name
    this.pid = run.pid
    this.addresses = run.endpoints.flatMap(endpoint => endpoint.addresses)
    this.ports = publishedPorts(container, run)
    this.stdout = attachment.stdout
    this.stderr = attachment.stderr
    this.stdin = attachment.stdin
    const onAbort = () => {
      this.#aborted = this.remove()
      // Who never waits must not be told by a crash: wait() reports it.
      this.#aborted.catch(() => {})
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#ended = attachment.exit.then(async code => {
      signal?.removeEventListener('abort', onAbort)
      await service.finish({ container, run, attachment })
      if (this.#aborted === undefined) return code ?? 137
      await this.#aborted
      throw signal?.reason
    })
    this.#ended.catch(() => {})
  }

  /** Its first IPv4 address, else its first IPv6 one, without prefix length; undefined where it has none. */
  get address(): string | undefined {
    const first = this.addresses.find(address => !address.includes(':')) ?? this.addresses[0]
    return first?.split('/')[0]
  }

  /** The host port that one of its ports is published on; undefined where it is not. @param protocol default `tcp` */
  hostPort(containerPort: number, protocol: Protocol = 'tcp'): number | undefined {
    return this.ports.find(port => port.containerPort === containerPort && port.protocol === protocol)?.hostPort
  }

  /**
   * Waits until it has ended and everything it held is given back. Output that nobody reads holds the container up: read
   * the streams, call `resume()` on them, or run it with `output: 'discard'`.
   * @param signal ends the wait alone: the container goes on
   * @returns the exit code; 128 + the signal when one ended it
   * @throws the reason of the signal, or of the one that run() was given
   */
  async wait(signal?: AbortSignal): Promise<number> {
    if (signal === undefined) return this.#ended
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#ended.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  /** Runs a further process in it. @returns its streams and its end @throws TsrunError conflict when it has ended */
  exec(command: readonly string[], options: Omit<ExecSpec, 'command'> = {}): Promise<Attachment> {
    return this.#service.exec(this.id, { ...options, command })
  }

  /** Sends a signal to its first process, `TERM` or `15`. @throws TsrunError conflict when it has ended */
  async kill(signal = 'KILL'): Promise<void> {
    await this.#service.kill(this.id, signal)
  }

  /** Tells the size of the terminal that its user has, where it has one. */
  resize(rows: number, columns: number): void {
    this.#attachment.resize(rows, columns)
  }

  /** Asks it to end, kills it after the timeout, and waits. Output that was not read is lost. Idempotent. @returns the exit code */
  async stop(options: StopOptions = {}): Promise<number> {
    this.#drop()
    // One with autoRemove may be gone already: then there is nothing to stop.
    await this.#service.stop(this.id, options).catch(unlessGone)
    return this.#ended
  }

  /** Kills it where it runs, and removes it with its files and anonymous volumes. Idempotent. */
  async remove(): Promise<void> {
    this.#drop()
    await this.#service.remove(this.id, { force: true, volumes: true }).catch(unlessGone)
  }

  /** As remove(), and waits until everything is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove()
    await this.#ended.catch(() => {})
  }

  /** Or a pipe that nobody empties would keep it from ending. */
  #drop(): void {
    this.stdout.resume()
    this.stderr.resume()
  }
}

/** The ports of each published one once, though every network has it. */
function publishedPorts(container: Container, run: RunRecord): PortMapping[] {
  const ports = run.endpoints.flatMap(endpoint => endpoint.ports)
  const key = (port: PortMapping) => `${port.protocol} ${port.hostIp} ${port.hostPort} ${port.containerPort}`
  return [...new Map((ports.length > 0 ? ports : container.ports).map(port => [key(port), port])).values()]
}

function unlessGone(error: unknown): void {
  if (!isNoSuchContainer(error)) throw error
}
