// A netlink socket: synchronous requests, bound for life to the network namespace it was opened in.
// The kernel handles rtnetlink in the sender's own context: the answer is there when send() returns, and nothing is
// gained by waiting for it asynchronously.

import { closeSync } from 'node:fs'
import { hasCode, SyscallError } from '../../ffi/errno.ts'
import { AF_NETLINK, connect, recv, SOCK_RAW, send, setSocketTimeout, setsockopt, socket } from '../../ffi/libc.ts'
import { ByteWriter, FormatError } from '../../lib/bytes.ts'
import { record, shellQuote } from '../explain.ts'
import {
  encodeMessage,
  type NetlinkChange,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseAcknowledgement,
  parseDone,
  parseMessages,
} from './message.ts'

// linux/netlink.h
const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12
const SOL_NETLINK = 270
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const EINTR = 4

const answerTimeoutMs = 10_000
const maximumDumpAttempts = 10
const maximumDatagrams = 100_000
// The kernel fills at most 32 KiB of a dump datagram. One buffer serves all sockets: requests never interleave.
let receiveBuffer: Buffer | undefined

/** A change that the kernel refused. */
export class NetlinkError extends SyscallError {
  /** The kernel's own words, where it had any. */
  readonly text: string | undefined
  /** Name of the change that failed; of several in one batch the first. Undefined for reads. */
  readonly changeName: string | undefined

  constructor(type: number, errno: number, text: string | undefined, change: NetlinkChange | undefined) {
    const what = change === undefined ? undefined : `cannot ${change.name}`
    super(typeName(type), errno, [what, text].filter(part => part !== undefined).join(': ') || undefined)
    this.name = 'NetlinkError'
    this.text = text
    this.changeName = change?.name
  }
}

/** Owns its descriptor: close() it, or declare it with `using`. */
export class NetlinkSocket {
  /** Name of the namespace in printed commands (`ip -n <label>`); undefined for the one tsrun runs in. */
  readonly label: string | undefined
  readonly #fd: number
  #sequence = 0
  #strict = false
  #closed = false

  /**
   * Opens a socket in the calling thread's network namespace.
   * @param options protocol default NETLINK_ROUTE
   * @throws SyscallError
   */
  constructor(options: { protocol?: number; label?: string | undefined } = {}) {
    this.label = options.label
    this.#fd = socket(AF_NETLINK, SOCK_RAW, options.protocol ?? NETLINK_ROUTE)
    try {
      // Connected to port 0, the kernel's: it then refuses what other processes send to us. A container with
      // CAP_NET_ADMIN in its own namespace could otherwise forge answers to the engine's socket there.
      connect(this.#fd, new ByteWriter(16).u16(AF_NETLINK).u16(0).u32(0).u32(0).finish())
      setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, 1)
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /**
   * Performs changes, several of them in one send. All are tried; the first error is thrown.
   * @throws NetlinkError with the kernel's own words
   */
  apply(changes: NetlinkChange | readonly NetlinkChange[]): void {
    const list = 'payload' in changes ? [changes] : changes
    if (list.length === 0) return
    for (const change of list) record(() => this.#command(change))
    const first = this.#sequence + 1
    // Errors are always answered, and in order; success needs saying only once, behind the last.
    const messages = list.map((change, i) => {
      const flags = change.flags | NLM_F_REQUEST | (i === list.length - 1 ? NLM_F_ACK : 0)
      return encodeMessage(change.type, flags, this.#next(), change.payload)
    })
    this.#send(messages)
    let failure: NetlinkError | undefined
    this.#receive(message => {
      const change = list[message.sequence - first]
      if (message.type !== NLMSG_ERROR || change === undefined) return false
      const { errno, text } = parseAcknowledgement(message)
      if (errno !== 0) failure ??= new NetlinkError(change.type, errno, text, change)
      return message.sequence === this.#sequence
    })
    if (failure !== undefined) throw failure
  }

  /** Asks for one object. @returns its message, valid until the next call @throws NetlinkError */
  get(type: number, payload: Uint8Array): NetlinkMessage {
    const sequence = this.#next()
    this.#send([encodeMessage(type, NLM_F_REQUEST, sequence, payload)])
    let answer: NetlinkMessage | undefined
    this.#receive(message => {
      if (message.sequence !== sequence) return false
      if (message.type === NLMSG_ERROR) throwIfFailed(type, parseAcknowledgement(message))
      answer = message
      return true
    })
    if (answer === undefined) throw new FormatError(`no answer to ${typeName(type)}`)
    return answer
  }

