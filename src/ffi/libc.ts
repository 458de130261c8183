// The C library calls that tsrun makes itself. Everything else goes through node:fs.
// Each wrapper throws SyscallError and documents who owns a returned descriptor. All descriptors are close-on-exec.

import { hasCode, SyscallError } from './errno.ts'
import { koffi, type NativeFunction } from './koffi.ts'

const library = koffi.load('libc.so.6')
const functions = new Map<string, NativeFunction>()

/** Declares a libc function on first use: binding all at start would cost what most commands never need. */
function native(declaration: string): NativeFunction {
  let found = functions.get(declaration)
  if (found === undefined) {
    found = library.func(declaration)
    functions.set(declaration, found)
  }
  return found
}

/** Calls `declaration`, retrying on EINTR. @throws SyscallError when it returns -1 */
export function call(name: string, declaration: string, args: readonly unknown[], detail?: string): number {
  const fn = native(declaration)
  for (;;) {
    const result = Number(fn(...args))
    if (result !== -1) return result
    const value = koffi.errno()
    if (value !== 4) throw new SyscallError(name, value, detail)
  }
}

export const CLONE_NEWNS = 0x00020000
export const CLONE_NEWCGROUP = 0x02000000
export const CLONE_NEWUTS = 0x04000000
export const CLONE_NEWIPC = 0x08000000
export const CLONE_NEWUSER = 0x10000000
export const CLONE_NEWPID = 0x20000000
export const CLONE_NEWNET = 0x40000000

/** unshare(2), for the calling thread only. */
export function unshare(flags: number): void {
  call('unshare', 'int unshare(int)', [flags])
}

/** setns(2), for the calling thread only. */
export function setns(fd: number, flags: number): void {
  call('setns', 'int setns(int, int)', [fd, flags])
}

export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_SEQPACKET = 5
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000

/** socket(2) with SOCK_CLOEXEC; the caller owns the descriptor. */
export function socket(family: number, type: number, protocol: number): number {
  return call('socket', 'int socket(int, int, int)', [family, type | SOCK_CLOEXEC, protocol])
}

/** socketpair(2) of AF_UNIX streams; the caller owns both descriptors. */
export function socketpair(): [number, number] {
  const fds = new Int32Array(2)
  call('socketpair', 'int socketpair(int, int, int, _Out_ int *)', [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds])
  return [fds[0] ?? -1, fds[1] ?? -1]
}

/** bind(2); `address` is a sockaddr as bytes. */
export function bind(fd: number, address: Uint8Array, detail?: string): void {
  call('bind', 'int bind(int, const void *, unsigned int)', [fd, address, address.length], detail)
}

/** listen(2). @param backlog how many may wait to be accepted */
export function listen(fd: number, backlog: number): void {
  call('listen', 'int listen(int, int)', [fd, backlog])
}

/** getsockname(2): the first `length` bytes of the address that the socket is bound to. */
export function getsockname(fd: number, length: number): Buffer {
  const address = Buffer.alloc(length)
  call('getsockname', 'int getsockname(int, void *, void *)', [fd, address, new Uint32Array([length])])
  return address
}

/** connect(2); `address` is a sockaddr as bytes. */
export function connect(fd: number, address: Uint8Array, detail?: string): void {
  call('connect', 'int connect(int, const void *, unsigned int)', [fd, address, address.length], detail)
}

/** send(2); returns the number of bytes sent. SIGPIPE is never raised. */
export function send(fd: number, bytes: Uint8Array): number {
  return call('send', 'long send(int, const void *, size_t, int)', [fd, bytes, bytes.length, 0x4000])
}

/** recv(2); returns the number of bytes received, 0 at the end of the stream. */
export function recv(fd: number, into: Uint8Array, flags = 0): number {
  const receive = () => call('recv', 'long recv(int, void *, size_t, int)', [fd, into, into.length, flags])
  try {
    return receive()
  } catch (error) {
    // What came is still there: whether a change was made is worth a second try.
    if (!hasCode(error, 'ENOMEM')) throw error
    return receive()
  }
}

/** setsockopt(2) with an int or a struct as bytes. */
export function setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): void {
  const bytes = typeof value === 'number' ? new Uint8Array(new Int32Array([value]).buffer) : value
  call('setsockopt', 'int setsockopt(int, int, int, const void *, unsigned int)', [
    fd,
    level,
    option,
    bytes,
    bytes.length,
  ])
}

/** getsockopt(2): the option's `length` bytes. */
export function getsockopt(fd: number, level: number, option: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  const size = new Uint32Array([length])
  call('getsockopt', 'int getsockopt(int, int, int, void *, void *)', [fd, level, option, bytes, size])
  return bytes
}

/** Bounds how long a blocking recv or send on `fd` may take: it then fails with EAGAIN. */
export function setSocketTimeout(fd: number, timeoutMs: number): void {
  const timeval = new Uint8Array(
    new BigInt64Array([BigInt(Math.floor(timeoutMs / 1000)), BigInt((timeoutMs % 1000) * 1000)]).buffer,
  )
  setsockopt(fd, 1, 20, timeval)
  setsockopt(fd, 1, 21, timeval)
}

export const LOCK_SH = 1
export const LOCK_EX = 2
export const LOCK_NB = 4
export const LOCK_UN = 8

/** flock(2). @throws SyscallError EWOULDBLOCK (EAGAIN) with LOCK_NB when another process holds it */
export function flock(fd: number, operation: number): void {
  call('flock', 'int flock(int, int)', [fd, operation])
}

/** mount(2). */
export function mount(source: string, target: string, type: string | null, flags: number, data: string | null): void {
  call(
    'mount',
    'int mount(const char *, const char *, const char *, unsigned long, const char *)',
    [source, target, type, flags, data],
    `cannot mount on "${target}"`,
  )
}

export const MNT_DETACH = 2

/** umount2(2). */
export function umount(target: string, flags: number): void {
  call('umount2', 'int umount2(const char *, int)', [target, flags], `cannot unmount "${target}"`)
}

/** The numbers of system calls that glibc of Debian 12 has no wrapper for; the same on all architectures since 5.0. */
export const SYS = {
  pidfdSendSignal: 424,
  openTree: 428,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfdOpen: 434,
  openat2: 437,
  mountSetattr: 442,
} as const

/** syscall(2) with up to five arguments: numbers, strings or byte arrays. */
export function syscall(
  name: string,
  number: number,
  types: string,
  args: readonly unknown[],
  detail?: string,
): number {
  return call(name, `long syscall(long, ${types})`, [number, ...args], detail)
}

/** memfd_create(2); the caller owns the descriptor. */
export function memfdCreate(name: string): number {
  return call('memfd_create', 'int memfd_create(const char *, unsigned int)', [name, 1])
}

/** A copy of `bytes` in native memory, for structures that hold addresses; the caller frees it with freeNative. */
export function copyToNative(bytes: Uint8Array): bigint {
  const address = BigInt(native('uint64_t malloc(size_t)')(bytes.length))
  if (address === 0n) throw new SyscallError('malloc', 12)
  native('uint64_t memcpy(uint64_t, const void *, size_t)')(address, bytes, bytes.length)
  return address
}

/** The first `length` bytes at an address from copyToNative. */
export function copyFromNative(address: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  native('void memcpy(_Out_ void *, uint64_t, size_t)')(bytes, address, length)
  return bytes
}

/** Frees what copyToNative gave. */
export function freeNative(address: bigint): void {
  native('void free(uint64_t)')(address)
}
