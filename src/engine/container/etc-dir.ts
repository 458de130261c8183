// Writes the container's hosts, hostname and resolv.conf into its run folder, from where they are bound into its /etc.

import { chownSync, readFileSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { hasCode } from '../../ffi/errno.ts'
import type { Container } from '../../model/container.ts'
import { toHostId } from '../../model/id-maps.ts'
import type { Endpoint } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { withoutPrefix } from '../network/connect-sandbox.ts'
import { buildHosts, buildResolvConf, onlyLoopback } from './etc-files.ts'

/** @returns the folder */
export function prepareEtc(
  context: EngineContext,
  container: Container,
  endpoints: readonly Endpoint[],
  hostname: string,
): string {
  const { spec } = container
  const directory = context.paths.run(container.id)
  const extra = (spec.extraHosts ?? []).map(entry =>
    entry.replace(/:host-gateway$/, `:${hostGateway(context, endpoints)}`),
  )
  const owner = hostRootOf(container)
  const addresses = endpoints.flatMap(endpoint => endpoint.addresses.map(withoutPrefix))
  // Mode 644: the container's unprivileged users read them too.
  const write = (file: string, text: string) => {
    const path = `${directory}/${file}`
    writeFileSync(path, text, { mode: 0o644 })
    // Its root writes to them, whoever that is on the host.
    if (owner !== undefined) chownSync(path, owner.uid, owner.gid)
  }
  write('hostname', `${hostname}\n`)
  write('hosts', buildHosts(hostname, addresses, extra))
  const chosen = { dns: spec.dns ?? [], search: spec.dnsSearch ?? [], options: spec.dnsOptions ?? [] }
  write('resolv.conf', buildResolvConf(hostResolvConf(), chosen))
  return directory
}

/** Whom the host knows the container's root as, where that is not its own root. */
function hostRootOf({ idMaps }: Container): { uid: number; gid: number } | undefined {
  if (idMaps === undefined) return undefined
  return { uid: toHostId(idMaps.uid, 0) ?? 0, gid: toHostId(idMaps.gid, 0) ?? 0 }
}

/** The host's resolver configuration; behind systemd-resolved's stub, the servers that it asks itself. */
function hostResolvConf(): string {
  const text = readOrEmpty('/etc/resolv.conf')
  return onlyLoopback(text) ? readOrEmpty('/run/systemd/resolve/resolv.conf') || text : text
}

/** The address under which the container reaches the host: its gateway. */
function hostGateway(context: EngineContext, endpoints: readonly Endpoint[]): string {
  const network = context.networks.list().find(n => n.id === endpoints[0]?.networkId)
  const gateway = network?.pools[0]?.gateway
  if (gateway !== undefined) return gateway
  const outer = Object.values(networkInterfaces())
    .flatMap(list => list ?? [])
    .find(a => !a.internal && a.family === 'IPv4')
  return outer?.address ?? '127.0.0.1'
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return ''
    throw error
  }
}
