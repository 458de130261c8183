// What a container may be asked to be on a network, whoever asks. Pure.

import { contains, parsePrefix, tryParseAddress } from '../lib/ip.ts'
import type { NetworkAttachment } from './container.ts'
import { checkCommonOptions } from './endpoint-options.ts'
import { TsrunError } from './errors.ts'

const linkLocal = ['169.254.0.0/16', 'fe80::/10'].map(parsePrefix)

/** @throws TsrunError invalid: an alias that nobody could ask for, a MAC address that no interface can have .. */
export function checkJoining(attachment: NetworkAttachment): void {
  const { aliases = [], mac, gwPriority, ip6, linkLocalIps = [], driverOptions = {}, interfaceName } = attachment
  for (const alias of aliases) checkAlias(alias)
  if (mac !== undefined) checkMac(mac)
  if (gwPriority !== undefined && !Number.isSafeInteger(gwPriority))
    throw new TsrunError(
      'invalid',
      'gw-priority',
      `cannot use the gateway priority ${gwPriority}: it is no whole number`,
    )
  if (ip6 !== undefined && tryParseAddress(ip6)?.family !== 6)
    throw new TsrunError('invalid', 'ip-address', `cannot use address ${JSON.stringify(ip6)}: it is no IPv6 address`)
  const bad = linkLocalIps.find(address => !isLinkLocal(address))
  if (bad !== undefined)
    throw new TsrunError(
      'invalid',
      'link-local-ip',
      `cannot use address ${JSON.stringify(bad)}: it is not link-local`,
      {
        hint: 'an address of 169.254.0.0/16 or fe80::/10',
      },
    )
  checkCommonOptions(driverOptions, interfaceName)
}

function isLinkLocal(text: string): boolean {
  const address = tryParseAddress(text)
  return address !== undefined && linkLocal.some(prefix => contains(prefix, address))
}

/** A name for the DNS: labels of letters, digits, dashes and underscores, with dots between them. */
function checkAlias(alias: string): void {
  const labels = alias.split('.')
  const isName = labels.every(label => /^[\p{L}\p{N}_]([\p{L}\p{N}_-]{0,61}[\p{L}\p{N}_])?$/u.test(label))
  if (isName && alias.length <= 253) return
  throw new TsrunError('invalid', 'alias', `cannot use the alias ${JSON.stringify(alias)}: it is no host name`, {
    hint: 'letters, digits, dashes and underscores, e.g. db or db.internal; 63 between two dots, 253 in all',
  })
}

function checkMac(mac: string): void {
  const isMac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)
  const cannot = `cannot use the MAC address ${JSON.stringify(mac)}`
  if (!isMac)
    throw new TsrunError('invalid', 'mac-address', `${cannot}: it is none`, {
      hint: 'six bytes in hexadecimal, e.g. 02:42:ac:11:00:02',
    })
  // IEEE 802: the lowest bit of the first byte means a group of receivers.
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1
  if (!isGroup && /[1-9a-f]/i.test(mac)) return
  throw new TsrunError('invalid', 'mac-address', `${cannot}: ${isGroup ? 'it means a group' : 'zero is none'}`, {
    hint: 'the first byte of one of your own is even and ends in 2, 6, a or e, e.g. 02:42:ac:11:00:02',
  })
}
