// The netlink family of the packet filter and of connection tracking: requests, dumps, and transactions that the kernel
// carries out as a whole or not at all. A socket belongs for life to the network namespace it was opened in.

import { closeSync } from 'node:fs'
import { errno, SyscallError } from '../../ffi/errno.ts'
import { AF_NETLINK, bind, recv, SOCK_RAW, send, setSocketTimeout, setsockopt, socket } from '../../ffi/libc.ts'
import { ByteReader, ByteWriter } from '../../lib/bytes.ts'
import { readAttributes, stringIn, u32In } from './attributes.ts'

export const NFPROTO_UNSPEC = 0
export const NFPROTO_INET = 1
export const NFPROTO_IPV4 = 2
export const NFPROTO_BRIDGE = 7
export const NFPROTO_IPV6 = 10

export const SUBSYS_CTNETLINK = 1
export const SUBSYS_NFTABLES = 10

export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_APPEND = 0x800

const NETLINK_NETFILTER = 12
const SOL_NETLINK = 270
const SOL_SOCKET = 1
const NLM_F_REQUEST = 1
const NLM_F_ACK = 4
const NLM_F_DUMP = 0x300
const NLM_F_DUMP_INTR = 0x10
const NLM_F_ACK_TLVS = 0x200
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const BATCH_BEGIN = 16
const BATCH_END = 17
const MSG_DONTWAIT = 0x40

/** One request; `body` writes the attributes behind the nfgenmsg header. */
export interface NfMessage {
  /** `subsystem << 8 | message`. */
  readonly type: number
  readonly family: number
  readonly flags: number
  readonly body: (writer: ByteWriter) => void
}

/** Why a message of a transaction was refused. */
export interface NfFailure {
  /** Which message, or -1 for the transaction as a whole. */
  readonly index: number
  readonly errno: number
  /** The kernel's own words, where it has some. */
  readonly text: string | undefined
}

/** An open nfnetlink socket of the namespace in which it was made. All calls are synchronous: the kernel answers at once. */
export class Nfnetlink {
  #fd: number
  #sequence = 1
  #large = false
  readonly #buffer = Buffer.alloc(65536)

