// Published ports in docker's JSON form. Pure.

import type { PortMapping } from '../model/network.ts'

/** `80/tcp` -> where it can be reached on the host. */
export function portMap(ports: readonly PortMapping[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const map: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const port of ports) {
    const key = `${port.containerPort}/${port.protocol}`
    map[key] = [...(map[key] ?? []), { HostIp: port.hostIp, HostPort: String(port.hostPort) }]
  }
  return map
}
