// Tells whoever watches a build which step goes on.

import type { TransferEvent } from '../image/transfer-events.ts'
import type { BuildEvent, BuildStepState } from './build-types.ts'

/** One step. Exactly one of the methods that end it is called. */
export interface StepReport {
  cached(): void
  done(): void
  failed(error: unknown): void
  output(stream: 'stdout' | 'stderr', bytes: Buffer): void
  pull(event: TransferEvent): void
}

export class StepLog {
  readonly #tell: (event: BuildEvent) => void
  readonly #signal: AbortSignal
  #count = 0

  constructor(onEvent: ((event: BuildEvent) => void) | undefined, signal: AbortSignal) {
    this.#tell = onEvent ?? (() => {})
    this.#signal = signal
  }

  note(text: string): void {
    this.#tell({ kind: 'note', text })
  }

  begin(title: string): StepReport {
    this.#count += 1
    const id = this.#count
    const began = performance.now()
    const elapsedMs = () => performance.now() - began
    const state = (name: BuildStepState, error?: string) =>
      this.#tell({
        kind: 'step',
        id,
        title,
        state: name,
        elapsedMs: elapsedMs(),
        ...(error === undefined ? {} : { error }),
      })
    state('running')
    return {
      cached: () => state('cached'),
      done: () => state('done'),
      failed: error => {
        if (this.#signal.aborted) state('canceled')
        else state('failed', error instanceof Error ? error.message : String(error))
      },
      output: (stream, bytes) => this.#tell({ kind: 'output', id, stream, bytes, elapsedMs: elapsedMs() }),
      pull: event => this.#tell({ kind: 'pull', id, event }),
    }
  }

  /** A step with nothing in it but the task. */
  async during<T>(title: string, task: (step: StepReport) => Promise<T>): Promise<T> {
    const step = this.begin(title)
    try {
      const result = await task(step)
      step.done()
      return result
    } catch (error) {
      step.failed(error)
      throw error
    }
  }
}
