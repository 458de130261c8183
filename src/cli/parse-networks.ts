// `--network`, and the flags with addresses that go with it: --ip, --ip6, --mac-address, --add-host, --dns. Pure.

import { formatAddress, tryParseAddress } from '../lib/ip.ts'
import type { NetworkAttachment } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { tryParseCsv } from './parse-csv.ts'
import { parsePairs } from './parse-pairs.ts'

/** What each key of `--network` sets; several keys may mean one thing, since docker's and podman's differ. */
const networkKeys = {
  name: 'name',
  ip: 'ip',
  ip6: 'ip6',
  mac: 'mac',
  'mac-address': 'mac',
  alias: 'alias',
  interface: 'interface',
  interface_name: 'interface',
  'gw-priority': 'gw-priority',
  'link-local-ip': 'link-local-ip',
  'driver-opt': 'driver-opt',
} as const

/** Flags of `run` that are the first network's. */
export interface FirstNetworkFlags {
  readonly ip: string | undefined
  readonly ip6: string | undefined
  readonly mac: string | undefined
  readonly aliases: readonly string[]
  readonly linkLocalIps: readonly string[]
}

/** @throws TsrunError invalid */
export function parseNetworks(texts: readonly string[], own: FirstNetworkFlags): NetworkAttachment[] {
  const [first, ...others] = (texts.length > 0 ? texts : ['bridge']).map(parseNetwork)
  if (first === undefined) return []
  const aliases = [...(first.aliases ?? []), ...own.aliases]
  const ownLinkLocal = own.linkLocalIps.map(address => parseIpFlag('--link-local-ip', address))
  const linkLocalIps = [...(first.linkLocalIps ?? []), ...ownLinkLocal]
  return [
    {
      ...first,
      ...toIp('--ip', own.ip),
      ...toIp6('--ip6', own.ip6),
      ...toMac('--mac-address', own.mac),
      ...(aliases.length === 0 ? {} : { aliases }),
      ...(linkLocalIps.length === 0 ? {} : { linkLocalIps }),
    },
    ...others,
  ]
}

/**
 * `NAME`, docker's `name=NAME,ip=ADDRESS,..`, or podman's `NAME:ip=ADDRESS,..`.
 * @throws TsrunError invalid
 */
