// Which lock guards what (design decision D3). Locks are flock(2), per container and per network, held for milliseconds,
// never across a wait for a container or the outside world. None of them leaves a file behind that outlives its object.

import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { withLock } from '../kernel/flock.ts'
import type { Paths } from './paths.ts'

export class Locks {
  readonly #paths: Paths

  constructor(paths: Paths) {
    this.#paths = paths
  }

  /** Runs `task` while nobody else changes the container. The lock is the container's folder. */
  async withContainer<T>(id: string, task: () => Promise<T>): Promise<T> {
    try {
      return await withLock(this.#paths.container(id), guard(task), {
        what: `container ${id.slice(0, 12)}`,
        folder: true,
      })
    } catch (error) {
      if (error instanceof Passed) throw error.cause
      // Without a folder there is nothing left to change, but perhaps remains in other places to clear away.
      if (hasCode(error, 'ENOENT')) return task()
      throw error
    }
  }

  /** Runs `task` while nobody else creates, removes or (unless `shared`) joins the network. */
  withNetwork<T>(name: string, task: () => Promise<T>, options: { shared?: boolean } = {}): Promise<T> {
    const file = `${this.#paths.locks}/network-${name}`
    const run = async () => {
      try {
        return await task()
      } finally {
        if (!existsSync(`${this.#paths.networks}/${name}.json`)) rmSync(file, { force: true })
      }
    }
    mkdirSync(this.#paths.locks, { recursive: true, mode: 0o700 })
    return withLock(file, run, { what: `network "${name}"`, shared: options.shared === true })
  }

  /** Runs `task` while nobody else clears up after a boot. */
  withBoot<T>(task: () => Promise<T>): Promise<T> {
    mkdirSync(this.#paths.locks, { recursive: true, mode: 0o700 })
    return withLock(`${this.#paths.locks}/boot`, task, { what: 'what the last boot has left' })
  }

  /** Runs `task` while nobody else chooses ids of the host for a container's users. */
  withIds<T>(task: () => Promise<T>): Promise<T> {
    mkdirSync(this.#paths.locks, { recursive: true, mode: 0o700 })
    return withLock(`${this.#paths.locks}/ids`, task, { what: "the containers' user ids" })
  }

  /** Runs `task` while nobody else takes or gives back a pool. Inside `withNetwork`. */
  withPools<T>(task: () => Promise<T>): Promise<T> {
    mkdirSync(this.#paths.locks, { recursive: true, mode: 0o700 })
    return withLock(`${this.#paths.locks}/pools`, task, { what: 'the address pools' })
  }
}

/** Carries an error of the task past the handler of the lock's own errors. */
class Passed extends Error {}

function guard<T>(task: () => Promise<T>): () => Promise<T> {
  return () =>
    task().catch((cause: unknown) => {
      throw new Passed('', { cause })
    })
}
