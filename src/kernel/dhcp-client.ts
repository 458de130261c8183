// The DHCP client: udhcpc of busybox, a program of the host. It is small, leaves interfaces to its script, and runs without root.

import { accessSync, constants } from 'node:fs'
import { EVENT_PROGRAM } from './lease-keeper.ts'

/** Where it is looked for, in this order: by itself, or as a part of busybox. Absolute paths: root runs it. */
const places: readonly (readonly string[])[] = [
  ['/usr/sbin/udhcpc'],
  ['/sbin/udhcpc'],
  ['/usr/bin/busybox', 'udhcpc'],
  ['/bin/busybox', 'udhcpc'],
]

/** How to get it, for messages. */
export const DHCP_CLIENT_REMEDY = 'install it: apt-get install busybox-static, or the package udhcpc'

/** The words that start it; undefined where there is none. */
export function findDhcpClient(): readonly string[] | undefined {
  return places.find(([path = '']) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** What the client is to say. */
export interface DhcpQuestion {
  readonly interfaceName: string
  /** Hex digits after the type: the same at every start, and nobody else's on the network (RFC 2132, option 61). */
  readonly clientId: string
  readonly hostname: string
  /** An address to ask for. */
  readonly preferred?: string
  /** Whether answers have to come as broadcasts: the MAC address is not the container's alone. */
  readonly broadcast: boolean
}

/** All of its command line. It asks until it is answered, and gives the lease back when it is told to end. */
export function dhcpClientCommand(client: readonly string[], question: DhcpQuestion): string[] {
  const { interfaceName, clientId, hostname, preferred, broadcast } = question
  return [
    ...client,
    ...['-f', '-R', '-i', interfaceName, '-s', EVENT_PROGRAM],
    // Packets may get lost in a switch that is just learning: often at first, and then every ten seconds.
    ...['-t', '8', '-T', '1', '-A', '10'],
    ...['-C', '-x', `0x3d:00${clientId}`, '-x', `hostname:${hostname}`],
    ...['search', 'mtu', 'staticroutes'].flatMap(option => ['-O', option]),
    ...(preferred === undefined ? [] : ['-r', preferred]),
    ...(broadcast ? ['-B'] : []),
  ]
}
