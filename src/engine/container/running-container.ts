// A container that a program has started and holds: its streams, and its end.

import type { Readable, Writable } from 'node:stream'
import type { Container, RunRecord } from '../../model/container.ts'
import type { Attachment } from './attachment.ts'

/** What a RunningContainer asks of the service that made it. */
export interface RunningContainerParts {
  readonly container: Container
  readonly run: RunRecord
  readonly attachment: Attachment
  /** Gives back everything the container held. */
  finish(): Promise<void>
  stop(timeoutSeconds?: number): Promise<void>
}

/**
 * A container and its streams. When the program that holds it dies, the container goes on, and its monitor gives back what
 * it held once it ends.
 */
export class RunningContainer {
  readonly id: string
  readonly name: string
  /** Pid of its first process, as the host sees it. */
  readonly pid: number
  /** Addresses with prefix length, in the order of its networks. */
  readonly addresses: readonly string[]
  readonly stdout: Readable
  readonly stderr: Readable
  /** Only connected when the container was made with `openStdin`. */
  readonly stdin: Writable
  readonly #parts: RunningContainerParts
  readonly #ended: Promise<number>

  constructor(parts: RunningContainerParts) {
    this.#parts = parts
    this.id = parts.container.id
    this.name = parts.container.name
    this.pid = parts.run.pid
    this.addresses = parts.run.endpoints.flatMap(endpoint => endpoint.addresses)
    this.stdout = parts.attachment.stdout
    this.stderr = parts.attachment.stderr
    this.stdin = parts.attachment.stdin
    this.#ended = parts.attachment.exit.then(async code => {
      await parts.finish()
      return code ?? 137
    })
    // Who never waits must not be told of a failure by a crash: wait() reports it.
    this.#ended.catch(() => {})
  }

  /**
   * Waits until it has ended and everything it held is given back. Output that nobody reads holds the container up: read
   * the streams, or call `resume()` on them.
   * @returns the exit code; 128 + the signal when one ended it
   * @throws the signal's reason when aborted: the container goes on
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

  /** Asks it to end, kills it after the timeout (default 10 s), and waits. Idempotent. @returns the exit code */
  async stop(timeoutSeconds?: number): Promise<number> {
    this.stdout.resume()
    this.stderr.resume()
    await this.#parts.stop(timeoutSeconds)
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0)
  }
}
