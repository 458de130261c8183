// What tsrun's own processes beside containers - monitors, keepers of leases, the loop of a healthcheck - start a command for.

import type { EngineContext } from '../context.ts'
import { endContainer } from './remove-container.ts'
import { restartsByPolicy } from './start-with-client.ts'

/** @internal Each is a hidden command of the CLI. */
export class CallBacks {
  readonly #context: EngineContext

  constructor(context: EngineContext) {
    this.#context = context
  }

  /** What the monitor asks for when nobody watched the container end. */
  async ended(id: string): Promise<void> {
    await endContainer(this.#context, id)
    const container = this.#context.store.read(id)
    if (container === undefined || !restartsByPolicy(container)) return
    const { restartByPolicy } = await import('./restart.ts')
    await restartByPolicy(this.#context, container)
  }

  /** What the monitor of a further process asks for when nobody watched that end. */
  async execEnded(id: string, execId: string): Promise<void> {
    const { tellExecEnd } = await import('./exec-container.ts')
    tellExecEnd(this.#context, this.#context.store.read(id), execId)
  }

  /** What the keeper of a lease asks for when that has been renewed, changed or run out. */
  async leaseChanged(endpointId: string): Promise<void> {
    const { leaseChanged } = await import('./lease-changed.ts')
    await leaseChanged(this.#context, endpointId)
  }

  /** Probes its health once, for whoever keeps the rhythm. @returns seconds until the next time; undefined at its end */
  async checkHealth(id: string): Promise<number | undefined> {
    const { checkHealth } = await import('../health/health-check.ts')
    const ms = await checkHealth(this.#context, id)
    return ms === undefined ? undefined : ms / 1000
  }
}
