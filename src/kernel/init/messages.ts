// What the engine and tsrun-init say to each other on fd 3 after the bootstrap: a closed set. Pure.

import { FormatError } from '../../lib/bytes.ts'
import { Reader, Writer } from './bytes.ts'
import { MESSAGE } from './numbers.ts'

/** What tsrun-init reports. `pid` is the host's number for the container's init. */
export type InitMessage =
  | { readonly kind: 'ready'; readonly pid: number }
  | { readonly kind: 'started' }
  | {
      readonly kind: 'failed'
      /** Which phase: a fault point's name. */
      readonly stage: string
      /** What was attempted, without the errno: `mount proc on /proc`. */
      readonly what: string
      /** 0 when no system call failed. */
      readonly errno: number
      /** `exec`: everything was ready and execve(2) refused the command. */
      readonly phase: 'setup' | 'exec'
    }

/** Cuts the stream from fd 3 into messages. */
export class InitMessageDecoder {
  #rest: Buffer = Buffer.alloc(0)

  /**
   * The messages that `chunk` completes.
   * @throws FormatError when the stream is not tsrun-init's.
   */
  push(chunk: Uint8Array): InitMessage[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const messages: InitMessage[] = []
    while (this.#rest.length >= 8) {
      const reader = new Reader(this.#rest)
      const type = reader.u32()
      const length = reader.u32()
      if (length > 65536) throw new FormatError(`a message of ${length} bytes from tsrun-init`)
      if (this.#rest.length < 8 + length) break
      messages.push(parseMessage(type, this.#rest.subarray(8, 8 + length)))
      this.#rest = this.#rest.subarray(8 + length)
    }
    return messages
  }
}

function parseMessage(type: number, payload: Buffer): InitMessage {
  const reader = new Reader(payload)
  if (type === MESSAGE.READY) return { kind: 'ready', pid: reader.u32() }
  if (type === MESSAGE.STARTED) return { kind: 'started' }
  if (type === MESSAGE.FAILED) {
    const phase = reader.u32() === 1 ? 'exec' : 'setup'
    const errno = reader.u32() | 0
    const stage = reader.str()
    return { kind: 'failed', stage, what: reader.str(), errno, phase }
  }
  throw new FormatError(`an unknown message ${type} from tsrun-init`)
}

/** Lets the container's command run. Sent once, after READY. */
export const GO: Buffer = new Writer().u32(MESSAGE.GO).u32(0).bytes()
