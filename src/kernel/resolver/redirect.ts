// The two chains in a container's network namespace that lead port 53 of 127.0.0.11 to the port that the resolver really
// listens on, and its answers back: so that a server in the container can have port 53 of all addresses. Ports are rewritten
// packet by packet: no connection tracking, which would cost all other traffic of the container. Requests are rewritten before
// connection tracking and answers behind it, so that a container's own rules see one and the same port.

import type { ByteWriter } from '../../lib/bytes.ts'
import { bytesAttribute, nested, stringAttribute, u32Attribute } from '../nftables/attributes.ts'
import { NFPROTO_IPV4, type NfMessage, NLM_F_CREATE, SUBSYS_NFTABLES } from '../nftables/nfnetlink.ts'

/** The table in the container's namespace. */
export const TABLE = 'tsrun-dns'
const DNS_PORT = 53

const NLM_F_APPEND = 0x800
const NEWTABLE = SUBSYS_NFTABLES << 8
const DELTABLE = (SUBSYS_NFTABLES << 8) | 2
const NEWCHAIN = (SUBSYS_NFTABLES << 8) | 3
const NEWRULE = (SUBSYS_NFTABLES << 8) | 6

// linux/netfilter/nf_tables.h
const REG_VERDICT = 0
const REG_1 = 1
const META_OIF = 5
const META_L4PROTO = 16
const CMP_EQ = 0
const CMP_NEQ = 1
const BASE_NETWORK = 1
const BASE_TRANSPORT = 2
const CHECKSUM_INET = 1
const NF_ACCEPT = 1
const LOCAL_OUT = 3

/** In every namespace. */
const LOOPBACK_INDEX = 1

const protocols = { udp: { number: 17, checksumAt: 6 }, tcp: { number: 6, checksumAt: 16 } } as const
type Protocol = keyof typeof protocols

/** Where the resolver listens on 127.0.0.11. */
export interface ResolverPorts {
  readonly udp: number
  readonly tcp: number
}

/** What each chain looks at and rewrites: offsets in the IPv4 and in the UDP or TCP header. */
const chains = [
  { name: 'ask', priority: -300, addressAt: 16, portAt: 2, words: ['daddr', 'dport'] },
  { name: 'answer', priority: 300, addressAt: 12, portAt: 0, words: ['saddr', 'sport'] },
] as const

/** What stands in the table when nobody has touched it: each chain, and how many rules it has. */
export const standingChains = chains.map(({ name }) => ({ name, rules: 3 }))

type Chain = (typeof chains)[number]

/**
 * The transaction.
 * @param address of the resolver, four bytes
 * @param replace takes an earlier table away: after a crash
 */
export function redirectMessages(address: Uint8Array, ports: ResolverPorts, replace: boolean): NfMessage[] {
  const table = message(NEWTABLE, writer => stringAttribute(writer, 1, TABLE))
  const remove = message(DELTABLE, writer => stringAttribute(writer, 1, TABLE))
  const rules = chains.flatMap(chain => [
    chainMessage(chain),
    ruleMessage(chain.name, ifNotLoopbackAccept),
    ...(['udp', 'tcp'] as const).map(protocol =>
      ruleMessage(chain.name, writer => rewrite(writer, { chain, address, protocol, port: ports[protocol] })),
    ),
  ])
  return [table, ...(replace ? [remove, table] : []), ...rules]
}

/** The same as text for `nft`. @param address in text form */
export function redirectText(address: string, ports: ResolverPorts): string {
  const text = chains.map(({ name, priority, words: [addressWord, portWord] }) => {
    const rules = (['udp', 'tcp'] as const).map(protocol => {
      const [from, to] = name === 'ask' ? [DNS_PORT, ports[protocol]] : [ports[protocol], DNS_PORT]
      return `ip ${addressWord} ${address} ${protocol} ${portWord} ${from} ${protocol} ${portWord} set ${to};`
    })
    return `chain ${name} { type filter hook output priority ${priority}; oif != lo accept; ${rules.join(' ')} }`
  })
  return `table ip ${TABLE} { ${text.join(' ')} }`
}

