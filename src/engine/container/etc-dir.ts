// Writes the container's hosts, hostname and resolv.conf into its run folder, from where they are bound into its /etc.

import { chownSync, readFileSync, writeFileSync } from 'node:fs'
import type { Container } from '../../model/container.ts'
import { toHostId } from '../../model/id-maps.ts'
import type { Endpoint } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { chosenDomains, chosenServers } from '../dns/chosen-servers.ts'
import { hostAddresses } from '../dns/host-addresses.ts'
import { hostResolvConf } from '../dns/host-resolv-conf.ts'
import { withoutPrefix } from '../network/address-text.ts'
import { buildHosts, buildResolvConf, buildResolverConf, type ResolverOptions } from './etc-files.ts'

/** What of the network shows in the files. */
export interface EtcNetwork {
  readonly endpoints: readonly Endpoint[]
  readonly hostname: string
  /** Whether tsrun-dns answers this container. */
  readonly hasResolver: boolean
}

/** @returns the folder */
export function prepareEtc(context: EngineContext, container: Container, network: EtcNetwork): string {
  const { spec } = container
  const directory = context.paths.run(container.id)
  const owner = hostRootOf(container)
  // Mode 644: the container's unprivileged users read them too.
  const write = (file: string, text: string) => {
    const path = `${directory}/${file}`
    writeFileSync(path, text, { mode: 0o644 })
    // Its root writes to them, whoever that is on the host.
    if (owner !== undefined) chownSync(path, owner.uid, owner.gid)
  }
  write('hostname', `${network.hostname}\n`)
  const other = sharedNetworkOwner(context, container)
  if (other !== undefined) {
    // One network, one set of names: as the other container has them.
    for (const file of ['hosts', 'resolv.conf']) write(file, readFileSync(context.paths.runFile(other, file), 'utf8'))
    return directory
  }
  const addresses = network.endpoints.flatMap(endpoint => endpoint.addresses.map(withoutPrefix))
  const toAddress = (entry: string) =>
    entry.replace(/:host-gateway$/, () => `:${hostGateway(context, network.endpoints)}`)
  write('hosts', buildHosts(network.hostname, addresses, (spec.extraHosts ?? []).map(toAddress)))
  write('resolv.conf', resolvConfFor(container, network.hasResolver, network.endpoints))
  return directory
}

/** Whom the host knows the container's root as, where that is not its own root. */
function hostRootOf({ idMaps }: Container): { uid: number; gid: number } | undefined {
  if (idMaps === undefined) return undefined
  return { uid: toHostId(idMaps.uid, 0) ?? 0, gid: toHostId(idMaps.gid, 0) ?? 0 }
}

/** What tsrun writes into the container's resolv.conf. @param endpoints those that it has */
export function resolvConfFor({ spec }: Container, hasResolver: boolean, endpoints: readonly Endpoint[]): string {
  const chosen: ResolverOptions = {
    dns: chosenServers(spec, endpoints),
    search: chosenDomains(spec, endpoints),
    options: spec.dnsOptions ?? [],
  }
  const build = hasResolver ? buildResolverConf : buildResolvConf
  return build(hostResolvConf(), chosen)
}

/** The id of the container whose network this one shares. */
function sharedNetworkOwner(context: EngineContext, { spec }: Container): string | undefined {
  const mode = spec.networks?.[0]?.network
  return mode?.startsWith('container:') === true ? context.store.find(mode.slice('container:'.length)).id : undefined
}

/** The address under which the container reaches the host. */
function hostGateway(context: EngineContext, endpoints: readonly Endpoint[]): string {
  return hostAddresses(context.networks.list(), endpoints)[0] ?? '127.0.0.1'
}
