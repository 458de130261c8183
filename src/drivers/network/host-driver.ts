// The network `host`: the container shares the host's namespace, so there is nothing to make.

import { TsrunError } from '../../model/errors.ts'
import type { Network, NetworkDriver } from '../../model/network.ts'
import { refuseLeases } from './driver-options.ts'

/** Containers of such a network have no namespace, no addresses and no published ports of their own. */
export class HostDriver implements NetworkDriver {
  readonly name = 'host'
  readonly hasEndpoints = false

  validate(network: Network): Network {
    return refuseSettings(network)
  }

  async create(): Promise<void> {}

  async connect(network: Network): Promise<void> {
    throw new Error(`the network "${network.name}" has no endpoints`)
  }

  async disconnect(): Promise<void> {}

  async remove(): Promise<void> {}

  async inspect(): Promise<Readonly<Record<string, unknown>>> {
    return {}
  }
}

/** For drivers without subnets and options. @throws TsrunError invalid when the network has any */
export function refuseSettings(network: Network): Network {
  refuseLeases(network, `the driver "${network.driver}" gives them no interface`)
  const [option] = Object.keys(network.options)
  const [pool] = network.pools
  const what = option !== undefined ? `option "${option}"` : pool !== undefined ? `subnet ${pool.subnet}` : undefined
  if (what === undefined) return network
  throw new TsrunError(
    'invalid',
    'unknown-option',
    `cannot create network "${network.name}": the driver "${network.driver}" takes no ${what}`,
    { hint: 'leave it out, or use the driver "bridge"' },
  )
}
