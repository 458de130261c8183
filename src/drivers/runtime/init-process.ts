// One run of tsrun-init, from its start until the command has been executed: bootstrap, READY, GO, STARTED or FAILED.
// Synchronous on purpose: it takes a few milliseconds in the kernel, and a trip through the event loop at each step
// would cost as much again.

import { closeSync, openSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { recv, send, setSocketTimeout, socketpair } from '../../ffi/libc.ts'
import { endRehearsal, isRehearsal } from '../../kernel/explain.ts'
import {
  encodeBootstrap,
  GO,
  type InitConfig,
  type InitMessage,
  InitMessageDecoder,
} from '../../kernel/init-protocol.ts'
import { openSealed } from '../../kernel/sealed-exec.ts'
import { spawn, waitForChild } from '../../kernel/spawn.ts'
import { initFault } from '../../lib/fault.ts'
import { TsrunError } from '../../model/errors.ts'
import { describeFailure, type NameOf } from './init-failure.ts'

/** How long the kernel may take to set a container up before we give up on it. */
const SETUP_TIMEOUT_MS = 60_000

export class InitProcess {
  readonly #control: number
  readonly #decoder = new InitMessageDecoder()
  readonly #subject: string
  readonly #nameOf: NameOf
  readonly #messages: InitMessage[] = []
  /** The program forks its monitor and ends at once; until then it is our child. */
  #child: number | undefined
  #closed = false

  /**
   * Starts tsrun-init and hands it `config`.
   * @param options.namespaceFd the sandbox's network namespace (run) or the pidfd to join (exec); stays the caller's
   * @param options.subject how to call the container in messages
   * @param options.nameOf how to call others
   */
  constructor(
    config: InitConfig,
    options: { initPath: string; namespaceFd?: number; subject: string; nameOf?: NameOf },
  ) {
    this.#subject = options.subject
    this.#nameOf = options.nameOf ?? (() => undefined)
    if (isRehearsal()) {
      this.#control = -1
      this.#closed = true
      return
    }
    const [ours, theirs] = socketpair()
    this.#control = ours
    const nullFd = openSync('/dev/null', 'r+')
    const program = openSealed(options.initPath)
    try {
      const fds = new Map([
        [0, nullFd],
        [1, nullFd],
        [2, process.env.TSRUN_DEBUG === undefined ? nullFd : 2],
        [3, theirs],
      ])
      if (options.namespaceFd !== undefined) fds.set(5, options.namespaceFd)
      this.#child = spawn(`/proc/self/fd/${program}`, ['tsrun-init'], fds)
      closeSync(theirs)
    } catch (error) {
      closeSync(ours)
      throw error
    } finally {
      closeSync(program)
      closeSync(nullFd)
    }
    setSocketTimeout(ours, SETUP_TIMEOUT_MS)
    const fault = initFault()
    this.#sendAll(encodeBootstrap(fault === undefined ? config : { ...config, fault }))
  }

  /**
   * Waits until everything is set up and only the exec is left. @returns the container's init, in the host's pids
   * @throws Rehearsed in a rehearsal, which starts nothing
   */
  waitReady(): number {
    if (isRehearsal()) endRehearsal()
    const message = this.#next()
    if (message.kind === 'ready') return message.pid
    throw this.#failure(message)
  }

  /** Lets the command run, and waits until it has been executed. @throws TsrunError when it cannot be */
  go(): void {
    this.#sendAll(GO)
    const message = this.#next()
    this.close()
    if (message.kind !== 'started') throw this.#failure(message)
  }

  /** Gives the run up, if GO was not said yet: the monitor ends what it set up. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#control)
    if (this.#child !== undefined) waitForChild(this.#child)
    this.#child = undefined
  }

  #sendAll(bytes: Buffer): void {
    try {
      for (let sent = 0; sent < bytes.length; ) sent += send(this.#control, bytes.subarray(sent))
    } catch (error) {
      // It has ended already: what it said before tells why.
      if (!hasCode(error, 'EPIPE', 'ECONNRESET')) throw error
    }
  }

  #next(): InitMessage {
    const buffer = Buffer.alloc(8192)
    for (;;) {
      const message = this.#messages.shift()
      if (message !== undefined) return message
      let length: number
      try {
        length = recv(this.#control, buffer)
      } catch (error) {
        if (hasCode(error, 'ECONNRESET')) length = 0
        else if (hasCode(error, 'EAGAIN'))
          throw new TsrunError(
            'system',
            'init-timeout',
            `cannot start ${this.#subject}: tsrun-init did not answer within ${SETUP_TIMEOUT_MS / 1000} s`,
          )
        else throw error
      }
      if (length === 0)
        throw new TsrunError('system', 'init-died', `cannot start ${this.#subject}: tsrun-init ended without a word`, {
          hint: 'TSRUN_DEBUG=1 shows what it prints',
        })
      this.#messages.push(...this.#decoder.push(buffer.subarray(0, length)))
    }
  }

  #failure(message: InitMessage): Error {
    if (message.kind !== 'failed') return new Error(`tsrun-init said "${message.kind}" out of turn`)
    return describeFailure(this.#subject, message, this.#nameOf)
  }
}
