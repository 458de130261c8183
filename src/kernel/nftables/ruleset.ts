// Tables, chains and single rules over nfnetlink: finding what others filter, and one rule put into a chain of theirs.

import { type ByteReader, type ByteWriter, readCString } from '../../lib/bytes.ts'
import {
  type AttributeMap,
  bytesAttribute,
  eachAttribute,
  nested,
  readAttributes,
  stringAttribute,
  stringIn,
  u32Attribute,
  u32In,
} from './attributes.ts'
import { commentData, commentOf } from './elements.ts'
import { type NfMessage, type Nfnetlink, NLM_F_APPEND, NLM_F_CREATE, SUBSYS_NFTABLES } from './nfnetlink.ts'

const DELTABLE = (SUBSYS_NFTABLES << 8) | 2
const GETTABLE = (SUBSYS_NFTABLES << 8) | 1
const GETCHAIN = (SUBSYS_NFTABLES << 8) | 4
const NEWRULE = (SUBSYS_NFTABLES << 8) | 6
const GETRULE = (SUBSYS_NFTABLES << 8) | 7
const DELRULE = (SUBSYS_NFTABLES << 8) | 8
const NF_ACCEPT = 1

/** A chain that a netfilter hook calls. */
export interface BaseChain {
  readonly family: number
  readonly table: string
  readonly name: string
  /** NF_INET_FORWARD is 2. */
  readonly hook: number
  readonly priority: number
  readonly drops: boolean
  /** How many rules it has. */
  readonly use: number
}

/** A rule, as far as we need to know it. */
export interface Rule {
  readonly chain: string
  readonly handle: Buffer
  readonly comment: string | undefined
  /** What it does to every packet that reaches it; undefined when it has a condition, or lets packets go on. */
  readonly verdict: Verdict | undefined
}

/** `drop` includes rejects; `jump` and `goto` name another chain of the table. */
export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }

/** All base chains of the namespace. */
export function listBaseChains(socket: Nfnetlink): BaseChain[] {
  const chains: BaseChain[] = []
  for (const { family, reader } of socket.dumpWithFamily({ type: GETCHAIN, family: 0, flags: 0, body: () => {} })) {
    const attributes = readAttributes(reader, 0, reader.length)
    const hook = attributes.get(4)
    if (hook === undefined) continue
    const hookAttributes = readAttributes(reader, hook[0], hook[1])
    chains.push({
      family,
      table: stringIn(reader, attributes, 1) ?? '',
      name: stringIn(reader, attributes, 3) ?? '',
      hook: u32In(reader, hookAttributes, 1) ?? -1,
      priority: (u32In(reader, hookAttributes, 2) ?? 0) | 0,
      drops: u32In(reader, attributes, 5) === 0,
      use: u32In(reader, attributes, 6) ?? 0,
    })
  }
  return chains
}

/** The names of the tables of a family. Equivalent to: `nft list tables $family`. */
export function listTables(socket: Nfnetlink, family: number): string[] {
  return countInTables(socket, family).map(([name]) => name)
}

/** The tables of a family, each with the number of chains, sets and other things in it. */
export function countInTables(socket: Nfnetlink, family: number): [name: string, use: number][] {
  return socket.dump({ type: GETTABLE, family, flags: 0, body: () => {} }).map(reader => {
    const attributes = readAttributes(reader, 0, reader.length)
    return [stringIn(reader, attributes, 1) ?? '', u32In(reader, attributes, 3) ?? 0]
  })
}

/** Deletes a table with all that is in it. Equivalent to: `nft delete table $family $table`. */
export function deleteTable(family: number, table: string): NfMessage {
  return { type: DELTABLE, family, flags: 0, body: writer => stringAttribute(writer, 1, table) }
}

/** The rules of one table, or of one of its chains, first to last. */
export function listRules(
  socket: Nfnetlink,
  { family, table, name }: { readonly family: number; readonly table: string; readonly name?: string },
): Rule[] {
  const replies = socket.dump({
    type: GETRULE,
    family,
    flags: 0,
    body: writer => {
      stringAttribute(writer, 1, table)
      if (name !== undefined) stringAttribute(writer, 2, name)
    },
  })
  return replies.flatMap(reader => {
    const attributes = readAttributes(reader, 0, reader.length)
    const handle = attributes.get(3)
    const chain = stringIn(reader, attributes, 2)
    // Older kernels do not filter.
    if (handle === undefined || chain === undefined || stringIn(reader, attributes, 1) !== table) return []
    if (name !== undefined && chain !== name) return []
    const userdata = attributes.get(7)
    return [
      {
        chain,
        handle: reader.slice(handle[0], handle[1]),
        comment: userdata === undefined ? undefined : commentOf(reader.slice(userdata[0], userdata[1])),
        verdict: verdictOfRule(reader, attributes),
      },
    ]
  })
}