function message(type: number, body: (writer: ByteWriter) => void, flags = NLM_F_CREATE): NfMessage {
  return { type, family: NFPROTO_IPV4, flags: type === DELTABLE ? 0 : flags, body }
}

function chainMessage({ name, priority }: Chain): NfMessage {
  return message(NEWCHAIN, writer => {
    stringAttribute(writer, 1, TABLE)
    stringAttribute(writer, 3, name)
    nested(writer, 4, () => {
      u32Attribute(writer, 1, LOCAL_OUT)
      u32Attribute(writer, 2, priority)
    })
    stringAttribute(writer, 7, 'filter')
  })
}

function ruleMessage(chain: string, expressions: (writer: ByteWriter) => void): NfMessage {
  const body = (writer: ByteWriter) => {
    stringAttribute(writer, 1, TABLE)
    stringAttribute(writer, 2, chain)
    nested(writer, 4, () => expressions(writer))
  }
  return message(NEWRULE, body, NLM_F_CREATE | NLM_F_APPEND)
}

/** First in each chain: what leaves the container is let through after one comparison. */
function ifNotLoopbackAccept(writer: ByteWriter): void {
  loadMeta(writer, META_OIF)
  compare(writer, CMP_NEQ, new Uint8Array(new Uint32Array([LOOPBACK_INDEX]).buffer))
  expression(writer, 'immediate', () => {
    u32Attribute(writer, 1, REG_VERDICT)
    nested(writer, 2, () => nested(writer, 2, () => u32Attribute(writer, 1, NF_ACCEPT)))
  })
}

interface Rewriting {
  readonly chain: Chain
  readonly address: Uint8Array
  readonly protocol: Protocol
  readonly port: number
}

function rewrite(writer: ByteWriter, { chain, address, protocol, port }: Rewriting): void {
  const { number, checksumAt } = protocols[protocol]
  const [from, to] = chain.name === 'ask' ? [DNS_PORT, port] : [port, DNS_PORT]
  loadPayload(writer, BASE_NETWORK, chain.addressAt, 4)
  compare(writer, CMP_EQ, address)
  loadMeta(writer, META_L4PROTO)
  compare(writer, CMP_EQ, Uint8Array.of(number))
  loadPayload(writer, BASE_TRANSPORT, chain.portAt, 2)
  compare(writer, CMP_EQ, portBytes(from))
  expression(writer, 'immediate', () => {
    u32Attribute(writer, 1, REG_1)
    nested(writer, 2, () => bytesAttribute(writer, 1, portBytes(to)))
  })
  expression(writer, 'payload', () => {
    u32Attribute(writer, 5, REG_1)
    u32Attribute(writer, 2, BASE_TRANSPORT)
    u32Attribute(writer, 3, chain.portAt)
    u32Attribute(writer, 4, 2)
    u32Attribute(writer, 6, CHECKSUM_INET)
    u32Attribute(writer, 7, checksumAt)
  })
}

function loadMeta(writer: ByteWriter, key: number): void {
  expression(writer, 'meta', () => {
    u32Attribute(writer, 2, key)
    u32Attribute(writer, 1, REG_1)
  })
}

function loadPayload(writer: ByteWriter, base: number, offset: number, length: number): void {
  expression(writer, 'payload', () => {
    u32Attribute(writer, 1, REG_1)
    u32Attribute(writer, 2, base)
    u32Attribute(writer, 3, offset)
    u32Attribute(writer, 4, length)
  })
}

function compare(writer: ByteWriter, operation: number, value: Uint8Array): void {
  expression(writer, 'cmp', () => {
    u32Attribute(writer, 1, REG_1)
    u32Attribute(writer, 2, operation)
    nested(writer, 3, () => bytesAttribute(writer, 1, value))
  })
}

function expression(writer: ByteWriter, name: string, data: () => void): void {
  nested(writer, 1, () => {
    stringAttribute(writer, 1, name)
    nested(writer, 2, data)
  })
}

function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 255)
}
