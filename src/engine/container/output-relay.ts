// The leanest client of a container: its output goes straight to descriptors, its end is awaited, nothing else. No
// streams are involved: loading those takes longer than many a container runs. Reads and writes wait on a pool thread,
// so that signals are heard however slow the reader is.

import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import {
  connectUnix,
  pollWritable,
  receive,
  send,
  sendWithDescriptors,
  shutdown,
  writeSome,
} from '../../ffi/unix-stream.ts'
import { encodeFrame, FRAME, FrameDecoder, parseExit, SUBSCRIPTION } from '../../kernel/init-protocol.ts'
import { outputError } from '../../model/output-error.ts'

/** Where the output goes; what is absent is not asked for. */
export interface OutputTargets {
  readonly stdout?: number
  readonly stderr?: number
  /** Called once when nobody reads from one of them any more; what else comes for it is dropped. */
  readonly onReaderGone?: () => void
}

export interface OutputRelayOptions {
  /** Whether the caller tears the container down itself when it ends, and says so with `release()`. */
  readonly owner?: boolean
  readonly targets?: OutputTargets
}

/** A client that was there from the start, whichever kind: what the owner of a container needs of it. */
export interface ContainerClient {
  /** The exit code; undefined when the monitor went away without telling one. */
  readonly exit: Promise<number | undefined>
  /**
   * The owner has torn the container down: the monitor may go.
   * @param takeLeftover gives a descriptor that takes time to close, for whoever can pass it on: the monitor closes its last copy
   */
  release(takeLeftover?: () => number | undefined): void
  /** Leaves; the container goes on. */
  close(): void
}

const RECEIVE_BYTES = 1 << 18

export class OutputRelay implements ContainerClient {
  readonly exit: Promise<number | undefined>
  readonly #fd: number
  #isOpen = true
  /** A pool thread may be reading: the descriptor must not become somebody else's meanwhile. */
  #isReading = true

  /** Connects to the monitor behind `path`. @throws SyscallError ENOENT or ECONNREFUSED when there is none any more */
  constructor(path: string, { owner = false, targets = {} }: OutputRelayOptions = {}) {
    // sockaddr_un holds 108 bytes: a longer path is reached through a descriptor of its folder.
    const folder = openSync(dirname(path), constants.O_RDONLY)
    try {
      this.#fd = connectUnix(`/proc/self/fd/${folder}/${basename(path)}`)
    } finally {
      closeSync(folder)
    }
    const wanted =
      (targets.stdout === undefined ? 0 : SUBSCRIPTION.STDOUT) |
      (targets.stderr === undefined ? 0 : SUBSCRIPTION.STDERR)
    const frames = [encodeFrame(FRAME.SUBSCRIBE, Buffer.from([wanted]))]
    if (owner) frames.unshift(encodeFrame(FRAME.OWNER))
    try {
      send(this.#fd, Buffer.concat(frames))
    } catch (error) {
      // It has just gone: the reads find its end.
      if (!hasCode(error, 'EPIPE', 'ECONNRESET')) throw error
    }
    this.exit = this.#relay(targets)
  }

  release(takeLeftover?: () => number | undefined): void {
    if (!this.#isOpen) return
    const leftover = takeLeftover?.()
    try {
      const frame = encodeFrame(FRAME.RELEASED)
      if (leftover === undefined) send(this.#fd, frame)
      else sendWithDescriptors(this.#fd, frame, [leftover])
    } catch (error) {
      // The end came before the monitor had heard of its owner: it has gone to tear down by itself, which does no harm.
      if (!hasCode(error, 'EPIPE', 'ECONNRESET')) throw error
    } finally {
      // At once: the monitor's copy must be the last one.
      if (leftover !== undefined) closeSync(leftover)
      this.close()
    }
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (this.#isReading) shutdown(this.#fd)
    else closeSync(this.#fd)
  }

  async #relay(targets: OutputTargets): Promise<number | undefined> {
    try {
      return await this.#readFrames(targets)
    } finally {
      this.#isReading = false
      if (!this.#isOpen) closeSync(this.#fd)
    }
  }

  async #readFrames(targets: OutputTargets): Promise<number | undefined> {
    const decoder = new FrameDecoder()
    const buffer = Buffer.allocUnsafe(RECEIVE_BYTES)
    const stdout = telling('standard output', sink(targets.stdout, targets.onReaderGone))
    const stderr = telling('standard error', sink(targets.stderr, targets.onReaderGone))
    while (this.#isOpen) {
      const length = await receive(this.#fd, buffer)
      if (length <= 0) return undefined
      for (const frame of decoder.push(buffer.subarray(0, length))) {
        if (frame.type === FRAME.STDOUT) await stdout(frame.payload)
        else if (frame.type === FRAME.STDERR) await stderr(frame.payload)
        else if (frame.type === FRAME.EXIT) return parseExit(frame.payload)
      }
    }
    return undefined
  }
}

type Sink = (bytes: Buffer) => Promise<void> | void

/** The same, its failures told as those of `where`. */
function telling(where: string, write: Sink): (bytes: Buffer) => Promise<void> {
  return async bytes => {
    try {
      await write(bytes)
    } catch (error) {
      throw outputError(where, error)
    }
  }
}

/** A function that writes to `fd`; one that has been closed by its reader swallows what comes. */
function sink(fd: number | undefined, onGone?: () => void): Sink {
  if (fd === undefined) return () => {}
  // A regular file takes everything at once.
  if (fstatSync(fd).isFile())
    return bytes => {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    }
  let isOpen = true
  return async bytes => {
    let rest = bytes
    while (isOpen && rest.length > 0) {
      const result = await writeSome(fd, rest)
      if (result.kind === 'written') rest = rest.subarray(result.length)
      else if (result.kind === 'busy') await pollWritable(fd)
      else {
        isOpen = false
        onGone?.()
      }
    }
  }
}
