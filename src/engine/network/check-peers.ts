// Whether a network may have the peers that a user gives it: first of all, its driver has to know what peers are.

import { TsrunError } from '../../model/errors.ts'
import type { Network, NetworkDriver } from '../../model/network.ts'

/** @throws TsrunError invalid */
export function checkPeers(driver: NetworkDriver, network: Network): void {
  if (network.peers === undefined) return
  if (driver.checkPeers === undefined) throw noPeers(network)
  driver.checkPeers(network, network.peers)
}

/** The error for peers of a network whose driver knows none. */
export function noPeers({ name, driver }: Pick<Network, 'name' | 'driver'>): TsrunError {
  return new TsrunError('invalid', 'no-peers', `cannot give network "${name}" peers: its driver is "${driver}"`, {
    hint: 'networks of the driver "routed" have peers: tsrun network create -d routed --peer SUBNET=ADDRESS ...',
  })
}
