// What users write on the command line, what containers leave in files that the engine reads, and what a DHCP server says.

import { parseDetachKeys } from '../../../src/cli/detach-keys.ts'
import { parseFilters } from '../../../src/cli/filters.ts'
import { parseTemplate } from '../../../src/cli/go-template.ts'
import { parseMount, parseTmpfs, parseVolume } from '../../../src/cli/parse-mounts.ts'
import { parseHost, parseNetwork } from '../../../src/cli/parse-networks.ts'
import { parsePairs } from '../../../src/cli/parse-pairs.ts'
import { parseExpose, parsePublish } from '../../../src/cli/parse-ports.ts'
import { parseTime } from '../../../src/cli/parse-time.ts'
import { parseLease, parseRefusal } from '../../../src/drivers/ipam/dhcp-lease.ts'
import { parseLine } from '../../../src/engine/container/logs.ts'
import { formatAddress, formatPrefix, parseAddress, tryParseAddress, tryParsePrefix } from '../../../src/lib/ip.ts'
import { parseSubnetInput } from '../../../src/lib/ip-input.ts'
import { parseIdMapping } from '../../../src/model/id-maps.ts'
import {
  parseByteSize,
  parseCpuList,
  parseCpus,
  parseDeviceRate,
  parseDeviceRule,
} from '../../../src/model/parse-resources.ts'
import { parseSecurityOptions } from '../../../src/model/security-options.ts'
import { parseUlimit } from '../../../src/model/ulimits.ts'
import { resolveUser } from '../../../src/model/user.ts'
import type { FuzzTarget } from '../fuzzer.ts'
import { assert, isForUsers } from '../target.ts'

const data = {
  Name: 'web',
  ID: 'ab'.repeat(32),
  Labels: { a: '1', 'b.c': '2' },
  State: { Running: true, Pid: 17 },
  Mounts: [{ Source: '/a', Destination: '/b' }],
  Empty: null,
}

const template: FuzzTarget = {
  name: 'go-template',
  kind: 'text',
  run: input => parseTemplate(input.toString('utf8'))(data).length > 0,
  refuses: isForUsers,
}

const flagParsers: readonly (readonly [string, (text: string) => unknown])[] = [
  ['publish', parsePublish],
  ['expose', parseExpose],
  ['volume', parseVolume],
  ['mount', parseMount],
  ['tmpfs', parseTmpfs],
  ['network', parseNetwork],
  ['add-host', parseHost],
  ['label', text => parsePairs('--label', [text])],
  ['filter', text => parseFilters([text], ['name', 'label'])],
  ['since', text => parseTime('--since', text)],
  ['detach-keys', parseDetachKeys],
  ['subnet', text => parseSubnetInput(text)],
  ['memory', text => parseByteSize('--memory', text)],
  ['cpus', text => parseCpus('--cpus', text)],
  ['cpuset', text => parseCpuList('--cpuset-cpus', text)],
  ['device-rate', text => parseDeviceRate('--device-read-bps', text)],
  ['device-rule', text => parseDeviceRule('--device-cgroup-rule', text)],
  ['ulimit', parseUlimit],
  ['security-opt', text => parseSecurityOptions([text])],
  ['id-map', text => parseIdMapping('--uidmap', text)],
]

/** A value for every flag that has a grammar of its own; the corpus has a good value for each. */
const flags: FuzzTarget = {
  name: 'flag-values',
  kind: 'text',
  run: async input => {
    const text = input.toString('utf8')
    const accepted: string[] = []
    for (const [name, parse] of flagParsers) {
      try {
        await parse(text)
        accepted.push(name)
      } catch (error) {
        if (!isForUsers(error)) throw new Error(`--${name}: ${error}`, { cause: error })
      }
    }
    return accepted.join()
  },
  refuses: () => false,
}

const address: FuzzTarget = {
  name: 'address',
  kind: 'text',
  run: input => {
    const text = input.toString('utf8')
    const parsed = tryParseAddress(text)
    const prefix = tryParsePrefix(text)
    if (parsed !== undefined) assert(parseAddress(formatAddress(parsed)).value === parsed.value, `${text} changes`)
    if (prefix !== undefined) assert(tryParsePrefix(formatPrefix(prefix))?.value === prefix.value, `${text} changes`)
    return `${parsed?.family} ${prefix?.family}`
  },
  refuses: () => false,
}

const logLine: FuzzTarget = {
  name: 'log-line',
  kind: 'bytes',
  run: input => parseLine(input)?.stream,
  refuses: () => false,
}

/** /etc/passwd and /etc/group of an image. */
const user: FuzzTarget = {
  name: 'passwd',
  kind: 'text',
  run: input => {
    const text = input.toString('utf8')
    const { uid, gid, additionalGids, home } = resolveUser('web', text, text)
    for (const id of [uid, gid, ...additionalGids])
      assert(Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1, `id ${id}`)
    return home.length > 1
  },
  refuses: isForUsers,
}

/** udhcpc's variables: anybody on the network may have sent them. */
const dhcpLease: FuzzTarget = {
  name: 'dhcp-lease',
  kind: 'text',
  run: input => {
    const text = input.toString('utf8')
    const lease = parseLease(text, '2026-01-01T00:00:00.000Z')
    assert(/^[\x20-\x7e]*$/.test(parseRefusal(text)), 'a refusal with control characters')
    if (lease === undefined) return 'none'
    const hops = [lease.gateway, ...lease.routes.map(({ gateway }) => gateway)].filter(hop => hop !== undefined)
    assert(tryParsePrefix(lease.address)?.family === 4, `address ${lease.address}`)
    for (const each of [...hops, ...lease.dnsServers]) assert(tryParseAddress(each)?.family === 4, `address ${each}`)
    for (const domain of lease.searchDomains) assert(/^[a-z0-9_.-]+$/.test(domain), `domain ${domain}`)
    return `${lease.routes.length} ${lease.dnsServers.length} ${lease.searchDomains.length} ${lease.mtu !== undefined}`
  },
  refuses: () => false,
}

export const textTargets: readonly FuzzTarget[] = [template, flags, address, logLine, user, dhcpLease]
