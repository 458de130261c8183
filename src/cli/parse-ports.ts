// `-p` in all its forms: 80, 8080:80, 8080:80/udp, 127.0.0.1:8080:80, [::1]:8080:80, 8000-8010:80-90, and 8000-8010:80, which is one of
// them. Pure.

import { formatAddress, tryParseAddress } from '../lib/ip.ts'
import { TsrunError } from '../model/errors.ts'
import type { PortMapping } from '../model/network.ts'

/** @returns one mapping a port; host port 0 stands for any free one @throws TsrunError invalid */
export function parsePublish(text: string): PortMapping[] {
  const slash = text.lastIndexOf('/')
  const protocol = slash < 0 ? 'tcp' : text.slice(slash + 1).toLowerCase()
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')
    throw invalid(text, `"${protocol}" is no protocol: tcp, udp or sctp`)
  const { hostIp, host, container } = splitParts(text, slash < 0 ? text : text.slice(0, slash))
  const containerPorts = parseRange(text, container)
  const hostPorts = host === '' ? undefined : parseRange(text, host, 0)
  if (hostPorts !== undefined && hostPorts.length !== containerPorts.length && containerPorts.length !== 1)
    throw invalid(text, `${hostPorts.length} host ports do not fit ${containerPorts.length} container ports`)
  const [containerPort] = containerPorts
  const [first, last] = [hostPorts?.[0], hostPorts?.at(-1)]
  if (first !== undefined && last !== undefined && first < last && containerPorts.length === 1) {
    if (first === 0) throw invalid(text, '"0" is no port from 1 to 65535')
    return [{ protocol, hostIp, hostPort: 0, hostPortRange: [first, last], containerPort: containerPort ?? 0 }]
  }
  return containerPorts.map((containerPort, index) => ({
    protocol,
    hostIp,
    hostPort: hostPorts?.[index] ?? 0,
    containerPort,
  }))
}

/** `--publish-mode`. @throws TsrunError invalid */
export function parsePublishMode(text: string): 'nat' | 'proxy' {
  if (text === 'nat' || text === 'proxy') return text
  throw new TsrunError('invalid', 'publish-mode', `invalid value "${text}" for --publish-mode`, {
    hint: 'nat: the kernel translates addresses; proxy: a process of the host listens, so that its INPUT rules decide',
  })
}

/** `--expose`: `80`, `80/udp`, `80-90/tcp`. @returns `80/tcp`, one a port @throws TsrunError invalid */
export function parseExpose(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text)
  const first = Number(match?.[1])
  const last = Number(match?.[2] ?? match?.[1])
  if (match === null || first < 1 || last > 65535 || last < first)
    throw new TsrunError('invalid', 'expose', `invalid value "${text}" for --expose`, {
      hint: 'PORT[-PORT][/PROTOCOL], e.g. 80, 53/udp or 8000-8010',
    })
  const protocol = (match[3] ?? 'tcp').toLowerCase()
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`)
}

function splitParts(text: string, rest: string): { hostIp: string; host: string; container: string } {
  const bracketed = /^\[([^\]]*)\]:(.*)$/.exec(rest)
  if (bracketed !== null) {
    const [host = '', container, ...more] = (bracketed[2] ?? '').split(':')
    if (container === undefined || more.length > 0) throw invalid(text, 'after [ADDRESS] comes :HOSTPORT:CONTAINERPORT')
    if (bracketed[1] === '') throw invalid(text, 'there is no address in the brackets')
    return { hostIp: parseIp(text, bracketed[1] ?? ''), host, container }
  }
  if (rest.startsWith('['))
    throw invalid(
      text,
      rest.includes(']') ? 'after [ADDRESS] comes :HOSTPORT:CONTAINERPORT' : 'the bracket is not closed',
    )
  const parts = rest.split(':')
  if (parts.length === 1) return { hostIp: '', host: '', container: parts[0] ?? '' }
  if (parts.length === 2) return { hostIp: '', host: parts[0] ?? '', container: parts[1] ?? '' }
  if (parts.length === 3)
    return { hostIp: parseIp(text, parts[0] ?? ''), host: parts[1] ?? '', container: parts[2] ?? '' }
  throw invalid(text, 'too many colons; an IPv6 address stands in brackets: [::1]:8080:80')
}

function parseIp(text: string, ip: string): string {
  if (ip === '') return ''
  const address = tryParseAddress(ip)
  if (address === undefined) throw invalid(text, `"${ip}" is no IP address`)
  return formatAddress(address)
}

function parseRange(text: string, range: string, minimum = 1): number[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range)
  const first = Number(match?.[1])
  const last = Number(match?.[2] ?? match?.[1])
  if (match === null || first < minimum || last > 65535) throw invalid(text, `"${range}" is no port from 1 to 65535`)
  if (last < first) throw invalid(text, `the range ${range} runs backwards`)
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

function invalid(text: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'publish', `cannot publish "${text}": ${reason}`, {
    hint: '[ADDRESS:][HOSTPORT:]CONTAINERPORT[/PROTOCOL], e.g. -p 8080:80, -p 127.0.0.1:53:53/udp, -p 8000-8010:8000-8010',
  })
}
