// What a network's options say about its traffic: read by the driver that makes the links and by the firewall, which know
// nothing of each other. Options are in the form that the network driver's `validate` has given them. Pure.

import type { Network } from './network.ts'

/** How containers of one address family meet the world outside. */
export type GatewayMode =
  /** They leave under an address of the host, and are reached through published ports alone. */
  | 'nat'
  /** As `nat`, but whoever has a route to the subnet reaches every port of a container. */
  | 'nat-unprotected'
  /** They keep their address; published ports are also open on the container's own address. */
  | 'routed'

export const gatewayModes: readonly GatewayMode[] = ['nat', 'nat-unprotected', 'routed']

/** Who carries published ports: the kernel by translation, or a process of the host, so that its INPUT rules hold. */
export type PublishMode = 'nat' | 'proxy'

export interface NetworkPolicy {
  /** Containers of the network reach each other. Default true. */
  readonly icc: boolean
  /** Packets of other networks are kept out. Default true; two networks that both say false reach each other. */
  readonly isolate: boolean
  /** Containers reach ports that are published on the host, their own included. Default true. */
  readonly hairpin: boolean
  readonly mode: { readonly 4: GatewayMode; readonly 6: GatewayMode }
  /** Whether the sender's address is replaced by the host's on the way out. */
  readonly masquerade: { readonly 4: boolean; readonly 6: boolean }
  /** The address of the host to use for that; else that of the interface a packet leaves by. */
  readonly sourceAddress: { readonly 4?: string; readonly 6?: string }
  /** Where ports that name no host address are published; absent: on all. */
  readonly hostBinding: readonly string[]
  readonly publishMode: PublishMode
  /** How many connections each container may have at a time; absent: as many as the host's table takes. */
  readonly connections?: number
}

/** The policy that the options of `network` amount to. */
export function policyOf({ options }: Pick<Network, 'options'>): NetworkPolicy {
  const modeOf = (family: 4 | 6) => (options[`mode${family}`] ?? options.mode ?? 'nat') as GatewayMode
  const mode = { 4: modeOf(4), 6: modeOf(6) }
  const masquerade = options.masquerade ?? 'true'
  const sources = masquerade === 'true' || masquerade === 'false' ? [] : masquerade.split(',')
  const v4 = sources.find(address => !address.includes(':'))
  const v6 = sources.find(address => address.includes(':'))
  const replaces = (family: 4 | 6) => masquerade !== 'false' && mode[family] !== 'routed'
  return {
    icc: options.icc !== 'false',
    isolate: options.isolate !== 'false',
    hairpin: options.hairpin !== 'false',
    mode,
    masquerade: { 4: replaces(4), 6: replaces(6) },
    sourceAddress: { ...(v4 === undefined ? {} : { 4: v4 }), ...(v6 === undefined ? {} : { 6: v6 }) },
    hostBinding: options['host-binding']?.split(',') ?? [],
    publishMode: options['publish-mode'] === 'proxy' ? 'proxy' : 'nat',
    ...(options.connections === undefined ? {} : { connections: Number(options.connections) }),
  }
}

/**
 * The group (`ip link set ... group`) of host interfaces whose containers must not reach each other inside their bridge: the
 * network driver sets it, the firewall drops frames between two such interfaces.
 */
export const isolatedPortGroup = 0x7473

/** The same in a further bridge of a network, where no packet is translated and so none is excepted. */
export const isolatedFurtherGroup = 0x7474
