// `ip rule`: which routing table a packet is looked up in. Numbers are from linux/fib_rules.h.

import { ByteReader } from '../../lib/bytes.ts'
import { addressBytes, addressFromBytes, formatPrefix, parsePrefix } from '../../lib/ip.ts'
import {
  attributeU8,
  attributeU32,
  type NetlinkChange,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  PayloadWriter,
  parseAttributes,
} from './message.ts'
import type { NetlinkSocket } from './socket.ts'

const RTM_NEWRULE = 32
const RTM_DELRULE = 33
const RTM_GETRULE = 34
const FRA_SRC = 2
const FRA_PRIORITY = 6
const FRA_TABLE = 15
const FRA_PROTOCOL = 21
const FR_ACT_TO_TBL = 1
const FIB_RULE_INVERT = 2
/** FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_FWMARK, FRA_TUN_ID, FRA_FWMASK, FRA_OIFNAME, FRA_L3MDEV, FRA_UID_RANGE, FRA_IP_PROTO, both port ranges. */
const selectors = [1, FRA_SRC, 3, 10, 12, 16, 17, 19, 20, 22, 23, 24]
const AF_INET = 2
const AF_INET6 = 10
const headerLength = 12

/** Packets that come from an address are looked up in a table. */
export interface RuleSpec {
  /** CIDR. */
  readonly source: string
  readonly table: number
  /** Rules are tried in its order; `main` has 32766. */
  readonly priority: number
  /** Who made it, as `ip rule` shows it (RTPROT_*). */
  readonly protocol: number
}

/** A rule as the kernel describes it, as far as it is looked at. */
export interface Rule {
  readonly family: 4 | 6
  /** CIDR; undefined where the rule holds for all. */
  readonly source: string | undefined
  /** Undefined where the rule does something else than look into a table. */
  readonly table: number | undefined
  readonly priority: number
  /** 0 where nobody has said; kernels before 4.17 keep none. */
  readonly protocol: number
  /** Whether every packet meets it: it asks neither for an address nor for an interface, a mark or anything else. */
  readonly isForAll: boolean
}

/**
 * Equivalent to: `ip rule add from $source lookup $table pref $priority protocol $protocol`. Applying it fails with EEXIST when
 * there is one, and with EAFNOSUPPORT or EOPNOTSUPP on kernels without CONFIG_IP_MULTIPLE_TABLES.
 */
export function ruleAdd(spec: RuleSpec): NetlinkChange {
  return ruleChange(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, 'add', spec)
}

/** Equivalent to: `ip rule delete ...`. Applying it fails with ENOENT where there is none. */
export function ruleRemove(spec: RuleSpec): NetlinkChange {
  return ruleChange(RTM_DELRULE, 0, 'delete', spec)
}

/** Equivalent to: `ip rule show` and `ip -6 rule show`. @throws NetlinkError EAFNOSUPPORT or EOPNOTSUPP: no rules in this kernel */
export function listRules(socket: NetlinkSocket, family: 4 | 6): Rule[] {
  return socket.dump(RTM_GETRULE, writeHeader(family, 0, 0).finish(), parseRule)
}

/** Reads an RTM_NEWRULE message. @returns undefined unless it is one for IPv4 or IPv6 @throws FormatError */
export function parseRule(message: Pick<NetlinkMessage, 'payload'>): Rule | undefined {
  const reader = new ByteReader(message.payload)
  const attributes = parseAttributes(message.payload, headerLength)
  const family = reader.u8(0)
  if (family !== AF_INET && family !== AF_INET6) return undefined
  const source = addressFromBytes(attributes.get(FRA_SRC) ?? Buffer.alloc(0))
  const isLookup = reader.u8(7) === FR_ACT_TO_TBL
  return {
    family: family === AF_INET ? 4 : 6,
    source: source === undefined ? undefined : formatPrefix({ ...source, length: reader.u8(2) }),
    table: isLookup ? (attributeU32(attributes, FRA_TABLE) ?? reader.u8(4)) : undefined,
    priority: attributeU32(attributes, FRA_PRIORITY) ?? 0,
    protocol: attributeU8(attributes, FRA_PROTOCOL) ?? 0,
    // The type of service is in the header; flags are FIB_RULE_INVERT and what only the kernel sets.
    isForAll:
      reader.u8(3) === 0 && (reader.u32(8) & FIB_RULE_INVERT) === 0 && !selectors.some(type => attributes.has(type)),
  }
}

function ruleChange(type: number, flags: number, verb: string, spec: RuleSpec): NetlinkChange {
  const { source, table, priority, protocol } = spec
  const from = parsePrefix(source)
  const payload = writeHeader(from.family, from.length, FR_ACT_TO_TBL)
    .attribute(FRA_SRC, addressBytes(from))
    .attributeU32(FRA_PRIORITY, priority)
    .attributeU32(FRA_TABLE, table)
    .attributeU8(FRA_PROTOCOL, protocol)
  const version = from.family === 6 ? '-6 ' : ''
  return {
    type,
    flags,
    payload: payload.finish(),
    name: `${verb} rule for ${source}`,
    command: () => `${version}rule ${verb} from ${source} lookup ${table} pref ${priority} protocol ${protocol}`,
  }
}

/** struct fib_rule_hdr; the table is an attribute, since it may be above 255. */
function writeHeader(family: 4 | 6, sourceLength: number, action: number): PayloadWriter {
  const writer = new PayloadWriter(64)
  writer.u8(family === 4 ? AF_INET : AF_INET6)
  writer.u8(0).u8(sourceLength)
  return writer.u8(0).u8(0).u8(0).u8(0).u8(action).u32(0)
}
