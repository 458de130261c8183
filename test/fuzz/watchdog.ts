// An input that is never done with: the loop it is in cannot be left, so another thread says what it was and ends the process.

import { Worker } from 'node:worker_threads'
import { maxInputBytes } from './mutate.ts'

/** Wall-clock time, generous: what takes processor time for longer than a second is found without this. */
const patienceMs = 15_000

const source = `
const { workerData } = require('node:worker_threads')
const fs = require('node:fs')
const { shared, name, patienceMs } = workerData
const header = new Int32Array(shared, 0, 2)
let seen = -1, since = Date.now()
setInterval(() => {
  const now = Atomics.load(header, 0)
  if (now !== seen) { seen = now; since = Date.now(); return }
  if (Date.now() - since < patienceMs) return
  const input = Buffer.from(shared, 8, Atomics.load(header, 1)).toString('base64')
  fs.writeSync(2, 'fuzzing ' + name + ': it does not end with the input (base64) ' + input + '\\n')
  process.abort()
}, 1000)
`

/** Watches one run of one target. */
export class Watchdog {
  readonly #shared = new SharedArrayBuffer(8 + maxInputBytes * 2)
  readonly #header = new Int32Array(this.#shared, 0, 2)
  readonly #bytes = new Uint8Array(this.#shared, 8)
  readonly #worker: Worker

  constructor(name: string) {
    this.#worker = new Worker(source, { eval: true, workerData: { shared: this.#shared, name, patienceMs } })
  }

  /** From now on it is this input that takes its time. */
  watch(input: Buffer): void {
    const length = Math.min(input.length, this.#bytes.length)
    this.#bytes.set(input.subarray(0, length))
    Atomics.store(this.#header, 1, length)
    Atomics.add(this.#header, 0, 1)
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}
