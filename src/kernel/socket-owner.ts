// Who listens on a port: for the error message when a port is taken. Reads /proc, so it takes some milliseconds.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { littleEndian } from '../lib/bytes.ts'
import { addressFromBytes, type IpAddress, parseAddress } from '../lib/ip.ts'

/** The process behind a socket. */
export interface SocketOwner {
  readonly pid: number
  /** Its name, e.g. `nginx`. */
  readonly command: string
}

/** A socket that has a port, as in /proc/net/tcp. */
export interface BoundSocket {
  readonly address: IpAddress
  readonly port: number
  readonly inode: string
}

const TCP_LISTEN = '0A'
const UDP_UNCONNECTED = '07'

/**
 * Finds the process that keeps `address:port` from being bound, in the calling thread's network namespace.
 * @param address `0.0.0.0` and `::` clash with any address
 * @returns undefined when there is none, or it cannot be seen
 */
export function findSocketOwner(protocol: 'tcp' | 'udp', address: string, port: number): SocketOwner | undefined {
  const wanted = parseAddress(address)
  const inodes = new Set<string>()
  for (const file of [protocol, `${protocol}6`]) {
    const text = readOr(`/proc/thread-self/net/${file}`, '')
    for (const socket of parseSocketTable(text, protocol === 'tcp' ? TCP_LISTEN : UDP_UNCONNECTED)) {
      if (socket.port === port && clash(socket.address, wanted)) inodes.add(socket.inode)
    }
  }
  return inodes.size === 0 ? undefined : findInode(inodes)
}

/** Reads /proc/net/{tcp,tcp6,udp,udp6}: the sockets in `state`. Lines that look otherwise are left out. */
export function parseSocketTable(text: string, state: string): BoundSocket[] {
  const sockets: BoundSocket[] = []
  for (const line of text.split('\n').slice(1)) {
    const [, local, , lineState, , , , , , inode] = line.trim().split(/\s+/)
    const [hex, port] = local?.split(':') ?? []
    const address = hex === undefined ? undefined : parseProcAddress(hex)
    if (lineState !== state || address === undefined || port === undefined || !inode || inode === '0') continue
    sockets.push({ address, port: Number.parseInt(port, 16), inode })
  }
  return sockets
}

/** The kernel prints addresses as 32-bit words in its own byte order. */
function parseProcAddress(hex: string): IpAddress | undefined {
  const bytes = Buffer.from(hex, 'hex')
  if (bytes.length % 4 !== 0) return undefined
  return addressFromBytes(littleEndian ? bytes.swap32() : bytes)
}

function clash(bound: IpAddress, wanted: IpAddress): boolean {
  const v4Mapped = bound.family === 6 && wanted.family === 4 && bound.value === ((0xffffn << 32n) | wanted.value)
  // A listener on :: takes IPv4 as well, unless it asked not to, which /proc does not tell.
  if (bound.family !== wanted.family) return v4Mapped || (bound.family === 6 && bound.value === 0n)
  return bound.value === wanted.value || bound.value === 0n || wanted.value === 0n
}

function findInode(inodes: ReadonlySet<string>): SocketOwner | undefined {
  const links = new Set([...inodes].map(inode => `socket:[${inode}]`))
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    for (const fd of listOr(`/proc/${pid}/fd`)) {
      if (!links.has(readLinkOr(`/proc/${pid}/fd/${fd}`))) continue
      return { pid: Number(pid), command: printable(readOr(`/proc/${pid}/comm`, '?').trimEnd()) }
    }
  }
  return undefined
}

/** A process chooses its name, and this one goes to a terminal. */
function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?')
}

// Processes come and go while we look: what cannot be read is not there.
function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return otherwise
  }
}

function listOr(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function readLinkOr(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
