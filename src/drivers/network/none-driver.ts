// The network `none`: a namespace of the container's own with nothing but the loopback.

import { linkSet } from '../../kernel/netlink/link.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import type { Endpoint, Network, NetworkDriver, Sandbox } from '../../model/network.ts'
import { refuseSettings } from './host-driver.ts'

/** Containers have a namespace, and an endpoint without addresses. */
export class NoneDriver implements NetworkDriver {
  readonly name = 'none'
  readonly hasEndpoints = true

  validate(network: Network): Network {
    return refuseSettings(network)
  }

  async create(): Promise<void> {}

  async connect(_network: Network, endpoint: Endpoint, sandbox: Sandbox): Promise<void> {
    bringLoopbackUp(sandbox, endpoint.containerName)
  }

  async disconnect(): Promise<void> {}

  async remove(): Promise<void> {}

  async inspect(): Promise<Readonly<Record<string, unknown>>> {
    return {}
  }
}

/** Equivalent to: `ip -n $label link set dev lo up`. @throws SyscallError */
export function bringLoopbackUp(sandbox: Sandbox, label: string): void {
  const socket = openNetnsSocket(sandbox.netnsFd, label)
  try {
    socket.apply(linkSet('lo', { up: true }))
  } finally {
    socket.close()
  }
}