  /** Opens a socket in the calling thread's network namespace. @throws SyscallError */
  constructor() {
    this.#fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
    bind(this.#fd, Buffer.from([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    setsockopt(this.#fd, SOL_NETLINK, 10, 1) // NETLINK_CAP_ACK: errors do not repeat the request
    setsockopt(this.#fd, SOL_NETLINK, 11, 1) // NETLINK_EXT_ACK: the kernel's own words
    setSocketTimeout(this.#fd, 10_000)
  }

  /** Its descriptor; stays the socket's own. */
  get fd(): number {
    return this.#fd
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  /**
   * Carries out all messages or none, for the nftables subsystem.
   * @param generation when given, the transaction is refused with ERESTART if any rule set changed since
   *   `generation()` returned it: whatever was read in between still holds when the change is made
   * @returns what was refused, empty when all was done. With several errors there is one entry for each message.
   */
  transaction(messages: readonly NfMessage[], generation?: number): NfFailure[] {
    if (messages.length === 0) return []
    const first = this.#sequence
    const writer = new ByteWriter(256 + messages.length * 192)
    this.#header(writer, BATCH_BEGIN, NLM_F_REQUEST, 0, SUBSYS_NFTABLES, body => {
      if (generation !== undefined) body.u16(8).u16(1).u32be(generation)
    })
    for (const [i, message] of messages.entries()) {
      const acknowledge = i === messages.length - 1 ? NLM_F_ACK : 0
      this.#header(writer, message.type, NLM_F_REQUEST | message.flags | acknowledge, message.family, 0, message.body)
    }
    this.#header(writer, BATCH_END, NLM_F_REQUEST, 0, SUBSYS_NFTABLES, () => {})
    const bytes = writer.finish()
    if (messages.length > 64) this.#enlargeBuffers()
    send(this.#fd, bytes)
    return this.#readFailures(first, first + messages.length)
  }

  /** The number of the rule set's present state: it changes with every transaction in the namespace. */
  generation(): number {
    const [reply] = this.request({ type: (SUBSYS_NFTABLES << 8) | 16, family: 0, flags: 0, body: () => {} })
    if (reply === undefined) throw new Error('the kernel sent no generation id')
    return u32In(reply, readAttributes(reply, 0, reply.length), 1) ?? 0
  }

  /**
   * Sends one request and returns what came back: a reader over each message, from behind the nfgenmsg header on.
   * @throws SyscallError with the kernel's errno
   */
  request(message: NfMessage): ByteReader[] {
    return this.#exchange(message, NLM_F_REQUEST | NLM_F_ACK).map(reply => reply.reader)
  }

  /** Asks for everything of a kind. Starts over when it changed meanwhile. @throws SyscallError */
  dump(message: NfMessage): ByteReader[] {
    return this.dumpWithFamily(message).map(reply => reply.reader)
  }

  /** As `dump`, for dumps over all families: with the family of each message. */
  dumpWithFamily(message: NfMessage): { readonly family: number; readonly reader: ByteReader }[] {
    this.#enlargeBuffers()
    for (let attempt = 0; ; attempt++) {
      try {
        return this.#exchange(message, NLM_F_REQUEST | NLM_F_DUMP)
      } catch (error) {
        if (!(error instanceof SyscallError && error.errno === errno.EINTR) || attempt === 20) throw error
      }
    }
  }

  #exchange(message: NfMessage, flags: number): { family: number; reader: ByteReader }[] {
    const sequence = this.#sequence
    const writer = new ByteWriter()
    this.#header(writer, message.type, flags | message.flags, message.family, 0, message.body)
    send(this.#fd, writer.finish())
    const replies: { family: number; reader: ByteReader }[] = []
    let interrupted = false
    for (;;) {
      for (const reply of this.#receive(0)) {
        if (reply.sequence !== sequence) continue
        if ((reply.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true
        if (reply.type === NLMSG_ERROR || reply.type === NLMSG_DONE) {
          const status = reply.payload.length >= 4 ? -reply.payload.i32(0) : 0
          if (status !== 0) throw new SyscallError(messageName(message.type), status, errorText(reply))
          if (interrupted) throw new SyscallError(messageName(message.type), errno.EINTR)
          return replies
        }
        // Copied: the next answer overwrites the buffer.
        const reader = new ByteReader(Buffer.from(reply.payload.slice(4, reply.payload.length)))
        replies.push({ family: reply.payload.u8(0), reader })
      }
    }
  }

  #readFailures(begin: number, last: number): NfFailure[] {
    const failures: NfFailure[] = []
    for (;;) {
      let replies: Reply[]
      try {
        // A refused transaction is answered at its first message and has no more to say about the last one.
        replies = this.#receive(failures.some(f => f.index === -1) ? MSG_DONTWAIT : 0)
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error
        if (error.errno === errno.EAGAIN && failures.length > 0) return failures
        if (error.errno === errno.ENOBUFS) continue // Only the list of failures is cut short.
        throw error
      }
      for (const reply of replies) {
        if (reply.type !== NLMSG_ERROR || reply.sequence < begin || reply.sequence > last) continue
        const status = -reply.payload.i32(0)
        if (status !== 0) failures.push({ index: reply.sequence - begin - 1, errno: status, text: errorText(reply) })
        if (reply.sequence === last) return failures
      }
    }
  }

  #receive(flags: number): Reply[] {
    const length = recv(this.#fd, this.#buffer, flags)
    const reader = new ByteReader(this.#buffer.subarray(0, length))
    const replies: Reply[] = []
    for (let at = 0; at + 16 <= length; ) {
      const size = reader.u32(at)
      const payload = new ByteReader(reader.slice(at + 16, at + Math.max(size, 16)))
      replies.push({ type: reader.u16(at + 4), flags: reader.u16(at + 6), sequence: reader.u32(at + 8), payload })
      at += (Math.max(size, 16) + 3) & ~3
    }
    return replies
  }

  #header(
    writer: ByteWriter,
    type: number,
    flags: number,
    family: number,
    resource: number,
    body: (writer: ByteWriter) => void,
  ): void {
    const at = writer.length
    writer
      .u32(0)
      .u16(type)
      .u16(flags)
      .u32(this.#sequence++)
      .u32(0)
    writer.u8(family).u8(0).u16be(resource)
    body(writer)
    writer.patchU32(at, writer.length - at)
    writer.align()
  }

  /** The default buffers hold a few hundred elements or errors. FORCE needs CAP_NET_ADMIN, as all of this does. */
  #enlargeBuffers(): void {
    if (this.#large) return
    this.#large = true
    try {
      setsockopt(this.#fd, SOL_SOCKET, 32, 16 << 20) // SO_SNDBUFFORCE
      setsockopt(this.#fd, SOL_SOCKET, 33, 16 << 20) // SO_RCVBUFFORCE
    } catch (error) {
      if (!(error instanceof SyscallError && error.errno === errno.EPERM)) throw error
    }
  }
}

/** Throws the first of `failures`, named after what was being done. */
export function throwFailure(what: string, failures: readonly NfFailure[]): never {
  const [first] = failures
  throw new SyscallError('nfnetlink', first?.errno ?? 0, first?.text === undefined ? what : `${what}: ${first.text}`)
}

interface Reply {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  readonly payload: ByteReader
}

/** NLMSGERR_ATTR_MSG of an extended acknowledgement; it stands behind the errno and the header of the request. */
function errorText(reply: Reply): string | undefined {
  if (reply.type !== NLMSG_ERROR || (reply.flags & NLM_F_ACK_TLVS) === 0) return undefined
  return stringIn(reply.payload, readAttributes(reply.payload, 20, reply.payload.length), 1)
}

function messageName(type: number): string {
  return `${type >> 8 === SUBSYS_CTNETLINK ? 'ctnetlink' : 'nftables'} message ${type & 0xff}`
}