/**
 * Puts a rule into a chain, before the rule `before` or else at the end, that accepts packets with all bits of `mark` set.
 * Equivalent to: `nft insert rule $family $table $chain handle $before meta mark and $mark == $mark accept comment $comment`
 * or `nft add rule ...`, in the form that `iptables-nft -S` lists as `-m mark --mark $mark/$mark`.
 */
export function addMarkAccept(
  chain: Pick<BaseChain, 'family' | 'table' | 'name'>,
  { mark, comment, before }: { mark: number; comment: string; before: Rule | undefined },
): NfMessage {
  const bits = new Uint8Array(new Uint32Array([mark]).buffer)
  return {
    type: NEWRULE,
    family: chain.family,
    flags: NLM_F_CREATE | (before === undefined ? NLM_F_APPEND : 0),
    body: writer => {
      stringAttribute(writer, 1, chain.table)
      stringAttribute(writer, 2, chain.name)
      nested(writer, 4, () => {
        expression(writer, 'meta', () => {
          u32Attribute(writer, 1, 1) // into register 1
          u32Attribute(writer, 2, 3) // NFT_META_MARK
        })
        expression(writer, 'bitwise', () => {
          u32Attribute(writer, 1, 1)
          u32Attribute(writer, 2, 1)
          u32Attribute(writer, 3, 4)
          nested(writer, 4, () => bytesAttribute(writer, 1, bits))
          nested(writer, 5, () => bytesAttribute(writer, 1, new Uint8Array(4)))
        })
        expression(writer, 'cmp', () => {
          u32Attribute(writer, 1, 1)
          u32Attribute(writer, 2, 0) // NFT_CMP_EQ
          nested(writer, 3, () => bytesAttribute(writer, 1, bits))
        })
        expression(writer, 'counter', () => {})
        expression(writer, 'immediate', () => {
          u32Attribute(writer, 1, 0) // the verdict register
          nested(writer, 2, () => nested(writer, 2, () => u32Attribute(writer, 1, NF_ACCEPT)))
        })
      })
      if (before !== undefined) bytesAttribute(writer, 6, before.handle)
      bytesAttribute(writer, 7, commentData(comment))
    },
  }
}

/** Equivalent to: `nft delete rule $family $table $chain handle $handle`. */
export function deleteRule(chain: Pick<BaseChain, 'family' | 'table' | 'name'>, rule: Rule): NfMessage {
  return {
    type: DELRULE,
    family: chain.family,
    flags: 0,
    body: writer => {
      stringAttribute(writer, 1, chain.table)
      stringAttribute(writer, 2, chain.name)
      bytesAttribute(writer, 3, rule.handle)
    },
  }
}

function expression(writer: ByteWriter, name: string, body: () => void): void {
  nested(writer, 1, () => {
    stringAttribute(writer, 1, name)
    nested(writer, 2, body)
  })
}

/** The verdict of a rule without any condition, nft's own or of iptables. */
function verdictOfRule(reader: ByteReader, rule: AttributeMap): Verdict | undefined {
  const list = rule.get(4)
  if (list === undefined) return undefined
  let verdict: Verdict | undefined
  for (const [, from, to] of eachAttribute(reader, list[0], list[1])) {
    const attributes = readAttributes(reader, from, to)
    const name = stringIn(reader, attributes, 1)
    const data = attributes.get(2)
    if (name === 'counter' || name === 'log' || data === undefined) continue
    const inner = readAttributes(reader, data[0], data[1])
    if (name === 'reject') verdict = { kind: 'drop' }
    else if (name === 'target') verdict = targetName(reader, inner) === 'REJECT' ? { kind: 'drop' } : undefined
    else if (name === 'immediate') verdict = verdictOf(reader, inner)
    else return undefined
  }
  return verdict
}

function targetName(reader: ByteReader, target: AttributeMap): string {
  const name = target.get(1)
  return name === undefined ? '' : readCString(reader.slice(name[0], name[1]))
}

function verdictOf(reader: ByteReader, immediate: AttributeMap): Verdict | undefined {
  const data = immediate.get(2)
  const verdict = data === undefined ? undefined : readAttributes(reader, data[0], data[1]).get(2)
  if (verdict === undefined) return undefined
  const attributes = readAttributes(reader, verdict[0], verdict[1])
  const chain = stringIn(reader, attributes, 2) ?? ''
  // linux/netfilter.h and linux/netfilter/nf_tables.h: NF_DROP, NF_ACCEPT, NFT_JUMP, NFT_GOTO, NFT_RETURN
  switch ((u32In(reader, attributes, 1) ?? 0) | 0) {
    case 0:
      return { kind: 'drop' }
    case NF_ACCEPT:
      return { kind: 'accept' }
    case -3:
      return { kind: 'jump', chain }
    case -4:
      return { kind: 'goto', chain }
    case -5:
      return { kind: 'return' }
    default:
      return undefined
  }
}
