// `--network`, and the flags with addresses that go with it: --ip, --mac-address, --add-host, --dns. Pure.

import { formatAddress, tryParseAddress } from '../lib/ip.ts'
import type { NetworkAttachment } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { tryParseCsv } from './parse-csv.ts'

const networkKeys = ['name', 'ip', 'mac-address', 'mac', 'alias']

/** @param own `--ip` and `--mac-address`: they are the first network's @throws TsrunError invalid */
export function parseNetworks(
  texts: readonly string[],
  own: { readonly ip: string | undefined; readonly mac: string | undefined },
): NetworkAttachment[] {
  const [first, ...others] = (texts.length > 0 ? texts : ['bridge']).map(parseNetwork)
  if (first === undefined) return []
  return [{ ...first, ...toIp('--ip', own.ip), ...toMac('--mac-address', own.mac) }, ...others]
}

/** `NAME`, or `name=NAME,ip=ADDRESS,mac-address=MAC,alias=NAME`. @throws TsrunError invalid */
export function parseNetwork(text: string): NetworkAttachment {
  if (text === '') throw invalid(text, 'the name is empty')
  if (!text.includes('=')) return { network: text }
  const fields = tryParseCsv(text)
  if (fields === undefined) throw invalid(text, 'the quotes do not fit: they stand around a whole field')
  const values = (key: string) =>
    fields.filter(field => field.startsWith(`${key}=`)).map(field => field.slice(key.length + 1))
  const unknown = fields.find(field => !networkKeys.includes(field.split('=', 1)[0] ?? ''))
  if (unknown !== undefined)
    throw invalid(text, `there is no key "${unknown.split('=', 1)[0]}": ${networkKeys.join(', ')}`)
  const empty = fields.find(field => !field.includes('=') || field.endsWith('='))
  if (empty !== undefined) throw invalid(text, `"${empty}" has no value`)
  const network = values('name').at(-1)
  if (network === undefined) throw invalid(text, 'there is no name= in it')
  const aliases = values('alias')
  return {
    network,
    ...toIp('--network ip', values('ip').at(-1)),
    ...toMac('--network mac-address', values('mac-address').at(-1) ?? values('mac').at(-1)),
    ...(aliases.length === 0 ? {} : { aliases }),
  }
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
    hint: '--network NAME, or --network name=NAME,ip=ADDRESS,mac-address=MAC,alias=NAME',
  })
}
