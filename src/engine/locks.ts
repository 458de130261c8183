// Which lock guards what (design decision D3). Locks are flock(2) on files below the state directory: per container and
// per network, held for milliseconds, never across a wait for a container or the outside world.

import { mkdirSync } from 'node:fs'
import { withLock } from '../kernel/flock.ts'

export class Locks {
  readonly #directory: string
  #made = false

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Runs `task` while nobody else changes the container. */
  withContainer<T>(id: string, task: () => Promise<T>): Promise<T> {
    return this.#with(`container-${id.slice(0, 2)}`, task)
  }

  /** Runs `task` while nobody else creates, removes or (unless `shared`) joins the network. */
  withNetwork<T>(name: string, task: () => Promise<T>, options: { shared?: boolean } = {}): Promise<T> {
    return this.#with(`network-${name}`, task, options)
  }

  #with<T>(file: string, task: () => Promise<T>, options: { shared?: boolean } = {}): Promise<T> {
    if (!this.#made) mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    this.#made = true
    return withLock(`${this.#directory}/${file}`, task, { shared: options.shared === true })
  }
}
