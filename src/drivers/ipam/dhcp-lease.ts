// What a DHCP server has granted, out of the variables that udhcpc tells its script. Whoever is on the network can have sent them:
// what is no address, or one that nobody can have, is not taken. Pure.

import {
  contains,
  formatAddress,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parsePrefix,
  tryParseAddress,
  tryParsePrefix,
} from '../../lib/ip.ts'
import type { Lease, LeasedRoute } from '../../model/lease.ts'

const mostSearchDomains = 16
const mostServers = 6
const mostRoutes = 64
/** What a lease is worth whose server says nothing. */
const defaultSeconds = 3600

/** @param text lines `name=value` @param obtainedAt RFC 3339 @returns undefined where no usable address is in it */
export function parseLease(text: string, obtainedAt: string): Lease | undefined {
  const values = valuesOf(text)
  const own = address4(values.get('ip'))
  if (own === undefined || isUnusable(own)) return undefined
  const length = prefixLength(values)
  const { gateway, routes } = routesOf(values)
  const mtu = Number(values.get('mtu'))
  const seconds = Number(values.get('lease'))
  return {
    address: `${own}/${length}`,
    ...(gateway === undefined ? {} : { gateway }),
    routes,
    // A server on the loopback would be the host's own: it is asked from there.
    dnsServers: addresses(values.get('dns'))
      .filter(server => !isUnusable(server))
      .slice(0, mostServers),
    searchDomains: searchDomains(values),
    // RFC 791; the largest that an Ethernet can be told.
    ...(Number.isInteger(mtu) && mtu >= 576 && mtu <= 65535 ? { mtu } : {}),
    server: address4(values.get('serverid')) ?? '',
    seconds: Number.isInteger(seconds) && seconds > 0 ? seconds : defaultSeconds,
    obtainedAt,
  }
}

/** What a server says when it refuses. */
export function parseRefusal(text: string): string {
  const values = valuesOf(text)
  const server = address4(values.get('serverid'))
  const message = (values.get('message') ?? '').replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
  return `${server ?? 'a server'} refused (NAK)${message === '' ? '' : `: ${message}`}`
}

function valuesOf(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').flatMap(line => {
      const at = line.indexOf('=')
      return at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
}

function prefixLength(values: ReadonlyMap<string, string>): number {
  const mask = Number(values.get('mask') ?? Number.NaN)
  return Number.isInteger(mask) && mask >= 1 && mask <= 32 ? mask : 32
}

/** Classless routes (RFC 3442) are instead of the router, not beside it. */
function routesOf(values: ReadonlyMap<string, string>): { gateway: string | undefined; routes: LeasedRoute[] } {
  const words = wordsOf(values.get('staticroutes'))
  const pairs: { destination: IpPrefix; gateway: string }[] = []
  for (let index = 0; index + 1 < words.length && pairs.length < mostRoutes; index += 2) {
    const destination = tryParsePrefix(words[index] ?? '')
    const gateway = address4(words[index + 1])
    if (destination?.family === 4 && gateway !== undefined) pairs.push({ destination: networkOf(destination), gateway })
  }
  if (pairs.length === 0)
    return { gateway: addresses(values.get('router')).find(router => !isUnusable(router)), routes: [] }
  const isDefault = ({ destination }: { destination: IpPrefix }) => destination.length === 0
  return {
    gateway: pairs.find(pair => isDefault(pair) && !isUnusable(pair.gateway))?.gateway,
    routes: pairs
      .filter(pair => !isDefault(pair))
      .map(({ destination, gateway }) => ({
        destination: formatPrefix(destination),
        ...(gateway === '0.0.0.0' ? {} : { gateway }),
      })),
  }
}

/** The list of domains (RFC 3397) is instead of the one. */
function searchDomains(values: ReadonlyMap<string, string>): string[] {
  const listed = wordsOf(values.get('search')).filter(isDomain)
  const domains = listed.length > 0 ? listed : wordsOf(values.get('domain')).filter(isDomain)
  return domains.map(domain => domain.replace(/\.$/, '').toLowerCase()).slice(0, mostSearchDomains)
}

function isDomain(word: string): boolean {
  const labels = word.replace(/\.$/, '').split('.')
  return word.length <= 253 && labels.every(label => /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/.test(label))
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter(word => word !== '')
}

function addresses(text: string | undefined): string[] {
  return [...new Set(wordsOf(text).flatMap(word => address4(word) ?? []))]
}

function address4(text: string | undefined): string | undefined {
  const parsed = text === undefined ? undefined : tryParseAddress(text)
  return parsed?.family === 4 ? formatAddress(parsed) : undefined
}

const nobodys = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3'].map(parsePrefix)

function isUnusable(address: string): boolean {
  const parsed = tryParseAddress(address)
  return parsed === undefined || nobodys.some(prefix => contains(prefix, parsed))
}