  /**
   * Asks for all objects that match the filter in `payload`. Starts over when the kernel says that the list changed
   * meanwhile. @throws NetlinkError, e.g. EINTR when it kept changing
   */
  dump<T>(type: number, payload: Uint8Array, decode: (message: NetlinkMessage) => T | undefined): T[] {
    this.#beStrict()
    for (let attempt = 0; attempt < maximumDumpAttempts; attempt++) {
      const { messages, interrupted } = this.#dumpOnce(type, payload)
      if (!interrupted) return messages.map(decode).filter(item => item !== undefined)
    }
    throw new NetlinkError(type, EINTR, 'the list kept changing while it was read', undefined)
  }

  /** Closes the descriptor. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #dumpOnce(type: number, payload: Uint8Array): { messages: NetlinkMessage[]; interrupted: boolean } {
    const sequence = this.#next()
    this.#send([encodeMessage(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, payload)])
    const messages: NetlinkMessage[] = []
    let interrupted = false
    this.#receive(message => {
      if (message.sequence !== sequence) return false
      interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0
      if (message.type === NLMSG_ERROR) throwIfFailed(type, parseAcknowledgement(message))
      if (message.type === NLMSG_DONE) {
        throwIfFailed(type, parseDone(message))
        return true
      }
      messages.push({ ...message, payload: Buffer.from(message.payload) })
      return false
    })
    return { messages, interrupted }
  }

  /** Lets the kernel filter dumps, and refuse filters it does not know. */
  #beStrict(): void {
    if (this.#strict) return
    this.#strict = true
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
  }

  #next(): number {
    this.#sequence = (this.#sequence + 1) >>> 0
    return this.#sequence
  }

  #send(messages: readonly Buffer[]): void {
    if (this.#closed) throw new Error('the netlink socket is closed')
    const bytes = messages.length === 1 && messages[0] !== undefined ? messages[0] : Buffer.concat(messages)
    send(this.#fd, bytes)
  }

  /** Hands messages to `visit` until it returns true. Bounded in time and number. */
  #receive(visit: (message: NetlinkMessage) => boolean): void {
    receiveBuffer ??= Buffer.alloc(64 * 1024)
    for (let datagrams = 0; datagrams < maximumDatagrams; datagrams++) {
      const length = this.#receiveDatagram(receiveBuffer)
      if (length > receiveBuffer.length) throw new FormatError(`netlink datagram of ${length} bytes`)
      if (length === 0) throw new FormatError('empty netlink datagram')
      let done = false
      for (const message of parseMessages(receiveBuffer.subarray(0, length))) done = visit(message) || done
      if (done) return
    }
    throw new FormatError('netlink answer without an end')
  }

  #receiveDatagram(into: Buffer): number {
    try {
      return recv(this.#fd, into, MSG_TRUNC | MSG_DONTWAIT)
    } catch (error) {
      if (!hasCode(error, 'EAGAIN')) throw error
    }
    // Not seen so far: an answer that is not there yet. Waiting for it is bounded.
    setSocketTimeout(this.#fd, answerTimeoutMs)
    return recv(this.#fd, into, MSG_TRUNC)
  }

  #command(change: NetlinkChange): string {
    const { program = 'ip' } = change
    const prefix = this.label === undefined ? program : `${program} -n ${shellQuote(this.label)}`
    return `${prefix} ${change.command()}`
  }
}

/** Runs `task` with a socket in the calling thread's namespace, and closes it. */
export function withNetlinkSocket<T>(task: (socket: NetlinkSocket) => T): T {
  const socket = new NetlinkSocket()
  try {
    return task(socket)
  } finally {
    socket.close()
  }
}

function throwIfFailed(type: number, { errno, text }: { errno: number; text: string | undefined }): void {
  if (errno !== 0) throw new NetlinkError(type, errno, text, undefined)
}

const typeNames = new Map([
  [16, 'RTM_NEWLINK'],
  [17, 'RTM_DELLINK'],
  [18, 'RTM_GETLINK'],
  [19, 'RTM_SETLINK'],
  [20, 'RTM_NEWADDR'],
  [21, 'RTM_DELADDR'],
  [22, 'RTM_GETADDR'],
  [24, 'RTM_NEWROUTE'],
  [25, 'RTM_DELROUTE'],
  [26, 'RTM_GETROUTE'],
  [32, 'RTM_NEWRULE'],
  [33, 'RTM_DELRULE'],
  [34, 'RTM_GETRULE'],
])

function typeName(type: number): string {
  return typeNames.get(type) ?? `netlink message ${type}`
}
