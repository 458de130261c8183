// What is said to tsrun-dns: one message and one reply a connection (native/dns.h is the other end). SOCK_SEQPACKET keeps
// messages whole. Synchronous: the other side answers within a fraction of a millisecond.

import { closeSync, openSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { recv, SOCK_SEQPACKET, setSocketTimeout } from '../../ffi/libc.ts'
import { connectUnix, send, sendWithDescriptors } from '../../ffi/unix-stream.ts'
import { ByteWriter } from '../../lib/bytes.ts'
import type { ResolverSockets } from './sockets.ts'

const VERSION = 1
const types = { put: 1, remove: 2 } as const
const replies = ['done', 'unknown', 'bad', 'last', 'version'] as const

const PATIENCE_MS = 5_000

/** The most text that one container can have. */
export const MAX_TEXT_BYTES = 65536

/**
 * `done`; `unknown`: names for a container whose sockets it does not have; `bad`: it cannot read the message; `last`: removed,
 * and with it the process ends; `version`: it is of another tsrun.
 */
export type ResolverReply = (typeof replies)[number]

export interface ResolverMessage {
  readonly type: keyof typeof types
  /** 64 hex digits. */
  readonly id: string
  /** Lines as in native/dns_table.h. */
  readonly text?: string
  /** Of a container that is new to it. Copies go along; ours stay ours. */
  readonly attach?: { readonly sockets: Pick<ResolverSockets, 'udp' | 'tcp'>; readonly pidfd: number }
}

/** The name of the socket in the resolver's folder. */
export const CONTROL_SOCKET = 'control'

/** @returns undefined when nobody listens, or it ended before it replied, or hangs @throws SyscallError */
export function tellResolver(folder: string, message: ResolverMessage): ResolverReply | undefined {
  const fd = connectTo(folder)
  if (fd === undefined) return undefined
  try {
    setSocketTimeout(fd, PATIENCE_MS)
    const bytes = encode(message)
    const { attach } = message
    if (attach === undefined) send(fd, bytes)
    else sendWithDescriptors(fd, bytes, [attach.sockets.udp, attach.sockets.tcp, attach.pidfd])
    const reply = Buffer.alloc(4)
    if (recv(fd, reply) !== 4) return undefined
    return replies[new Uint32Array(reply.buffer, reply.byteOffset, 1)[0] ?? -1]
  } catch (error) {
    if (hasCode(error, 'EPIPE', 'ECONNRESET', 'EAGAIN')) return undefined
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Through the folder's descriptor: the path of a socket may have 107 bytes, that of a state folder more. */
function connectTo(folder: string): number | undefined {
  let directory: number | undefined
  try {
    directory = openSync(folder, 'r')
    return connectUnix(`/proc/self/fd/${directory}/${CONTROL_SOCKET}`, SOCK_SEQPACKET)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ECONNREFUSED')) return undefined
    throw error
  } finally {
    if (directory !== undefined) closeSync(directory)
  }
}

function encode({ type, id, text = '' }: ResolverMessage): Buffer {
  const writer = new ByteWriter(72 + text.length)
  writer
    .u32(VERSION)
    .u32(types[type])
    .bytes(Buffer.from(id.padEnd(64, '\0').slice(0, 64)))
  return writer.bytes(Buffer.from(text)).finish()
}