export function parseNetwork(text: string): NetworkAttachment {
  if (text === '') throw invalid(text, 'the name is empty')
  if (!text.includes('=') || /^(ns|container):/.test(text)) return { network: text }
  // A network's name has no colon; docker's form begins with a key.
  const [, name = '', rest = ''] = /^([^:=,"]+):(.*)$/.exec(text) ?? []
  const fields = tryParseCsv(name === '' ? text : `name=${name},${rest}`)
  if (fields === undefined) throw invalid(text, 'the quotes do not fit: they stand around a whole field')
  const unknown = fields.map(field => field.split('=', 1)[0] ?? '').find(key => !Object.hasOwn(networkKeys, key))
  if (unknown !== undefined) throw invalid(text, `there is no key "${unknown}": ${Object.keys(networkKeys).join(', ')}`)
  const empty = fields.find(field => !field.includes('=') || field.endsWith('='))
  if (empty !== undefined) throw invalid(text, `"${empty}" has no value`)
  const values = (key: string) =>
    fields.flatMap(field => {
      const at = field.indexOf('=')
      return (networkKeys as Record<string, string>)[field.slice(0, at)] === key ? [field.slice(at + 1)] : []
    })
  const network = values('name').at(-1)
  if (network === undefined) throw invalid(text, 'there is no name= in it')
  return {
    network,
    ...parseJoining(
      {
        ip: values('ip').at(-1),
        ip6: values('ip6').at(-1),
        mac: values('mac').at(-1),
        aliases: values('alias'),
        interfaceName: values('interface').at(-1),
        gwPriority: values('gw-priority').at(-1),
        linkLocalIps: values('link-local-ip'),
        driverOptions: values('driver-opt'),
      },
      '--network ',
    ),
  }
}

/** How a network is to be joined, as text. */
export interface JoiningTexts {
  readonly ip: string | undefined
  readonly ip6: string | undefined
  readonly mac: string | undefined
  readonly aliases: readonly string[]
  readonly interfaceName: string | undefined
  readonly gwPriority: string | undefined
  readonly linkLocalIps: readonly string[]
  readonly driverOptions: readonly string[]
}

/** @param flag how the flags are called in messages: what stands before `ip` @throws TsrunError invalid */
export function parseJoining(texts: JoiningTexts, flag: string): Omit<NetworkAttachment, 'network'> {
  const { aliases, interfaceName, gwPriority, linkLocalIps, driverOptions } = texts
  return {
    ...toIp(`${flag}ip`, texts.ip),
    ...toIp6(`${flag}ip6`, texts.ip6),
    ...toMac(`${flag}mac-address`, texts.mac),
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(gwPriority === undefined ? {} : { gwPriority: parsePriority(`${flag}gw-priority`, gwPriority) }),
    ...(linkLocalIps.length === 0
      ? {}
      : { linkLocalIps: linkLocalIps.map(address => parseIpFlag('--link-local-ip', address)) }),
    ...(driverOptions.length === 0 ? {} : { driverOptions: parsePairs(`${flag}driver-opt`, driverOptions) }),
  }
}

function parsePriority(flag: string, text: string): number {
  if (/^[+-]?\d{1,9}$/.test(text)) return Number(text)
  throw new TsrunError('invalid', 'gw-priority', `invalid value "${text}" for ${flag}`, {
    hint: 'a whole number, also a negative one; the network with the highest has the default route',
  })
}

function toIp6(flag: string, text: string | undefined): { ip6?: string } {
  if (text === undefined) return {}
  const ip6 = parseIpFlag(flag, text)
  if (ip6.includes(':')) return { ip6 }
  throw new TsrunError('invalid', 'ip-address', `invalid value "${text}" for ${flag}: it is no IPv6 address`, {
    hint: 'e.g. fd00::2',
  })
}

function toIp(flag: string, text: string | undefined): { ip?: string } {
  return text === undefined ? {} : { ip: parseIpFlag(flag, text) }
}

function toMac(flag: string, text: string | undefined): { mac?: string } {
  if (text === undefined) return {}
  if (/^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text))
    return { mac: text.toLowerCase().replaceAll('-', ':') }
  throw new TsrunError('invalid', 'mac-address', `invalid value "${text}" for ${flag}`, {
    hint: 'six bytes in hexadecimal, e.g. 02:42:ac:11:00:02',
  })
}

/** @returns the address in canonical form @throws TsrunError invalid */
export function parseIpFlag(flag: string, text: string): string {
  const address = tryParseAddress(text)
  if (address !== undefined) return formatAddress(address)
  throw new TsrunError('invalid', 'ip-address', `invalid value "${text}" for ${flag}: it is no IP address`, {
    hint: 'e.g. 192.168.0.2 or fd00::2',
  })
}

/** `NAME:ADDRESS`, or `=` between them. @returns `NAME:ADDRESS` @throws TsrunError invalid */
export function parseHost(text: string): string {
  const match = /^([^:=\s\p{Cc}]+)[:=](.+)$/u.exec(text)
  const target = match?.[2]?.replace(/^\[(.*)\]$/, '$1') ?? ''
  const address = tryParseAddress(target)
  if (match !== null && target === 'host-gateway') return `${match[1]}:host-gateway`
  if (match !== null && address !== undefined) return `${match[1]}:${formatAddress(address)}`
  const reason = match === null ? '' : `: "${target}" is no IP address`
  throw new TsrunError('invalid', 'add-host', `invalid value "${text}" for --add-host${reason}`, {
    hint: 'NAME:ADDRESS, or NAME:host-gateway',
  })
}

function invalid(text: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'network', `cannot join network "${text}": ${reason}`, {
    hint: '--network NAME, or --network name=NAME,ip=ADDRESS,mac-address=MAC,alias=NAME,interface=NAME,gw-priority=NUMBER',
  })
}
