// A published port as a caller asks for it: most of it has a default. Pure.

import { tryParseAddress } from '../lib/ip.ts'
import { TsrunError } from './errors.ts'
import type { PortMapping, Protocol } from './network.ts'

/** One published port as asked for. */
export interface PortRequest {
  /** 1 to 65535. */
  readonly containerPort: number
  /** 0 (default): any free one. */
  readonly hostPort?: number
  /** With host port 0, the first and the last host port to choose from. */
  readonly hostPortRange?: readonly [number, number]
  /** An address of the host, `0.0.0.0` or `::`; empty (default): all addresses of the families that the network has. */
  readonly hostIp?: string
  /** Default `tcp`. */
  readonly protocol?: Protocol
  /** Who carries it; default: what the network's option says. */
  readonly publishMode?: 'nat' | 'proxy'
}

/** The request with its defaults. @throws TsrunError invalid */
export function toPortMapping(request: PortRequest): PortMapping {
  const { containerPort, hostPort = 0, hostPortRange, hostIp = '', protocol = 'tcp', publishMode } = request
  const isPort = (port: number, least: number) => Number.isInteger(port) && port >= least && port <= 65535
  if (!isPort(containerPort, 1))
    throw invalid(`${containerPort} is no port of a container`, 'a port is a number from 1 to 65535')
  if (!isPort(hostPort, 0))
    throw invalid(`${hostPort} is no host port`, 'a host port is a number up to 65535; 0 is any free one')
  if (hostPortRange !== undefined) {
    const [first, last] = hostPortRange
    if (hostPort !== 0 || !isPort(first, 1) || !isPort(last, first))
      throw invalid(
        `${first} to ${last} is no range of host ports to choose from`,
        'the first comes before the last, both up to 65535, and the host port is 0',
      )
  }
  if (hostIp !== '' && tryParseAddress(hostIp) === undefined)
    throw invalid(`"${hostIp}" is no address`, 'give an address of the host, e.g. 127.0.0.1, or none')
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')
    throw invalid(`"${protocol}" is no protocol`, 'the protocols are tcp, udp and sctp')
  return {
    containerPort,
    hostPort,
    hostIp,
    protocol,
    ...(hostPortRange === undefined ? {} : { hostPortRange }),
    ...(publishMode === undefined ? {} : { publishMode }),
  }
}

function invalid(why: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'bad-port', `cannot publish a port: ${why}`, { hint })
}
