// Unix stream sockets and pipes without node:net: calls that may wait run on a pool thread of the FFI package.

import { closeSync } from 'node:fs'
import { hasCode } from './errno.ts'
import { koffi, type NativeFunction } from './koffi.ts'
import { AF_UNIX, bind, call, connect, copyToNative, freeNative, listen, SOCK_STREAM, socket } from './libc.ts'
import { onPoolThread } from './pool-thread.ts'

export { send } from './libc.ts'

/**
 * Connects to a unix socket; the caller owns the descriptor.
 * @param path at most 107 bytes
 * @param type of the socket
 * @throws SyscallError ENOENT, ECONNREFUSED when nobody listens there
 */
export function connectUnix(path: string, type = SOCK_STREAM): number {
  const fd = socket(AF_UNIX, type, 0)
  try {
    connect(fd, unixAddress(path), `cannot connect to "${path}"`)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Makes a socket that listens on `path`, which must not be there yet; the caller owns the descriptor. @throws SyscallError */
export function listenUnix(path: string, type: number, backlog: number): number {
  const fd = socket(AF_UNIX, type, 0)
  try {
    bind(fd, unixAddress(path), `cannot listen on "${path}"`)
    listen(fd, backlog)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** struct sockaddr_un (sys/un.h): family in host order, then the path with its NUL. */
function unixAddress(path: string): Buffer {
  const address = Buffer.alloc(110)
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX
  const length = address.write(path, 2, 107)
  return address.subarray(0, length + 3)
}

/**
 * Sends `bytes` together with descriptors, sendmsg(2) with SCM_RIGHTS: the receiver gets copies of its own, or, if it does not
 * ask for them, the kernel closes them there.
 */
export function sendWithDescriptors(fd: number, bytes: Uint8Array, descriptors: readonly number[]): void {
  const SOL_SOCKET = 1
  const SCM_RIGHTS = 1
  const data = copyToNative(bytes)
  // struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; } and the descriptors (bits/socket.h), 64-bit
  const length = 16 + descriptors.length * 4
  const control = Buffer.alloc((length + 7) & ~7)
  writeWords(control, [[0, BigInt(length)]])
  new Int32Array(control.buffer, control.byteOffset + 8, 2 + descriptors.length).set([
    SOL_SOCKET,
    SCM_RIGHTS,
    ...descriptors,
  ])
  const rights = copyToNative(control)
  // struct iovec { void *iov_base; size_t iov_len; }
  const vector = Buffer.alloc(16)
  writeWords(vector, [
    [0, data],
    [8, BigInt(bytes.length)],
  ])
  const parts = copyToNative(vector)
  try {
    // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
    const message = Buffer.alloc(56)
    writeWords(message, [
      [16, parts],
      [24, 1n],
      [32, rights],
      [40, BigInt(control.length)],
    ])
    call('sendmsg', 'long sendmsg(int, const void *, int)', [fd, message, MSG_NOSIGNAL])
  } finally {
    for (const pointer of [parts, rights, data]) freeNative(pointer)
  }
}

function writeWords(into: Buffer, words: readonly (readonly [offset: number, value: bigint])[]): void {
  for (const [offset, value] of words) new BigUint64Array(into.buffer, into.byteOffset + offset, 1)[0] = value
}

const MSG_NOSIGNAL = 0x4000

/** Ends both directions, shutdown(2): whoever reads from the socket sees its end. */
export function shutdown(fd: number): void {
  const SHUT_RDWR = 2
  try {
    call('shutdown', 'int shutdown(int, int)', [fd, SHUT_RDWR])
  } catch (error) {
    if (!hasCode(error, 'ENOTCONN')) throw error
  }
}

/** recv(2) on a pool thread. @returns the number of bytes; 0 at the end, -1 on an error */
export function receive(fd: number, into: Uint8Array): Promise<number> {
  return onThread('long recv(int, void *, size_t, int)', [fd, into, into.length, 0])
}

/** What became of a write: some bytes went, the descriptor takes nothing now, or nobody reads any more. */
export type WriteResult = { readonly kind: 'written'; readonly length: number } | { readonly kind: 'busy' | 'closed' }

/** write(2) on a pool thread. @throws SyscallError */
export async function writeSome(fd: number, bytes: Uint8Array): Promise<WriteResult> {
  const length = await onThread('long write(int, const void *, size_t)', [fd, bytes, bytes.length])
  if (length >= 0) return { kind: 'written', length }
  // errno belongs to the thread that failed: ask again on this one, for one byte that cannot be taken either.
  try {
    return { kind: 'written', length: call('write', 'long write(int, const void *, size_t)', [fd, bytes, 1]) }
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return { kind: 'busy' }
    if (hasCode(error, 'EPIPE', 'EIO', 'ECONNRESET')) return { kind: 'closed' }
    throw error
  }
}

/** Waits on a pool thread until `fd` takes data, or a second has passed. */
export async function pollWritable(fd: number): Promise<void> {
  const POLLOUT = 4
  // struct pollfd { int fd; short events; short revents; } (poll.h)
  const slot = new Int32Array([fd, POLLOUT])
  await onThread('int poll(void *, unsigned long, int)', [slot, 1, 1000])
}

/** Waits on a pool thread until `fd` has something to read, or its end. @returns false after `timeoutMs` without */
export async function pollReadable(fd: number, timeoutMs: number): Promise<boolean> {
  const POLLIN = 1
  const slot = new Int32Array([fd, POLLIN])
  return (await onThread('int poll(void *, unsigned long, int)', [slot, 1, timeoutMs])) > 0
}

const functions = new Map<string, NativeFunction>()

function onThread(declaration: string, args: readonly unknown[]): Promise<number> {
  let fn = functions.get(declaration)
  if (fn === undefined) {
    fn = koffi.load('libc.so.6').func(declaration)
    functions.set(declaration, fn)
  }
  return onPoolThread(fn, args)
}
