// The resolver's two sockets in a container's network namespace, and what leads to them. They are made from outside and keep
// the namespace alive for as long as somebody has them open.

import { closeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import {
  AF_INET,
  bind,
  getsockname,
  listen,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  setsockopt,
  socket,
} from '../../ffi/libc.ts'
import { littleEndian } from '../../lib/bytes.ts'
import { record, shellQuote } from '../explain.ts'
import { runInNetns } from '../netns.ts'
import { Nfnetlink, throwFailure } from '../nftables/nfnetlink.ts'
import { redirectMessages, redirectText } from './redirect.ts'

/** 127.0.0.11, which the container's resolv.conf names. */
const addressBytes = Uint8Array.of(127, 0, 0, 11)

// Above the range that the kernel gives connections; any other one when the container has taken it, as it may have when the
// sockets are made a second time.
const USUAL_PORT = 61053
const ANY_PORT = 0
const BACKLOG = 32

/** Descriptors that the caller owns. */
export interface ResolverSockets {
  readonly udp: number
  readonly tcp: number
  /** Closes both. Idempotent. */
  close(): void
}

/**
 * Opens the sockets in the namespace `netnsFd`, whose loopback interface must be up, and leads port 53 to them.
 * @param options.label the namespace's name in printed commands
 * @param options.again the namespace may have had a resolver before
 * @throws SyscallError
 */
export function openResolverSockets(
  netnsFd: number,
  options: { readonly label: string; readonly again?: boolean },
): ResolverSockets {
  return runInNetns(netnsFd, () => {
    const open: number[] = []
    const close = () => {
      for (const fd of open.splice(0)) closeSync(fd)
    }
    const openOne = (type: number) => {
      const fd = openSocket(type)
      open.push(fd)
      return fd
    }
    try {
      const udp = openOne(SOCK_DGRAM)
      const tcp = openOne(SOCK_STREAM)
      listen(tcp, BACKLOG)
      redirect({ udp: portOf(udp), tcp: portOf(tcp) }, options)
      return { udp, tcp, close }
    } catch (error) {
      close()
      throw error
    }
  })
}

function redirect(ports: { udp: number; tcp: number }, options: { label: string; again?: boolean }): void {
  record(
    () =>
      `ip netns exec ${shellQuote(options.label)} nft ${shellQuote(`${redirectText(addressBytes.join('.'), ports)}`)}`,
  )
  const nfnetlink = new Nfnetlink()
  try {
    const failures = nfnetlink.transaction(redirectMessages(addressBytes, ports, options.again === true))
    if (failures.length > 0) throwFailure('cannot lead port 53 to the resolver', failures)
  } finally {
    nfnetlink.close()
  }
}

function openSocket(type: number): number {
  const fd = socket(AF_INET, type | SOCK_NONBLOCK, 0)
  try {
    if (type === SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    try {
      bind(fd, inetAddress(USUAL_PORT))
    } catch (error) {
      if (!hasCode(error, 'EADDRINUSE')) throw error
      bind(fd, inetAddress(ANY_PORT))
    }
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

const SOL_SOCKET = 1
const SO_REUSEADDR = 2

/** struct sockaddr_in (netinet/in.h): family in host order, port and address in network order. */
function inetAddress(port: number): Buffer {
  const family = littleEndian ? [AF_INET, 0] : [0, AF_INET]
  return Buffer.from([...family, port >> 8, port & 255, ...addressBytes, 0, 0, 0, 0, 0, 0, 0, 0])
}

function portOf(fd: number): number {
  return getsockname(fd, 16).readUInt16BE(2)
}
