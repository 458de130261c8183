// A DHCP server for the tests, and what it and the clients say to each other, as tcpdump sees it.

import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Running } from './command.ts'
import type { Namespace } from './namespace.ts'
import { addresses, inWorld, type World } from './world.ts'

export interface DhcpServerOptions {
  readonly first: string
  readonly last: string
  /** Default 600. */
  readonly leaseSeconds?: number
  /** Further lines of udhcpd.conf. */
  readonly lines?: readonly string[]
}

/** The server's files. */
function folderOf(world: World): string {
  return join(world.dir, 'work', 'dhcp')
}

/** A world for one test, as inWorld(), on whose LAN there may be servers. */
export function inLan(test: (world: World) => Promise<void>): () => Promise<void> {
  return inWorld(async world => {
    try {
      await test(world)
    } finally {
      await world.neighbour.stopBackground()
      rmSync(folderOf(world), { recursive: true, force: true })
    }
  })
}

/** udhcpd on the neighbour's interface. What it has granted is in a file, and known to the next one that is started. */
export async function serveDhcp(world: World, options: DhcpServerOptions): Promise<Running> {
  const file = (name: string) => join(folderOf(world), name)
  mkdirSync(folderOf(world), { recursive: true })
  const { first, last, leaseSeconds = 600, lines = [] } = options
  appendFileSync(file('udhcpd.leases'), '')
  const config = [
    `start ${first}`,
    `end ${last}`,
    'interface eth0',
    'max_leases 20',
    'min_lease 1',
    'auto_time 1',
    `pidfile ${file('udhcpd.pid')}`,
    `lease_file ${file('udhcpd.leases')}`,
    'opt subnet 255.255.255.0',
    `opt router ${addresses.router}`,
    `opt lease ${leaseSeconds}`,
    ...lines,
  ]
  writeFileSync(file('udhcpd.conf'), `${config.join('\n')}\n`)
  // -a: how long it waits for an answer to its ARP question whether an address is taken.
  const words = ['udhcpd', '-f', '-a', '50', '-I', addresses.neighbour, file('udhcpd.conf')]
  const server = world.neighbour.start('busybox', words, { env: world.env })
  await server.waitFor(/udhcpd: started/)
  return server
}

/**
 * A server that knows its clients by their identifiers alone, and answers as many requests with a NAK as `refuse` says. It prints a
 * line for each message: kind and identifier.
 */
export async function serveStrictDhcp(
  world: World,
  options: { readonly first: string; readonly leaseSeconds: number; readonly link?: string; readonly own?: string },
): Promise<{ readonly server: Running; refuse(requests: number): void }> {
  mkdirSync(folderOf(world), { recursive: true })
  const file = join(folderOf(world), 'nak')
  const refuse = (requests: number) => writeFileSync(file, String(requests))
  const program = fileURLToPath(new URL('dhcp-server.py', import.meta.url))
  const { first, leaseSeconds, link = 'eth0', own } = options
  const [address, router] = own === undefined ? [addresses.neighbour, addresses.router] : [own, own]
  const words = [link, address, first, '4', String(leaseSeconds), router, file]
  const server = world.neighbour.start('python3', [program, ...words], { env: world.env })
  await server.waitFor(/ready/)
  return { server, refuse }
}

/** Ends a server at once: it says nothing to anybody, and writes nothing down. */
export async function stopDhcp(server: Running): Promise<void> {
  server.kill('SIGKILL')
  await server.result
}

/** What is said on the ports of DHCP, from now on. */
export async function watchDhcp(place: Namespace): Promise<Running> {
  const words = ['-l', '-n', '-v', '-i', 'eth0', 'udp port 67 or udp port 68']
  const watcher = place.start('tcpdump', words)
  await watcher.waitFor(/listening on/)
  return watcher
}

/** The kinds of DHCP messages that were seen, in their order, with the client's own address where it says one. */
export function messagesOf(watcher: Running): { readonly kind: string; readonly client: string | undefined }[] {
  return watcher
    .stdout()
    .split(/\n(?=\d\d:\d\d:\d\d\.)/)
    .flatMap(packet => {
      const kind = /DHCP-Message.*: (\w+)/.exec(packet)?.[1]
      return kind === undefined ? [] : [{ kind, client: /Client-IP ([\d.]+)/.exec(packet)?.[1] }]
    })
}
