// What happens to containers and networks, for whoever listens in this process.

/** One thing that happened. */
export interface EngineEvent {
  readonly type: 'container' | 'network' | 'image' | 'volume'
  /** `create`, `start`, `die`, `destroy` ...: docker's words. */
  readonly action: string
  readonly id: string
  readonly name: string
  readonly attributes?: Readonly<Record<string, string>>
}

export class EventBus {
  readonly #listeners = new Set<(event: EngineEvent) => void>()

  /** @returns a function that ends the subscription */
  subscribe(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
