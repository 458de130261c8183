// Host ports that the user left open are chosen here, once: they go into the container's record and stay over restarts.

import { closeSync } from 'node:fs'
import { AF_INET, bind, call, SOCK_DGRAM, SOCK_STREAM, socket } from '../../ffi/libc.ts'
import type { Container } from '../../model/container.ts'
import type { PortMapping, Protocol } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'

/** The container's ports, each with a host port. Writes the record when one had to be chosen. */
export function chooseHostPorts(context: EngineContext, container: Container): readonly PortMapping[] {
  if (container.ports.every(port => port.hostPort !== 0)) return container.ports
  const ports = withHostPorts(container.ports)
  context.store.write({ ...container, ports })
  return ports
}

/** The same ports, each with a host port; writes nothing. */
export function withHostPorts(ports: readonly PortMapping[]): PortMapping[] {
  return ports.map(port => (port.hostPort === 0 ? { ...port, hostPort: freePort(port.protocol) } : port))
}

/** A port that nobody is bound to now; the kernel picks it out of ip_local_port_range. */
function freePort(protocol: Protocol): number {
  const fd = socket(AF_INET, protocol === 'udp' ? SOCK_DGRAM : SOCK_STREAM, 0)
  try {
    // struct sockaddr_in (netinet/in.h): family in host order, port and address in network order
    const address = Buffer.alloc(16)
    address.writeUInt16LE(AF_INET, 0)
    bind(fd, address)
    const length = new Uint32Array([16])
    call('getsockname', 'int getsockname(int, void *, void *)', [fd, address, length])
    return address.readUInt16BE(2)
  } finally {
    closeSync(fd)
  }
}
