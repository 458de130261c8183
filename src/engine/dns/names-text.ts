// What tsrun-dns is told about one container, as lines (native/dns_table.h): its names and addresses on each network, what
// the host is called, and where its other queries go. All policy about names is here. Pure.

import { contains, parseAddress, parsePrefix } from '../../lib/ip.ts'
import { type Endpoint, type Network, namesOf } from '../../model/network.ts'

export interface NamesInput {
  /** In the container's order: a name that is known on several networks means that of the first. */
  readonly endpoints: readonly Endpoint[]
  /** All networks. */
  readonly networks: readonly Network[]
  /** The network that gives no names, as docker's `bridge` does not. */
  readonly namelessId: string | undefined
  /** `--dns`; none: the host's servers. */
  readonly servers: readonly string[]
  /** The addresses under which the container reaches the host. */
  readonly host: readonly string[]
}

/** @returns lines, each ended by a line feed */
export function buildNamesText(input: NamesInput): string {
  const lines = [
    ...forwardLines(input),
    ...input.host.map(address => `host ${address}`),
    ...input.endpoints.flatMap(endpoint => endpointLines(endpoint, input)),
  ]
  return lines.map(line => `${line}\n`).join('')
}

/**
 * A container that is only on internal networks, or on none any more, must not get a word outside, and a query is one
 * (CVE-2024-29018): servers of its own are asked where they are on its networks, and nobody else.
 */
function forwardLines({ endpoints, networks, servers }: NamesInput): string[] {
  const joined = networks.filter(network => endpoints.some(endpoint => endpoint.networkId === network.id))
  const isShutIn = joined.every(network => network.internal)
  if (servers.length === 0) return [isShutIn ? 'forward none' : 'forward host']
  const pools = joined.flatMap(network => network.pools.map(pool => parsePrefix(pool.subnet)))
  const isInside = (server: string) => pools.some(pool => contains(pool, parseAddress(server)))
  const usable = isShutIn ? servers.filter(isInside) : servers
  return ['forward none', ...usable.map(server => `server ${server}`)]
}

function endpointLines(endpoint: Endpoint, { networks, namelessId }: NamesInput): string[] {
  const network = networks.find(({ id }) => id === endpoint.networkId)
  if (network === undefined || network.id === namelessId) return []
  const names = [...new Set(namesOf(endpoint).map(asAsked))].filter(isName)
  const suffix = network.name.toLowerCase()
  const [own] = names
  return [
    `endpoint ${network.id}`,
    ...endpoint.addresses.filter(address => address !== '').map(address => `address ${address.replace(/\/.*/, '')}`),
    ...names.flatMap(name => [`name ${name}`, `name ${name}.${suffix}`]),
    ...(own === undefined ? [] : [`reverse ${own}.${suffix}`]),
  ]
}

/** Names beyond ASCII come in queries as IDNA has it, `xn--...`; no other upper case either. */
function asAsked(name: string): string {
  if (!/[\x80-\u{10ffff}]/u.test(name)) return name.toLowerCase()
  const url = `http://${name}`
  return URL.canParse(url) ? new URL(url).hostname : ''
}

/** What can be a name in a query: anything else would never be asked for. */
function isName(name: string): boolean {
  return name.length <= 253 && /^[\x21-\x7e]+$/.test(name) && name.split('.').every(label => /^.{1,63}$/.test(label))
}
