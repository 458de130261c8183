// Small packets that ask whether somebody is there: ping and a TCP connection. Synchronous, in the calling thread's network
// namespace; only tools that look for faults use them.

import { closeSync } from 'node:fs'
import { hasCode, SyscallError } from '../ffi/errno.ts'
import {
  AF_INET,
  AF_INET6,
  bind,
  call,
  connect,
  getsockopt,
  recv,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  setSocketTimeout,
  setsockopt,
  socket,
} from '../ffi/libc.ts'
import { littleEndian } from '../lib/bytes.ts'
import { addressBytes, parseAddress } from '../lib/ip.ts'

const IPPROTO_ICMP = 1
const IPPROTO_ICMPV6 = 58
const SOL_SOCKET = 1
const SO_ERROR = 4
const SOCK_NONBLOCK = 0o4000
const POLLOUT = 4
const IP_MTU_DISCOVER = 10
const IP_PMTUDISC_DO = 2

/** What came back. */
export type ProbeResult =
  | { readonly kind: 'answered' }
  /** Somebody said no: a closed port, an ICMP error. */
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'silence' }

/**
 * One ICMP echo request. Equivalent to: `ping -c 1 [-M do] -s $payloadBytes $address`.
 * @param options payloadBytes default 56; source an address to send from; unfragmented: with the "don't fragment" flag
 */
export function ping(
  address: string,
  options: { timeoutMs: number; payloadBytes?: number; source?: string; unfragmented?: boolean },
): ProbeResult {
  const { family } = parseAddress(address)
  const { payloadBytes = 56, source, timeoutMs } = options
  const fd = socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW, family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
  try {
    if (options.unfragmented === true && family === 4) setsockopt(fd, 0, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    if (source !== undefined) bind(fd, socketAddress(source, 0))
    connect(fd, socketAddress(address, 0))
    const request = echoRequest(family, payloadBytes)
    call('send', 'long send(int, const void *, size_t, int)', [fd, request, request.length, 0])
    return awaitEcho(fd, family, request, timeoutMs)
  } catch (error) {
    if (error instanceof SyscallError && hasCode(error, ...refusals)) return { kind: 'refused', code: error.code }
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Opens a TCP connection and closes it at once. */
export function connectTcp(address: string, port: number, timeoutMs: number): ProbeResult {
  const { family } = parseAddress(address)
  const fd = socket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0)
  try {
    try {
      connect(fd, socketAddress(address, port))
      return { kind: 'answered' }
    } catch (error) {
      if (!hasCode(error, 'EINPROGRESS')) throw error
    }
    // struct pollfd { int fd; short events; short revents; }
    const slot = new Int32Array([fd, POLLOUT])
    if (call('poll', 'int poll(void *, unsigned long, int)', [slot, 1, timeoutMs]) === 0) return { kind: 'silence' }
    const status = new DataView(getsockopt(fd, SOL_SOCKET, SO_ERROR, 4).buffer).getInt32(0, littleEndian)
    if (status === 0) return { kind: 'answered' }
    return { kind: 'refused', code: new SyscallError('connect', status).code }
  } catch (error) {
    if (error instanceof SyscallError && hasCode(error, ...refusals)) return { kind: 'refused', code: error.code }
    throw error
  } finally {
    closeSync(fd)
  }
}

/** What a name server said: `code` is the DNS response code, 0 for an answer, 2 where it could not ask further, 3 for no such name. */
export type NameAnswer = { readonly kind: 'answered'; readonly code: number; readonly records: number } | ProbeResult

/**
 * One DNS query over UDP for the IPv4 addresses of a name. Equivalent to: `dig +tries=1 @$server $name`.
 * @param name at most 253 characters, labels of at most 63
 */
export function askName(server: string, name: string, timeoutMs: number): NameAnswer {
  const { family } = parseAddress(server)
  const fd = socket(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0)
  try {
    connect(fd, socketAddress(server, 53))
    const request = nameRequest(name)
    call('send', 'long send(int, const void *, size_t, int)', [fd, request, request.length, 0])
    setSocketTimeout(fd, timeoutMs)
    const answer = Buffer.alloc(4096)
    const length = recv(fd, answer)
    if (length < 12) return { kind: 'silence' }
    return { kind: 'answered', code: answer.readUInt8(3) & 15, records: answer.readUInt16BE(6) }
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return { kind: 'silence' }
    if (error instanceof SyscallError && hasCode(error, ...refusals)) return { kind: 'refused', code: error.code }
    throw error
  } finally {
    closeSync(fd)
  }
}

/** RFC 1035, 4.1: one question, type A, class IN, recursion desired. */
function nameRequest(name: string): Buffer {
  const labels = name.split('.').filter(label => label !== '')
  const question = labels.flatMap(label => [Buffer.from([Buffer.byteLength(label)]), Buffer.from(label)])
  const header = Buffer.from([Math.random() * 256, Math.random() * 256, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  return Buffer.concat([header, ...question, Buffer.from([0, 0, 1, 0, 1])])
}

const refusals = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES', 'EPERM', 'EINVAL', 'EMSGSIZE', 'ENETDOWN']

function awaitEcho(fd: number, family: 4 | 6, request: Buffer, timeoutMs: number): ProbeResult {
  const deadline = performance.now() + timeoutMs
  const answer = Buffer.alloc(65536)
  for (;;) {
    const leftMs = Math.ceil(deadline - performance.now())
    if (leftMs <= 0) return { kind: 'silence' }
    setSocketTimeout(fd, leftMs)
    let length: number
    try {
      length = recv(fd, answer)
    } catch (error) {
      if (hasCode(error, 'EAGAIN')) return { kind: 'silence' }
      throw error
    }
    // An IPv4 raw socket shows the IP header as well.
    const icmp = answer.subarray(family === 4 ? ((answer[0] ?? 0) & 15) * 4 : 0, length)
    const isReply = icmp[0] === (family === 4 ? 0 : 129)
    if (isReply && icmp.subarray(4, 8).equals(request.subarray(4, 8))) return { kind: 'answered' }
  }
}

function echoRequest(family: 4 | 6, payloadBytes: number): Buffer {
  const packet = Buffer.alloc(8 + payloadBytes)
  packet[0] = family === 4 ? 8 : 128
  packet.writeUInt32BE(Math.floor(Math.random() * 0xffff_ffff), 4)
  // ICMPv6 is summed by the kernel: it covers addresses that we do not know.
  if (family === 4) packet.writeUInt16BE(checksum(packet), 2)
  return packet
}

/** The Internet checksum, RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress(address: string, port: number): Buffer {
  const parsed = parseAddress(address)
  const bytes = Buffer.alloc(parsed.family === 4 ? 16 : 28)
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = parsed.family === 4 ? AF_INET : AF_INET6
  bytes.writeUInt16BE(port, 2)
  bytes.set(addressBytes(parsed), parsed.family === 4 ? 4 : 8)
  return bytes
}
