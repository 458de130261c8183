// `nft monitor trace` for the packets between two addresses: which chains saw them, and which rule or policy ended their way.

import { closeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { AF_NETLINK, bind, recv, SOCK_RAW, setsockopt, socket } from '../../ffi/libc.ts'
import { ByteReader, readCString } from '../../lib/bytes.ts'
import { parseMessages } from '../netlink/message.ts'
import { readAttributes, u32At, u32In } from './attributes.ts'
import { NftSession } from './libnftables.ts'

const NETLINK_NETFILTER = 12
const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NFNLGRP_NFTRACE = 9
const NFT_MSG_TRACE = (10 << 8) | 17
const MSG_DONTWAIT = 0x40
const familyNames = new Map([
  [1, 'inet'],
  [2, 'ip'],
  [5, 'netdev'],
  [7, 'bridge'],
  [10, 'ip6'],
])
// linux/netfilter/nf_tables.h: NFT_TRACETYPE_*, NFTA_TRACE_*
const TYPE_POLICY = 1
const TYPE_RULE = 3
const NF_DROP = 0

/** What dropped a traced packet. */
export interface TracedDrop {
  /** `inet filter forward`. */
  readonly chain: string
  /** The rule as nft prints it; undefined where the chain's policy dropped. */
  readonly rule: string | undefined
}

/** Traces until it is closed. The table it needs belongs to its socket: it goes with the process, even a killed one. */
export class PacketTrace {
  readonly #session = new NftSession()
  readonly #fd: number

  /**
   * @param from, to addresses of one family; packets both ways are traced
   * @throws NftScriptError, TsrunError unavailable without libnftables
   */
  constructor(from: string, to: string) {
    this.#fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
    try {
      bind(this.#fd, Buffer.from([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
      setsockopt(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
      const ip = from.includes(':') ? 'ip6' : 'ip'
      const rules = `${ip} saddr ${from} ${ip} daddr ${to} meta nftrace set 1; ${ip} saddr ${to} ${ip} daddr ${from} meta nftrace set 1;`
      // The original addresses are seen before any translation, at the very beginning of each way.
      this.#session.run(
        `table inet tsrun-trace-${process.pid} { flags owner; chain in { type filter hook prerouting priority -350; ${rules} }; chain out { type filter hook output priority -350; ${rules} }; }`,
      )
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The drops seen since the last call, the first one first. */
  drops(): TracedDrop[] {
    const found: TracedDrop[] = []
    const buffer = Buffer.alloc(65536)
    for (;;) {
      let length: number
      try {
        length = recv(this.#fd, buffer, MSG_DONTWAIT)
      } catch (error) {
        if (hasCode(error, 'ENOBUFS')) continue
        if (hasCode(error, 'EAGAIN')) return found
        throw error
      }
      for (const message of parseMessages(buffer.subarray(0, length)))
        if (message.type === NFT_MSG_TRACE) found.push(...this.#readDrop(message.payload))
    }
  }

  close(): void {
    this.#session.close()
    closeSync(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #readDrop(payload: Buffer): TracedDrop[] {
    const reader = new ByteReader(payload)
    const attributes = readAttributes(reader, 4, reader.length)
    const bytes = (type: number) => {
      const range = attributes.get(type)
      return range === undefined ? undefined : reader.slice(range[0], range[1])
    }
    const type = u32In(reader, attributes, 4)
    const verdict = attributes.get(5)
    const code = verdict === undefined ? undefined : readAttributes(reader, verdict[0], verdict[1]).get(1)
    const dropsByRule = type === TYPE_RULE && code !== undefined && u32At(reader, code) === NF_DROP
    const dropsByPolicy = type === TYPE_POLICY && u32In(reader, attributes, 16) === NF_DROP
    if (!dropsByRule && !dropsByPolicy) return []
    const chain = [
      familyNames.get(reader.u8(0)) ?? '?',
      readCString(bytes(1) ?? Buffer.alloc(1)),
      readCString(bytes(2) ?? Buffer.alloc(1)),
    ]
    const handleAt = attributes.get(3)?.[0]
    const handle = handleAt === undefined ? undefined : reader.u64be(handleAt)
    return [{ chain: chain.join(' '), rule: dropsByRule ? this.#ruleText(chain, handle) : undefined }]
  }

  #ruleText(chain: readonly string[], handle: bigint | undefined): string {
    const text = this.#session.run(`list chain ${chain.join(' ')}`, { handles: true })
    const line = text.split('\n').find(candidate => candidate.endsWith(`# handle ${handle}`))
    return line?.replace(/ # handle \d+$/, '').trim() ?? `rule with handle ${handle}`
  }
}
