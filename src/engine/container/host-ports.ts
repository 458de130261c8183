// Host ports that the user left open are chosen here, once: they go into the container's record and stay over restarts. Only
// where somebody else has such a port meanwhile another one is chosen.

import { closeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { AF_INET, bind, call, SOCK_DGRAM, SOCK_STREAM, socket } from '../../ffi/libc.ts'
import { warn } from '../../lib/warnings.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { PortMapping, Protocol } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'

/** How often a start may find a port of its choice taken by somebody who chose the same in that moment. */
const TRIES = 10

/** The container's ports, each with a host port. Writes the record when one had to be chosen. */
export function chooseHostPorts(context: EngineContext, container: Container): readonly PortMapping[] {
  if (container.ports.every(port => port.hostPort !== 0)) return container.ports
  const ports = withHostPorts(container.ports, portsInUse(context, container))
  context.store.write({ ...container, ports })
  return ports
}

/**
 * The ports that other containers have, where `container` chooses from a range: those of a start that is under way, or of the real
 * host in a rehearsal, are not found by trying.
 */
export function portsInUse({ store }: EngineContext, { id, ports }: Pick<Container, 'id' | 'ports'>): PortMapping[] {
  if (ports.every(port => port.hostPortRange === undefined)) return []
  const others = store.runs().flatMap(({ endpoints }) => endpoints.filter(({ containerId }) => containerId !== id))
  return others.flatMap(endpoint => endpoint.ports)
}

/**
 * The same ports, each with a host port that none of them and none of `others` has; writes nothing.
 * @throws TsrunError conflict where all of a range to choose from are taken
 */
export function withHostPorts(ports: readonly PortMapping[], others: readonly PortMapping[] = []): PortMapping[] {
  const given = new Set([...ports, ...others].map(placeOf))
  const sockets: number[] = []
  try {
    return ports.map(port => {
      if (port.hostPort !== 0) return port
      if (port.hostPortRange !== undefined) {
        const chosen = firstFree(port, port.hostPortRange, given)
        given.add(placeOf(chosen))
        return chosen
      }
      for (;;) {
        const chosen: PortMapping = { ...port, hostPort: freePort(port.protocol, sockets), isChosen: true }
        if (!given.has(placeOf(chosen))) return chosen
      }
    })
  } finally {
    for (const fd of sockets) closeSync(fd)
  }
}

/** @throws TsrunError conflict where all are taken */
function firstFree(
  port: PortMapping,
  [first, last]: readonly [number, number],
  given: ReadonlySet<string>,
): PortMapping {
  for (let hostPort = first; hostPort <= last; hostPort++) {
    const chosen: PortMapping = { ...port, hostPort, isChosen: true }
    if (!given.has(placeOf(chosen)) && !isTaken(chosen)) return chosen
  }
  const place = `${port.containerPort}/${port.protocol}`
  const message = `cannot publish port ${place}: each of the host ports from ${first} to ${last} is taken`
  throw new TsrunError('conflict', 'ports-taken', message, { hint: `-p ${place} takes any free host port` })
}

function placeOf({ protocol, hostPort }: PortMapping): string {
  return `${hostPort}/${protocol}`
}

/**
 * A port that nobody is bound to now; the kernel picks it out of ip_local_port_range.
 * @param sockets is given the one that has the port: as long as it is open the kernel does not pick that again
 */
function freePort(protocol: Protocol, sockets: number[]): number {
  const fd = socket(AF_INET, protocol === 'udp' ? SOCK_DGRAM : SOCK_STREAM, 0)
  sockets.push(fd)
  bind(fd, anyAddress(0))
  const address = Buffer.alloc(16)
  const length = new Uint32Array([16])
  call('getsockname', 'int getsockname(int, void *, void *)', [fd, address, length])
  return address.readUInt16BE(2)
}

/** struct sockaddr_in (netinet/in.h): family in host order, port and address in network order. */
function anyAddress(port: number): Buffer {
  const address = Buffer.alloc(16)
  address.writeUInt16LE(AF_INET, 0)
  address.writeUInt16BE(port, 2)
  return address
}

/**
 * Starts a container again with other host ports where somebody has one that tsrun had chosen: a program of the host while the
 * container was stopped, or another start that chose the same at the same time. Ports of the user's choice stay.
 * @param start takes back what it did when it throws
 */
export async function withFreePorts<T>(context: EngineContext, id: string, start: () => Promise<T>): Promise<T> {
  const before = context.store.find(id)
  for (let tries = 1; ; tries++) {
    try {
      const started = await start()
      if (tries > 1) tellMoved(before, context.store.find(id))
      return started
    } catch (error) {
      const isPort = error instanceof TsrunError && error.code === 'port-taken'
      if (!isPort || tries === TRIES || !moveTakenPorts(context, id, error.message)) throw error
    }
  }
}

/** @returns false where all that tsrun has chosen are free: then it was another one that is taken */
function moveTakenPorts(context: EngineContext, id: string, message: string): boolean {
  const { store } = context
  const { ports } = store.find(id)
  // Of another start that is under way the rules come first and the socket later: then only the message knows the port.
  const isNamed = (port: PortMapping) => message.includes(`:${placeOf(port)} `)
  const isLost = ports.map(port => port.isChosen === true && (isNamed(port) || isTaken(port)))
  if (!isLost.includes(true)) return false
  const open = ports.map((port, index) => (isLost[index] === true ? { ...port, hostPort: 0 } : port))
  const moved = withHostPorts(open, [...ports, ...portsInUse(context, { id, ports })])
  store.change(id, current => ({ ...current, ports: moved }))
  return true
}

/** A connection that is left in TIME_WAIT makes it true as well. */
function isTaken({ protocol, hostPort }: PortMapping): boolean {
  const fd = socket(AF_INET, protocol === 'udp' ? SOCK_DGRAM : SOCK_STREAM, 0)
  try {
    bind(fd, anyAddress(hostPort))
    return false
  } catch (error) {
    if (hasCode(error, 'EADDRINUSE')) return true
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Of a first start nobody knows the ports yet. */
function tellMoved(before: Container, after: Container): void {
  for (const [index, old] of before.ports.entries()) {
    const now = after.ports[index]
    if (old.hostPort === 0 || now === undefined || now.hostPort === old.hostPort) continue
    const place = `port ${now.containerPort}/${now.protocol} of "${after.name}" is published on ${now.hostPort} now`
    warn(
      new TsrunError('conflict', 'port-moved', `${place}: somebody else has ${old.hostPort}`, {
        hint: `for one that stays choose it yourself, e.g. -p 8080:${now.containerPort}`,
      }),
    )
  }
}
